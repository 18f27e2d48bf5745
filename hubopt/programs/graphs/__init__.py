"""Tools for one ``GraphDef``: freeze it, run it, widen it, look at its operations."""
