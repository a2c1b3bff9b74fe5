"""Threads and devices of tensors: stated, never guessed, because results depend on them in the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from calomlp.errors import UsageError


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


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Count numbers below 1e-38 as zero inside the block: tails of showers are full of them, and they cost dearly."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def find_device(name: str, number: int = 0) -> torch.device:
    """Return a device that is there.

    Args:
        name: Its name.
        number: Which of the GPUs ``cuda`` is; beyond the last one they are counted again from the first.

    Raises:
        UsageError: If it is not.
    """
    try:
        device = torch.device(f"cuda:{number % max(1, torch.cuda.device_count())}" if name == "cuda" else name)
        torch.empty(0, device=device)
        torch.Generator(device)  # meta has tensors, but no random numbers
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {name!r} is not available here: {str(error).splitlines()[0][:100]}") from error
    return device
