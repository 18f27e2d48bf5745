"""Shapes and dtypes: what the layer leaves open is settled here, or asked for."""
