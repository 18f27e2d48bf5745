"""Turn a layer and its shapes into a traced program, and read and rewrite its graph."""
