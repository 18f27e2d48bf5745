"""Child processes, and what runs in them."""
