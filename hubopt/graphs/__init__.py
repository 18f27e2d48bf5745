"""Programs: a layer traced, frozen, on disk, and run as a graph."""
