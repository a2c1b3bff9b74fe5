"""The report: numbers with errors, the histograms behind them, and their origin; as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np

from calomlp.data.sources import FileRecord
from calomlp.documents import from_document, schema_of, to_document
from calomlp.errors import ArtefactError, InputError
from calomlp.evaluation.accumulator import Unusual
from calomlp.evaluation.bins import EnergyBins
from calomlp.evaluation.estimators import MIN_QUOTED, MIN_SHOWN, is_above_zero
from calomlp.evaluation.histogram import Histogram
from calomlp.evaluation.importance import Importance
from calomlp.evaluation.measurement import Measurement
from calomlp.evaluation.migration import OLD_SCHEMA, migrated
from calomlp.evaluation.options import MEAN, QUADRATURE, WIDTHS, Options
from calomlp.evaluation.resolution import ResolutionFit, ResponseFit
from calomlp.evaluation.slices import Dependence
from calomlp.evaluation.statistics import IN_DOMAIN, Statistics
from calomlp.evaluation.uncertainty import Uncertainty
from calomlp.model.envelope import Envelope
from calomlp.model.outcome import TrainingOutcome
from calomlp.model.spread import Spread

REPORT_SCHEMA = "calomlp.report/2"
_LONGEST_MESSAGE = 200

REGRESSOR, ANCHOR, SUM, COMPENSATED = "regressor", "anchor", "sum", "compensated"
LABELS = {
    REGRESSOR: "MLP regressor",
    ANCHOR: "linear anchor",
    SUM: "calibrated sum",
    COMPENSATED: "software compensation",
}
"""Names of the curves of a model, and what figures and tables call them."""


@dataclass(frozen=True)
class Bin:
    """One bin of true energy of one curve.

    Attributes:
        key: Number of the bin among those of the report.
        energy_low: Lower edge [GeV]; equal to the upper one for a beam energy.
        energy_high: Upper edge [GeV].
        energy: Abscissa [GeV].
        events: Number of events whose response is finite.
        edge: Whether the bin is within two sigma of an edge of the training range, where a regression is biased and its
            resolution looks better than it is; such bins are left out of fits.
        estimates: Estimators of the response by name; empty for too few events.
        histogram: The responses.
    """

    key: int
    energy_low: float
    energy_high: float
    energy: float
    events: int
    edge: bool
    estimates: Mapping[str, Measurement]
    histogram: Histogram = field(metadata={"document": False})

    @property
    def edges(self) -> tuple[float, float]:
        """Lower and upper edge [GeV]."""
        return self.energy_low, self.energy_high

    @property
    def shown(self) -> bool:
        """Whether there are events enough for figures, fits and averages."""
        return bool(self.estimates) and self.events >= MIN_SHOWN

    @property
    def thin(self) -> bool:
        """Whether there are estimates, but of too few events to quote a resolution."""
        return bool(self.estimates) and self.events < MIN_QUOTED

    @property
    def resolution(self) -> Measurement | None:
        """The resolution, if there is one with an error."""
        resolution = self.estimates.get("resolution")
        return resolution if resolution is not None and resolution.error > 0 else None

    @property
    def response(self) -> Measurement | None:
        """The mean response, by the location that goes with the resolution, if it is known."""
        bias = self.estimates.get("bias")
        return Measurement(1 + bias.value, bias.error) if bias else None

    @property
    def negative(self) -> bool:
        """Whether the mean response is known and not above zero."""
        return self.response is not None and not is_above_zero(self.response)


@dataclass(frozen=True)
class Linearity:
    """Deviation of the response from a constant.

    Attributes:
        response: Mean of the responses of all bins that are fitted.
        max: Largest deviation |R(E)/response - 1|.
        rms: Root mean square of the deviations.
    """

    response: float
    max: float
    rms: float


@dataclass(frozen=True)
class Curve:
    """One estimate of the energy: a model or a baseline, or an expression.

    Attributes:
        name: ``regressor``, ``anchor``, ``sum``, ``compensated``, or what the user called it.
        label: What figures and tables call it.
        bins: In ascending energy.
        fit: The terms of its resolution, if there are bins enough.
        linearity: Of its response, if there are bins enough.
        line: Through its mean energies, if there are bins enough.
        unusual: Events whose estimate is missing or infinite, which are in no bin, and those where it is not positive.
    """

    name: str
    label: str
    bins: tuple[Bin, ...]
    fit: ResolutionFit | None
    linearity: Linearity | None
    line: ResponseFit | None
    unusual: Unusual

    @property
    def title(self) -> str:
        """The curve in a sentence: ``the linear anchor``, or the name that the user gave it in quotation marks."""
        return f"the {self.label}" if self.name in LABELS else f"‘{self.label}’"


@dataclass(frozen=True)
class Ratio:
    """The resolution of the first curve over that of another one in a bin of energy.

    Attributes:
        energy_low: Lower edge of the bin [GeV].
        energy_high: Upper edge [GeV].
        energy: Abscissa [GeV].
        edge: Whether the bin is at an edge of the training range.
        ratio: With the error of curves that are made from the same events.
    """

    energy_low: float
    energy_high: float
    energy: float
    edge: bool
    ratio: Measurement


@dataclass(frozen=True)
class Comparison:
    """The resolution of the first curve beside that of another one.

    Attributes:
        curve: Name of the other one.
        ratios: In the bins where both have a resolution.
        mean: Over the bins that are not at an edge; ``None`` if there are none.
    """

    curve: str
    ratios: tuple[Ratio, ...]
    mean: Measurement | None


@dataclass(frozen=True)
class Context:
    """Origin of the numbers: files, model, settings, versions.

    Attributes:
        files: What was evaluated.
        cut: The condition that events had to meet; empty for all.
        use_all: Whether events that a model was trained on are among them.
        envelope: The region that the model was trained in; ``None`` without a model.
        spread: Expected spread of its anchor, which says how far the edges of the training range reach.
        training: History and summary of the training, for figures; empty without a model.
        settings: What the training and the simulation of the first file were asked for, as far as that is known, under
            ``training`` and ``simulation``; of reports that were added up what they have in common.
        provenance: What made the report.
    """

    files: tuple[FileRecord, ...]
    cut: str
    use_all: bool
    envelope: Envelope | None
    spread: Spread | None
    training: Mapping[str, Any]
    settings: Mapping[str, Any]
    provenance: Mapping[str, Any]


@dataclass(frozen=True)
class Report:
    """An evaluation.

    Attributes:
        options: How numbers were derived.
        bins: The binning of the true energy.
        curves: The one that matters first, then what it is compared with.
        comparisons: The resolution of the first curve over that of each other one.
        dependences: How the response of each curve depends on other quantities.
        uncertainty: What predicted uncertainties are worth; ``None`` if there are none.
        importance: Of the features, if that was asked for, the largest first.
        notes: What the reader should know, a sentence each.
        context: Where the numbers come from.
        statistics: What the numbers were derived from; reports on other events add up with this.
    """

    options: Options
    bins: EnergyBins
    curves: tuple[Curve, ...]
    comparisons: tuple[Comparison, ...]
    dependences: tuple[Dependence, ...]
    uncertainty: Uncertainty | None
    importance: tuple[Importance, ...]
    notes: tuple[str, ...]
    context: Context
    statistics: Statistics

    @property
    def events(self) -> int:
        """Number of events that were evaluated."""
        return self.statistics.events

    @property
    def out_of_domain(self) -> float:
        """Share of the events that are unlike those of the training; 0 without a model."""
        slices = self.statistics.slices.get(IN_DOMAIN)
        outside = slices.responses.content.get(0) if slices else None
        return outside.events / self.events if outside else 0.0

    @property
    def history(self) -> list[dict[str, float]]:
        """The epochs of the training; none without a model."""
        epochs: list[dict[str, float]] = self.context.training.get("history", [])
        return epochs

    @property
    def outcome(self) -> TrainingOutcome:
        """Outcome of the training of the model; that of nothing without one."""
        return TrainingOutcome.read(self.context.training.get("summary", {}))

    def fitted(self, curve: Curve) -> list[Bin]:
        """Return the bins of a curve that its fits may use: with events enough, and not at an edge unless asked for."""
        return [bin_ for bin_ in curve.bins if bin_.shown and (self.options.edges or not bin_.edge)]

    def curve(self, name: str) -> Curve:
        """Return a curve by its name."""
        return next(curve for curve in self.curves if curve.name == name)

    @property
    def width_name(self) -> str:
        """The resolution in symbols: ``σ/μ``, ``RMS90/mean90``, or over the true energy ``σ/E``."""
        chosen = WIDTHS[self.options.width]
        return f"{chosen.symbol}/{chosen.centre if self.options.relative_to == MEAN else 'E'}"

    @property
    def formula(self) -> str:
        """The formula that is fitted to the resolution."""
        return f" {'⊕' if self.options.sum == QUADRATURE else '+'} ".join(("a/√E", "n/E", "c"))

    def document(self) -> dict[str, Any]:
        """Return the report for JSON."""
        return {"schema": REPORT_SCHEMA, **to_document(self)}

    def brief(self) -> dict[str, Any]:
        """Return the report for JSON without what makes it long: the histograms, and the history of the training."""
        document = self.document()
        del document["statistics"]
        document["context"]["training"].pop("history", None)
        return {**document, "events": self.events}

    def to_json(self) -> str:
        """Write the report as JSON, validated against its schema."""
        text = json.dumps(self.document(), allow_nan=False)
        _validator().validate(json.loads(text))
        return f"{text}\n"


@cache
def report_schema() -> dict[str, Any]:
    """Return the JSON Schema of a report, made from its types."""
    schema = schema_of(Report)
    schema["properties"] = {"schema": {"const": REPORT_SCHEMA}, **schema["properties"]}
    schema["required"] = ["schema", *schema["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "calomlp report", **schema}


@cache
def _validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(report_schema())


def read_report(path: str, label: str) -> Report:
    """Read a report.

    Args:
        path: The file.
        label: What messages call it.

    Raises:
        InputError: If it cannot be opened.
        ArtefactError: If this is not a report that this version can read.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{label}: cannot open this report: {error.strerror}") from error
    except ValueError as error:
        raise ArtefactError(f"{label}: not a report written by calomlp evaluate (not JSON)") from error
    schema = document.pop("schema", None) if isinstance(document, dict) else None
    if schema not in (REPORT_SCHEMA, OLD_SCHEMA):
        raise ArtefactError(f"{label}: has schema {schema!r}, this version reads {REPORT_SCHEMA!r} and {OLD_SCHEMA!r}")
    try:
        document = migrated(document) if schema == OLD_SCHEMA else document
        _validator().validate({"schema": REPORT_SCHEMA, **document})
        report = _build(document)
        _ = report.outcome  # is of the right kind too
    except jsonschema.ValidationError as error:
        reason = textwrap.shorten(error.message, _LONGEST_MESSAGE, placeholder=" ...")
        raise ArtefactError(f"{label}: does not follow its schema at {error.json_path}: {reason}") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise ArtefactError(f"{label}: its numbers and what they come from do not go together ({error!r})") from error
    return report


def _build(document: Mapping[str, Any]) -> Report:
    statistics: Statistics = from_document(Statistics, document["statistics"])
    bins: EnergyBins = from_document(EnergyBins, document["bins"])
    responses = statistics.responses.grouped(statistics.bins.within(bins, statistics.responses.content))
    curves, nothing = [], Histogram.of(np.empty(0))
    for curve in document["curves"]:
        content = {key: item.histograms.get(curve["name"], nothing) for key, item in responses.content.items()}
        complete = [{**bin_, "histogram": content[bin_["key"]]} for bin_ in curve["bins"]]
        curves.append({**curve, "bins": complete})
    hints = {**document, "curves": curves}
    return from_document(Report, hints)  # type: ignore[no-any-return]
