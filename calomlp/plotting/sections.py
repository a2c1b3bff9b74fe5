"""Sections of a report, the same for the terminal, Markdown and HTML; :mod:`calomlp.plotting.render` writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from calomlp.evaluation.bins import EDGES, POINTS
from calomlp.evaluation.estimators import MIN_QUOTED, is_above_zero
from calomlp.evaluation.measurement import PERCENT, Measurement, count, energy_range, four_decimals, with_error
from calomlp.evaluation.options import MEAN, WIDTHS
from calomlp.evaluation.report import Bin, Curve, Report
from calomlp.evaluation.uncertainty import Uncertainty
from calomlp.evaluation.verdicts import CRITERIA, LIMIT_MARK, Verdict, fitted_terms, verdicts

if TYPE_CHECKING:
    from calomlp.plotting.save import Picture

NONE = "\N{EN DASH}"
"""What stands where there is no number."""

EDGE_MARK, FEW_MARK = " *", " \N{DAGGER}"
MARKS = {
    EDGE_MARK: "* at an edge of the training range: left out of averages, and of the fits of what was trained",
    FEW_MARK: f"\N{DAGGER} fewer than {MIN_QUOTED} events: too few to quote a resolution",
    LIMIT_MARK: "< upper limit at 95 % CL on a term of the resolution that is below two standard errors",
}
"""Marks of bins and terms, and what they mean."""

ESTIMATORS = """RMS90 is not scaled to the σ of a Gaussian, of which it is 0.789. σ/slope is corrected for the local
slope of the response, d(E_reco)/d(E_true). 4.55 and 0.27 % of a Gaussian are beyond 2 and 3σ."""

_RELATIVE = ("rms90/mean90", "sigma_68/median", "sigma_eff/median")
_MAX_FILES, _MAX_PARTS = 200, 50


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    small: bool = False


@dataclass(frozen=True)
class Code:
    """Lines that are kept as they are."""

    text: str


@dataclass(frozen=True)
class Command:
    """A shell command, and what it made."""

    words: Sequence[str]
    title: str = ""


@dataclass(frozen=True)
class Items:
    """A list of sentences."""

    sentences: Sequence[str]


@dataclass(frozen=True)
class Facts:
    """Facts by their names; those without a text are left out."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Table:
    """A table of text."""

    header: tuple[str, ...]  # headings with units
    rows: tuple[tuple[str, ...], ...]  # cells, as many as there are headings
    title: str = ""


@dataclass(frozen=True)
class Cards:
    """Verdicts, each with its question."""

    verdicts: Sequence[Verdict]


@dataclass(frozen=True)
class Figures:
    """Pictures."""

    pictures: Sequence[Picture]


