"""Every dimension settled, and where it came from."""
