"""From a layer and its shapes to a traced program, and what can be done with its graph."""