Block = Text | Code | Command | Items | Facts | Table | Cards | Figures


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it."""

    name: str  # one word, for links
    heading: str
    blocks: Sequence[Block]


def report_sections(report: Report, pictures: Sequence[Picture] = ()) -> list[Section]:
    """Return the sections of a report: verdicts, notes, figures, tables, and how it was made."""
    first = report.curves[0]
    sections = [
        Section("verdict", "What it comes to", [Cards(verdicts(report)), Text(CRITERIA, small=True)]),
        Section("notes", "What to know", [Items([*report.notes, *marks(report)])]),
        Section("figures", "Figures", [Figures(pictures)]),
        Section("tables", "Tables", [*report_tables(report), estimator_table(report, first), Text(ESTIMATORS, True)]),
        Section("origin", "How it was made", [*_commands(report), Facts(tuple(_facts(report))), *_files(report)]),
    ]
    empty = {name for name, there in (("notes", report.notes or marks(report)), ("figures", pictures)) if not there}
    return [section for section in sections if section.name not in empty]


def lede(report: Report) -> str:
    """Return events, energies and training range in a line."""
    bins, region = report.curves[0].bins, report.context.envelope
    ends = [bins[0].energy_low, bins[-1].energy_high] if bins else []
    span = f" of {' to '.join(dict.fromkeys(f'{end:.3g}' for end in ends))} GeV" if bins else ""
    trained = (
        f"; trained on {count(region.n_train)} events of {region.energy_min:.4g} to {region.energy_max:.4g} GeV"
        if region
        else ""
    )
    return f"{count(report.events)} events{span} in {len(bins)} bin{'s' * (len(bins) != 1)}{trained}"


def _commands(report: Report) -> Iterator[Command]:
    """Yield the commands that make the same report, in the order in which they are run."""
    made = report.context.provenance
    if words := made.get("model", {}).get("command"):
        yield Command(words, "The model")
    parts = [words for words in made.get("parts", []) if words]
    yield from (Command(words, f"Part {i} of the report") for i, words in enumerate(parts[:_MAX_PARTS], 1))
    if len(parts) > _MAX_PARTS:
        yield Command(parts[-1], f"And {count(len(parts) - _MAX_PARTS)} more parts, the last")
    if words := made.get("command"):
        yield Command(words, "The report")


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what the numbers depend on, each with its name."""
    options, context = report.options, report.context
    width = WIDTHS[options.width]
    window = f", window of ±{options.core_sigmas:g}σ" if options.width == "core" else ""
    relative = f"its {width.centre}" if options.relative_to == MEAN else "the true energy"
    yield "resolution", f"{report.width_name}: {width.label}{window}, relative to {relative}"
    noise = "fitted" if options.noise is None else f"{options.noise:g} GeV, given"
    yield "fit", f"{report.formula}; n is {noise}; bins at an edge are {'' if options.edges else 'not '}fitted"
    yield "bins of E_true", f"{len(report.curves[0].bins)}, {_binning(report)}"
    yield "errors", f"standard errors by bootstrap, seed {options.seed}"
    yield "cut", context.cut
    if region := context.envelope:
        sides = ((region.n_train, "training"), (region.n_validation, "validation"), (region.n_test, "test"))
        numbers = ", ".join(f"{count(number)} {side}" for number, side in sides)
        yield "model", f"{region.energy_min:.4g} to {region.energy_max:.4g} GeV; {numbers} events"
    yield "loss", report.outcome.loss
    yield "versions", versions(context.provenance)
    yield "versions of the model", versions(context.provenance.get("model", {}))


def _binning(report: Report) -> str:
    if report.bins.kind == POINTS:
        return "one for each beam energy"
    if report.statistics.bins.kind == EDGES:
        return "with given edges"
    widths = sorted(math.log(bin_.energy_high / bin_.energy_low) for bin_ in report.curves[0].bins)
    ends = dict.fromkeys(f"{width:.3g}" for width in (*widths[:1], *widths[-1:]))
    return f"{'each ' if len(ends) == 1 else ''}{' to '.join(ends)} wide in ln E"


def _files(report: Report) -> Iterator[Table]:
    if report.context.files:
        yield file_table(((file.path, file.tree, file.events) for file in report.context.files), _MAX_FILES)


def file_table(files: Iterable[tuple[str, str, int]], limit: int = 20) -> Table:
    """Return a row for each file: path, tree and number of events; of very many, the first."""
    rows = [(path, tree, count(events)) for path, tree, events in files]
    return Table(("file", "tree", "events"), first_rows(rows, limit), "Files")


def first_rows(rows: Sequence[tuple[object, ...]], limit: int) -> tuple[tuple[str, ...], ...]:
    """Return the first rows of a table as text, and one that says how many there are besides."""
    first = tuple(tuple(map(str, row)) for row in rows[:limit])
    if len(rows) <= limit:
        return first
    more = f"and {count(len(rows) - limit)} more, all in --json"
    return (*first, (more, *("",) * (len(rows[0]) - 1)))


def versions(provenance: Mapping[str, Any]) -> str:
    """Return the versions of what made an artefact, and the kind of machine, as far as they were recorded."""
    recorded = {name: provenance[name] for name in ("calomlp", "python") if provenance.get(name)}
    recorded |= provenance.get("packages") or {}
    parts = [f"{name} {version}" for name, version in recorded.items()]
    return ", ".join([*parts, *filter(None, [provenance.get("machine")])])


