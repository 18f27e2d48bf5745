"""Tools for one ``GraphDef``: freeze it, run it, widen it to float64, analyze its operations."""
