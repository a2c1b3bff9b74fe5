from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from calomlp.data.ahead import ahead
from calomlp.errors import InputError


def test_the_same_items_in_the_same_order() -> None:
    with ahead(iter(range(100))) as items:
        assert list(items) == list(range(100))
    with ahead(iter(())) as nothing:
        assert list(nothing) == []


def test_the_next_one_is_made_while_this_one_is_used() -> None:
    made = threading.Event()

    def numbers() -> Iterator[int]:
        yield 1
        made.set()
        yield 2

    with ahead(numbers()) as items:
        assert next(items) == 1
        assert made.wait(timeout=10)


def test_an_error_arrives_where_the_item_would() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise InputError("damaged")

    with ahead(broken()) as items:
        assert next(items) == 1
        with pytest.raises(InputError, match="damaged"):
            next(items)


def test_who_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with pytest.raises(KeyError), ahead(iter(range(1000))) as items:
        next(items)
        raise KeyError
    assert threading.active_count() == before
