"""What the layer answers, and how far it moves itself."""
