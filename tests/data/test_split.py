from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calomlp.data.sample import Side, Split
from calomlp.errors import UsageError

N = 100_000


def test_the_shares_are_those_asked_for() -> None:
    counts = np.bincount(Split(0.7, 0.1, 0.2).sides("file", np.arange(N)), minlength=3)
    assert counts / N == pytest.approx([0.7, 0.1, 0.2], abs=0.005)  # three standard deviations


@given(st.lists(st.integers(0, 1000), unique=True, max_size=20))
def test_chunks_do_not_matter(cuts: list[int]) -> None:
    split, keys = Split(), np.arange(1000)
    parts = [split.sides("f", part) for part in np.split(keys, sorted(cuts))]
    assert (np.concatenate(parts) == split.sides("f", keys)).all()


def test_files_and_seeds_are_split_independently() -> None:
    keys = np.arange(N)
    reference = Split(seed=1).sides("a", keys) == Side.TEST
    for other in (Split(seed=1).sides("b", keys), Split(seed=2).sides("a", keys)):
        both = np.mean(reference & (other == Side.TEST))
        assert both == pytest.approx(0.04, abs=0.003)


@pytest.mark.parametrize("text", ["0.7,0.3", "0.5,0.1,0.5", "1,0,0", "a,b,c", "-0.1,0.6,0.5", "", "nan,0.5,0.5"])
def test_shares_that_are_not_legal(text: str) -> None:
    with pytest.raises(UsageError, match="split"):
        Split.parse(text)


def test_a_test_side_is_not_needed() -> None:
    assert (Split.parse("0.9,0.1,0").sides("f", np.arange(N)) != Side.TEST).all()
