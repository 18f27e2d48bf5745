"""Settle the shapes and dtypes that the layer leaves open, or ask the user for them."""
