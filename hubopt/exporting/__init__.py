"""From a request to a bundle: `pipeline` is the line."""
