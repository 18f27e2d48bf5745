"""The exporters that come with hubopt, one module a target.

Each sees only `hubopt.exporter`, `hubopt.spec`, `hubopt._util.structure` and `hubopt.errors`, and
imports its own packages inside functions.
"""
