"""`relaxed_gc`: Python's garbage collector looks less often while much is made that stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def relaxed_gc() -> Iterator[None]:
    """Let the collector look at fewer occasions.

    TensorFlow makes millions of Python objects that stay, when it loads and traces a model, and
    converters do; to look through all of them takes a tenth of that time. Nothing large may be left
    behind in cycles.
    """
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
