"""One target: convert it, load it, run it, time it; each in a child process."""