def report_tables(report: Report) -> list[Table]:
    """Return the tables of a report, each with its title."""
    tables = [resolution_table(report), fit_table(report), linearity_table(report)]
    if report.comparisons:
        tables.append(ratio_table(report))
    if report.uncertainty is not None:
        tables += [uncertainty_table(report.uncertainty), _dropped_table(report.uncertainty, report.width_name)]
    tables += [_dependence_table(report, by) for by in dict.fromkeys(item.by for item in report.dependences)]
    if report.importance:
        rows = tuple((item.feature, with_error(item.increase, PERCENT)) for item in report.importance)
        title = "Importance: increase of the deviation if a feature is shuffled"
        tables.append(Table(("feature", "increase [%]"), rows, title))
    if events := report.statistics.worst.events:
        header = ("file", "entry", "E_true [GeV]", "E_reco [GeV]", "(E_reco - E_true)/√E_true [√GeV]")
        numbers = [
            (one.file, str(one.entry), f"{one.true_energy:.4g}", f"{one.energy:.4g}", f"{one.deviation:+.3g}")
            for one in events
        ]
        tables.append(Table(header, tuple(numbers), "Events that are furthest off"))
    return tables


def resolution_table(report: Report) -> Table:
    """Return response of the first curve and resolution of all curves in every bin of energy."""
    first = report.curves[0]
    header = ("E_true [GeV]", "events", f"{first.name}: bias [%]")
    rows = [
        (
            _energy(bin_),
            count(bin_.events),
            _estimate(bin_, "bias"),
            *(_estimate(curve.bins[place], "resolution") for curve in report.curves),
        )
        for place, bin_ in enumerate(first.bins)
    ]
    names = (f"{curve.name}: {report.width_name} [%]" for curve in report.curves)
    return Table((*header, *names), tuple(rows), f"Response and resolution, {WIDTHS[report.options.width].label}")


def estimator_table(report: Report, curve: Curve) -> Table:
    """Return estimators of the width of one curve in every bin of energy, each relative to its location.

    RMS90 is not scaled to the sigma of a Gaussian, of which it is 0.789.
    """
    columns = {
        "bias": ("bias",),
        report.width_name: ("resolution",),
        "σ/slope": ("resolution_per_slope",),
        **{name: tuple(name.split("/")) for name in _RELATIVE},
        "RMS": ("rms",),
        "beyond 2σ": ("tail_2sigma",),
        "beyond 3σ": ("tail_3sigma",),
    }
    rows = [
        (_energy(bin_), count(bin_.events), *(_estimate(bin_, *names) for names in columns.values()))
        for bin_ in curve.bins
    ]
    header = ("E_true [GeV]", "events", *(f"{name} [%]" for name in columns))
    return Table(header, tuple(rows), f"Estimators of the width of {curve.title}")


def fit_table(report: Report) -> Table:
    """Return the terms of the resolution of every curve."""
    rows: list[tuple[str, ...]] = []
    for curve in report.curves:
        if fit := curve.fit:
            span = f"{fit.energy_min:.3g}\N{EN DASH}{fit.energy_max:.3g}"
            numbers = (*fitted_terms(fit), f"{fit.correlation[0][2]:.2f}", f"{fit.chi2:.1f}/{fit.ndf}", span)
        rows.append((curve.label, *(numbers if fit else (NONE,) * 6)))
    header = ("curve", "a [% √GeV]", "n [GeV]", "c [%]", "ρ(a, c)", "chi2/ndf", "fitted [GeV]")
    return Table(header, tuple(rows), f"Resolution: {report.width_name} = {report.formula}")


def linearity_table(report: Report) -> Table:
    """Return mean response of every curve, how far it is from being constant, and the line through its energies."""
    rows = []
    for curve in report.curves:
        cells: tuple[str, ...] = (NONE,) * 3
        fitted = (NONE,) * 2
        if linearity := curve.linearity:
            deviations = (f"{PERCENT * value:.2f}" for value in (linearity.max, linearity.rms))
            cells = (four_decimals(linearity.response), *deviations)
        if line := curve.line:
            fitted = (with_error(line.slope), with_error(line.offset))
        rows.append((curve.label, *cells, *fitted))
    header = ("curve", "response: mean", "deviation: max [%]", "deviation: RMS [%]", "slope", "offset [GeV]")
    return Table(header, tuple(rows), "Linearity of the response")


def ratio_table(report: Report) -> Table:
    """Return the resolution of the first curve over that of each other one, in every bin of energy."""
    ratios = [{(item.energy_low, item.energy_high): item.ratio for item in one.ratios} for one in report.comparisons]
    rows = [
        (_energy(bin_), *(_cell(of_curve.get(bin_.edges)) for of_curve in ratios)) for bin_ in report.curves[0].bins
    ]
    means = ("mean inside", *(_cell(item.mean) for item in report.comparisons))
    labels = (report.statistics.labels[item.curve] for item in report.comparisons)
    title = f"{report.curves[0].label}: ratio of the resolution to"
    return Table(("E_true [GeV]", *labels), (*rows, means), title)


