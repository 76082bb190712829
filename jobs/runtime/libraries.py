"""Loading heavy libraries."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Disable the cyclic garbage collector while importing heavy libraries, then freeze their objects.

    The collector would scan the new objects again and again, a sixth of the import time of PyTorch and timm. They live
    as long as the process, so later collections skip them, too.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
