"""Energies of single events as a ROOT file beside the report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from calomlp.data.sample import Chunk
from calomlp.data.sources import Source
from calomlp.data.writer import DatasetWriter
from calomlp.evaluation.evaluate import Keep
from calomlp.evaluation.subjects import Measured
from calomlp.provenance import fingerprint, provenance


@contextmanager
def predictions(path: Path, sources: Sequence[Source], marks: Sequence[str]) -> Iterator[Keep]:
    """Write the tree ``events``: of every event the number of its file, its entry, true energy and measured ones.

    The names of the files are in the provenance beside the tree. Branches are ``file``, ``entry``, ``true_energy``,
    one for each curve such as ``regressor``, in GeV, and where they are known ``sigma_below``, ``sigma_above`` and
    ``in_domain``.

    Args:
        path: Where to write.
        sources: The files.
        marks: What stands for the models and expressions; with the files, it decides the identity of this one.
    """
    files = [str(source) for source in sources]
    origin: Mapping[str, Any] = {"schema": "calomlp.predictions/1", "files": files, **provenance()}
    with DatasetWriter(path, container="ttree", identity=fingerprint([files, *marks]), provenance=origin) as writer:

        def keep(number: int, chunk: Chunk, measured: Measured) -> None:
            columns = {
                "file": np.full(len(chunk), number, dtype=np.int32),
                "entry": chunk.entries,
                "true_energy": chunk.sample.true_energy,
                **{branch_of(name): energy.astype(np.float32) for name, energy in measured.curves.items()},
            }
            widths = {"sigma_below": measured.below, "sigma_above": measured.above}
            columns |= {name: width.astype(np.float32) for name, width in widths.items() if width is not None}
            if measured.in_domain is not None:
                columns["in_domain"] = measured.in_domain
            writer.extend(columns)

        yield keep


def branch_of(curve: str) -> str:
    """Return the name of a curve, or of a column, as ROOT takes it for a branch."""
    return re.sub(r"\W", "_", curve)
