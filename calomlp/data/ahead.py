"""Reading ahead: what comes next is read and unpacked while the rest of the program is busy."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


@contextmanager
def ahead(items: Iterator[Item]) -> Iterator[Iterator[Item]]:
    """Give an iterator over the same items, each of which a thread has made before it is asked for.

    At the end of the block the thread is at rest, however it ends.
    """
    end = object()
    with ThreadPoolExecutor(1) as pool:

        def taken() -> Iterator[Item]:
            coming = pool.submit(next, items, end)
            while (item := coming.result()) is not end:
                coming = pool.submit(next, items, end)
                yield item  # type: ignore[misc]  # which is not the end

        yield taken()
