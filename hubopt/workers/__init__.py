"""Child processes as a mechanism; they know nothing of models."""
