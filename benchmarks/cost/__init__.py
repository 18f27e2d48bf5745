"""The cost of an export, compared with the plain tools; the command is `benchmarks.export_cost`."""
