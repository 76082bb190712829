"""Loading heavy libraries."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import within it what takes seconds: Python's collector of cyclic garbage rests meanwhile.

    It would look through all that a library makes again and again, a sixth of the time that PyTorch and timm take. What
    they made stays as long as the process, so the collector passes over it afterwards, too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
