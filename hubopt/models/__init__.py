"""From a handle to a model that is loaded."""
