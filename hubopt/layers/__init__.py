"""`KerasLayer`, and the interface of a layer: its inputs, outputs and their shapes."""
