"""How many threads compute: stated, never guessed, because results depend on it in the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute on so many CPU threads inside the block.

    PyTorch's vector and scalar kernels differ in the last bit, and the number of threads decides which elements take
    which. For small tensors one thread is also the fastest: two wait for each other.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
