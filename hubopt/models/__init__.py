"""Resolves handles, fetches models and loads them."""
