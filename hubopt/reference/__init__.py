"""The reference: samples, the eager layer's answers to them, and the layer's own noise."""
