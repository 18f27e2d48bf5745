"""Reports: hubopt's values as terminal output and as JSON."""
