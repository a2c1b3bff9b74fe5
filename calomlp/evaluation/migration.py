"""Reports of an older schema: their fine bins of equal width become relative ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calomlp.documents import to_document
from calomlp.evaluation.histogram import Joint, fine_bins
from calomlp.evaluation.uncertainty import PULL_SHIFT

OLD_SCHEMA = "calomlp.report/1"
"""Its fine bins were 1/4096 wide, from -7 to 9; of what was beyond there is only the number and the moments."""

_WIDTH = 1 / 4096

Values = NDArray[np.float64]


def migrated(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report of the old schema, without its ``schema``, in the form of this version.

    Events go to the bins of the centres that they had, those that were in none to their mean, of which a note tells.
    """
    statistics = dict(document["statistics"])
    beyond = sum(of_bin["outside"] for of_bin in _histograms(statistics["responses"]))
    statistics["responses"] = _responses(statistics["responses"])
    statistics["slices"] = {
        name: {**item, "responses": _responses(item["responses"])} for name, item in statistics["slices"].items()
    }
    if (given := statistics["uncertainty"]) is not None:
        statistics["uncertainty"] = {
            **given,
            "pulls": _histogram(given["pulls"], shift=PULL_SHIFT - 1),
            "reliability": _joint(given["reliability"], lambda x, y: (np.exp(x), np.exp(x) * np.abs(y))),
            "response": {key: _joint(item, lambda x, y: (np.exp(x), y)) for key, item in given["response"].items()},
        }
    note = f"a report of an older version: derived anew, {beyond} responses beyond -7 and 9 stand at their mean"
    return {**document, "statistics": statistics, "notes": [*document["notes"], *([note] if beyond else [])]}


def _histograms(responses: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for content in responses["content"].values():
        yield from content["histograms"].values()


def _responses(old: Mapping[str, Any]) -> dict[str, Any]:
    content = {
        key: {
            **item,
            "histograms": {name: _histogram(histogram) for name, histogram in item["histograms"].items()},
            "joints": {name: _joint(histogram) for name, histogram in item["joints"].items()},
        }
        for key, item in old["content"].items()
    }
    return {**old, "content": content}


def _histogram(old: Mapping[str, Any], shift: float = 0.0) -> dict[str, Any]:
    centres = (np.array(old["index"], dtype=np.float64) + 0.5) * _WIDTH
    counts = np.array(old["count"], dtype=np.int64)
    if old["outside"]:
        mean = (old["deviation"] - float(counts @ centres)) / old["outside"]
        centres, counts = np.append(centres, mean), np.append(counts, old["outside"])
    index, place = np.unique(fine_bins(1 + centres + shift), return_inverse=True)
    return to_document({"index": index, "count": np.bincount(place, counts, len(index)).astype(np.int64)})  # type: ignore[no-any-return]


def _joint(
    old: Mapping[str, Any], meaning: Callable[[Values, Values], tuple[Values, Values]] = lambda x, y: (x, y)
) -> dict[str, Any]:
    """Return a joint histogram in relative cells; what its axes were becomes what they are."""
    x, y = ((np.array(old[axis], dtype=np.float64) + 0.5) * _WIDTH * 2.0 ** old["level"] for axis in "xy")
    x, y = meaning(x, y)
    cells = fine_bins(x) >> old["level"], fine_bins(y) >> old["level"]
    return to_document(Joint.coarsened(old["level"], *cells, np.array(old["count"], dtype=np.int64)))  # type: ignore[no-any-return]
