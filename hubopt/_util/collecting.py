"""`relaxed_gc`: runs Python's garbage collector less often while lasting objects are created."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def relaxed_gc() -> Iterator[None]:
    """Run the garbage collector less often in this context.

    TensorFlow creates millions of lasting Python objects when it loads and traces a model, and
    converters do too. Collection would examine all of them, which takes a tenth of the time. The
    context must not leave large objects behind in reference cycles.
    """
    before = gc.get_threshold()
    gc.set_threshold(100_000, 20, 100)
    try:
        yield
    finally:
        gc.set_threshold(*before)
