"""The report: every number with its error, the histograms that they come from, and how they were made."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from calomlp.data.record import FileRecord
from calomlp.errors import ArtefactError, InputError
from calomlp.evaluation.bins import EnergyBins
from calomlp.evaluation.estimators import Measurement
from calomlp.evaluation.resolution import ResolutionFit
from calomlp.evaluation.response import Histogram
from calomlp.model.envelope import Envelope

REPORT_SCHEMA = "calomlp.report/1"


@dataclass(frozen=True)
class Bin:
    """One bin of true energy of one curve.

    Attributes:
        energy_low: Lower edge [GeV]; equal to the upper one for a beam energy.
        energy_high: Upper edge [GeV].
        energy: Abscissa [GeV].
        events: Number of events.
        edge: Whether the bin is within two sigma of an edge of the training range, where a regression is biased and its
            resolution looks better than it is; such bins are left out of fits.
        estimates: Estimators of the response by name; empty for too few events.
        histogram: The responses.
    """

    energy_low: float
    energy_high: float
    energy: float
    events: int
    edge: bool
    estimates: Mapping[str, Measurement]
    histogram: Histogram


@dataclass(frozen=True)
class Linearity:
    """How far the response of the core is from being constant.

    Attributes:
        response: Mean of the core responses of all bins that are not at an edge.
        max: Largest deviation |R(E)/response - 1|.
        rms: Root mean square of the deviations.
    """

    response: float
    max: float
    rms: float


@dataclass(frozen=True)
class Curve:
    """One estimate of the energy: the regressor or a baseline.

    Attributes:
        name: ``regressor``, ``anchor`` or ``sum``.
        label: What figures and tables call it.
        bins: In ascending energy.
        fit: The terms of its resolution, if there are bins enough.
        linearity: Of its core response, if there are bins enough.
        non_finite: Events whose estimate is not finite, which are in no bin.
    """

    name: str
    label: str
    bins: tuple[Bin, ...]
    fit: ResolutionFit | None
    linearity: Linearity | None
    non_finite: int


@dataclass(frozen=True)
class Report:
    """An evaluation.

    Attributes:
        bins: The binning of the true energy.
        curves: The regressor first, then the baselines.
        events: Number of events that were evaluated.
        left_out: Events of training files that belong to the training or validation side, and so were not evaluated.
        files: What was evaluated.
        envelope: The region that the model was trained in.
        training: History and summary of the training, for figures.
        provenance: What made the report.
        notes: What the reader should know, a sentence each.
    """

    bins: EnergyBins
    curves: tuple[Curve, ...]
    events: int
    left_out: int
    files: tuple[FileRecord, ...]
    envelope: Envelope
    training: Mapping[str, Any]
    provenance: Mapping[str, Any]
    notes: tuple[str, ...] = field(default_factory=tuple)

    def to_json(self) -> str:
        """Write the report as JSON, validated against the schema that is shipped with the package."""
        document = {"schema": REPORT_SCHEMA, **asdict(self)}
        for curve in document["curves"]:
            for bin_ in curve["bins"]:
                for name in ("index", "count"):
                    bin_["histogram"][name] = bin_["histogram"][name].tolist()
        text = json.dumps(document, allow_nan=False)
        jsonschema.validate(json.loads(text), report_schema())  # as it will be read: tuples have become lists
        return f"{text}\n"


@cache
def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of a report."""
    text = resources.files("calomlp.evaluation").joinpath("report.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def read_report(path: str, label: str) -> Report:
    """Read a report.

    Args:
        path: The file.
        label: What messages call it.

    Raises:
        ArtefactError: If this is not a report that this version can read.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{label}: cannot open this report: {error.strerror}") from error
    except ValueError as error:
        raise ArtefactError(f"{label}: not a report written by calomlp evaluate (not JSON)") from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != REPORT_SCHEMA:
        raise ArtefactError(f"{label}: has schema {schema!r}, this version reads {REPORT_SCHEMA!r}")
    try:
        jsonschema.validate(document, report_schema())
    except jsonschema.ValidationError as error:
        raise ArtefactError(f"{label}: does not follow its schema at {error.json_path}: {error.message}") from error
    return Report(
        EnergyBins(**document["bins"]),
        tuple(_curve(item) for item in document["curves"]),
        document["events"],
        document["left_out"],
        tuple(FileRecord(**{**item, "friends": tuple(item["friends"])}) for item in document["files"]),
        Envelope.read(document["envelope"]),
        document["training"],
        document["provenance"],
        tuple(document["notes"]),
    )


def _curve(item: dict[str, Any]) -> Curve:
    fit = item["fit"]
    if fit is not None:
        terms = {name: Measurement(**fit[name]) for name in ("stochastic", "noise", "constant")}
        fit = ResolutionFit(**{**fit, **terms, "covariance": tuple(map(tuple, fit["covariance"]))})
    linearity = None if item["linearity"] is None else Linearity(**item["linearity"])
    bins = tuple(_bin(bin_) for bin_ in item["bins"])
    return Curve(item["name"], item["label"], bins, fit, linearity, item["non_finite"])


def _bin(item: dict[str, Any]) -> Bin:
    estimates = {name: Measurement(**value) for name, value in item["estimates"].items()}
    arrays = {name: np.array(item["histogram"][name], dtype=np.int64) for name in ("index", "count")}
    return Bin(**{**item, "estimates": estimates, "histogram": Histogram(**{**item["histogram"], **arrays})})
