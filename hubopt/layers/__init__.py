"""`KerasLayer`, and what it takes and gives."""