def uncertainty_table(uncertainty: Uncertainty) -> Table:
    """Return coverage, pulls and scores of predicted uncertainties, beside what they should be."""
    one, two = uncertainty.coverage
    rows = [
        ("mean of the pull, core", _cell(uncertainty.pull.get("core_mean")), "0"),
        ("width of the pull, core", _cell(uncertainty.pull.get("core_sigma")), "1"),
        ("within one sigma [%]", with_error(one, PERCENT), "68.27"),
        ("within two sigma [%]", with_error(two, PERCENT), "95.45"),
        ("largest distance of the probability integral transform", f"{uncertainty.distance:.3f}", "0"),
        ("sharpness, mean of sigma/E [%]", f"{PERCENT * uncertainty.sharpness:.3f}", ""),
        ("continuous ranked probability score over E_true [%]", f"{PERCENT * uncertainty.score:.3f}", ""),
    ]
    for group in uncertainty.reliability:
        name = f"observed spread where {PERCENT * group.predicted:.3g} % is predicted [%]"
        rows.append((name, with_error(group.observed, PERCENT), f"{PERCENT * group.predicted:.2f}"))
    return Table(("", "found", "ideal"), tuple(rows), "Predicted uncertainties")


def _dropped_table(uncertainty: Uncertainty, width_name: str) -> Table:
    rows = [
        (
            energy_range(item.energy_low, item.energy_high),
            *(with_error(width, PERCENT) for width in (item.everything, *item.resolutions)),
        )
        for item in uncertainty.dropped
    ]
    header = ("E_true [GeV]", *(f"{width_name} [%]: {share}" for share in ("all", "best 90 %", "best 80 %")))
    return Table(header, tuple(rows), "Resolution without the events of the largest predicted uncertainty")


def _dependence_table(report: Report, by: str) -> Table:
    """Return the median response of every curve in slices of a quantity."""
    of_curves = [item for item in report.dependences if item.by == by]
    rows = [
        (
            slice_range(slice_.low, slice_.high),
            count(slice_.events),
            *(_cell(curve.slices[place].estimates.get("median")) for curve in of_curves),
            _cell(slice_.estimates.get("sigma_68"), PERCENT),
        )
        for place, slice_ in enumerate(of_curves[0].slices)
    ]
    chances = (f"{item.trend.p_value:.2g}" if item.trend else NONE for item in of_curves)
    rows.append(("p(flat)", "", *chances, ""))
    names = (f"{item.curve}: median" for item in of_curves)
    header = (by, "events", *names, f"{of_curves[0].curve}: sigma_68 [%]")
    return Table(header, tuple(rows), f"Response by {by}")


def marks(report: Report) -> list[str]:
    """Return the meaning of the marks that are in a report."""
    bins = report.curves[0].bins
    there = {
        EDGE_MARK: any(bin_.edge for bin_ in bins),
        FEW_MARK: any(bin_.thin for bin_ in bins),
        LIMIT_MARK: any(curve.fit and curve.fit.limits for curve in report.curves),
    }
    return [MARKS[mark] for mark, shown in there.items() if shown]


def _energy(bin_: Bin) -> str:
    """Write the range of a bin with its marks."""
    return energy_range(*bin_.edges) + EDGE_MARK * bin_.edge + FEW_MARK * bin_.thin


def _cell(measured: Measurement | None, scale: float = 1.0) -> str:
    return with_error(measured, scale) if measured else NONE


def _estimate(bin_: Bin, width: str, location: str | None = None) -> str:
    """Write an estimator in percent, relative to a location if one is named."""
    at = bin_.estimates.get(location) if location else Measurement(1.0, 0.0)
    return _cell(bin_.estimates.get(width), PERCENT / at.value) if at and is_above_zero(at) else NONE


def slice_range(low: float | None, high: float | None) -> str:
    """Write where a slice begins and ends."""
    if low == high:
        return f"{low:g}"
    if low is None:
        return f"< {high:g}"
    return f"≥ {low:g}" if high is None else f"{low:g}\N{EN DASH}{high:g}"
