"""Access to the intermediate tensors of artifacts, for `hubopt diagnose`."""
