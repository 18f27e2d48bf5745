"""What a model could do, told before it is loaded."""
