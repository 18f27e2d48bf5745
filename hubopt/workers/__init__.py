"""Child processes as a general mechanism that does not depend on models."""
