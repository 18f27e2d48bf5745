"""Programs that run an artifact, in several languages, with its real names, shapes and dtypes."""
