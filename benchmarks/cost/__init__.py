"""What an export costs beside the plain tools; the command is `benchmarks.export_cost`."""
