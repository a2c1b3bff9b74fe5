"""Subjects of figures: reports, models, searches for a learning rate, data sets; each with its charts."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from calomlp.errors import ArtefactError, UsageError
from calomlp.evaluation.recorded_settings import find_setting, number_of
from calomlp.plotting.chart import NothingToDraw, captions, table
from calomlp.plotting.charts.against_energy import linearity, resolution, resolution_root
from calomlp.plotting.charts.distributions import energy, response, response_linear, tails
from calomlp.plotting.charts.learning import Training, learning_curve, rates, training
from calomlp.plotting.charts.pulls import uncertainty
from calomlp.plotting.charts.quantities import dependence, domain, importance
from calomlp.plotting.charts.scan import scan
from calomlp.plotting.charts.showers import event, longitudinal, radial
from calomlp.plotting.kinds import CAPTION, LATEX, OF_HITS, ON_REQUEST, PAGE, TABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from calomlp.evaluation.profiles import ShowerEvent, ShowerProfiles
    from calomlp.evaluation.report import Report
    from calomlp.plotting.chart import Chart
    from calomlp.plotting.style import Style
    from calomlp.plotting.view import View

REPORT_CHARTS: dict[str, Callable[[View], Chart]] = {
    "resolution": resolution,
    "resolution-root": resolution_root,
    "linearity": linearity,
    "response": response,
    "response-linear": response_linear,
    "energy": energy,
    "tails": tails,
    "dependence": dependence,
    "uncertainty": uncertainty,
    "training": lambda view: training({shown.label: Training.of_report(shown.report) for shown in view.trainings}),
    "learning-curve": lambda view: learning_curve(Training.of_report(view.single("the learning curve"))),
    "importance": importance,
    "domain": domain,
}
"""Charts of reports, in the order of :data:`calomlp.plotting.kinds.REPORT_KINDS`."""

SHOWER_CHARTS: dict[str, Callable[[ShowerProfiles], Chart]] = {
    "longitudinal": longitudinal,
    "radial": radial,
}
"""Charts of mean showers; ``event`` is of other data, and follows them."""

_TEXTS: dict[str, Callable[[Sequence[Chart], Style], str]] = {
    TABLE: lambda charts, _: table(charts),
    CAPTION: lambda charts, _: captions(charts),
}


@dataclass(frozen=True)
class Subject:
    """A subject of figures and its charts.

    Attributes:
        what: What it is.
        builders: Make a chart each, by the name of its kind; they raise ``NothingToDraw``.
        metadata: Of the files: ``Subject`` and ``Software``.
        main: Kinds that are drawn in a terminal.
        on_request: Kinds that are drawn if they are asked for.
        texts: Write charts as a text, by the suffix of its file.
    """

    what: str
    builders: Mapping[str, Callable[[], Chart]]
    metadata: Mapping[str, str]
    main: Sequence[str]
    on_request: Sequence[str] = ()
    texts: Mapping[str, Callable[[Sequence[Chart], Style], str]] = field(default_factory=lambda: dict(_TEXTS))

    def charts(self, kinds: Sequence[str] = ()) -> list[Chart]:
        """Make charts.

        Args:
            kinds: Those that are asked for; none for all that there is something to draw in.

        Raises:
            NothingToDraw: If there is nothing to draw in one that was asked for.
            ArtefactError: If there is nothing to draw at all.
        """
        if kinds:
            return [self.builders[kind]() for kind in kinds]
        charts, reasons = [], []
        for kind, builder in self.builders.items():
            if kind not in self.on_request:
                try:
                    charts.append(builder())
                except NothingToDraw as reason:
                    reasons.append(str(reason))
        if not charts:
            raise ArtefactError(reasons[0])
        return charts

    def overview(self) -> list[Chart]:
        """Make the charts that are drawn in a terminal."""
        charts = self.charts()
        return [chart for chart in charts if chart.name in self.main] or charts[:1]


def of_view(view: View, label: str = "") -> Subject:
    """Return what can be drawn of reports.

    Args:
        view: Their curves.
        label: What the user calls the file, if it is one.
    """
    builders = {name: partial(builder, view) for name, builder in REPORT_CHARTS.items()}
    report = view.report
    metadata = _metadata(f"{report.events} events", report.context.provenance)
    what = "comparison of reports" if view.several else "report"
    main = ("resolution", "linearity")
    if view.several:
        return Subject(what, builders, metadata, main, ON_REQUEST)
    texts = dict(_TEXTS)
    texts[PAGE], texts[LATEX] = partial(_page, report, label), partial(_latex, report)
    return Subject(what, builders, metadata, main, ON_REQUEST, texts)


def of_scan(reports: Mapping[str, Report], setting: str, numbers: Sequence[str]) -> Subject:
    """Return the scan of a setting over many reports.

    Args:
        reports: By what messages call them.
        setting: What they differ in.
        numbers: Names of the numbers that are shown.

    Raises:
        UsageError: If a report does not have them.
    """
    places = [find_setting(report, setting, label) for label, report in reports.items()]
    units = {place.unit for place in places}
    if len(units) > 1:
        raise UsageError(f"--x {setting!r}: the reports record it in different units: {', '.join(sorted(units))}")
    values = {place.value for place in places}
    if len(values) == 1:
        raise UsageError(f"--x {setting!r}: it is {values.pop()} in all reports that are named, so that nothing varies")
    of_reports = {name: [number_of(report, name, label) for label, report in reports.items()] for name in numbers}
    unit = f" [{places[0].unit}]" if places[0].unit else ""
    builder = partial(scan, f"{setting}{unit}", [place.value for place in places], of_reports)
    events = sum(report.events for report in reports.values())
    made_by = next(iter(reports.values())).context.provenance
    return Subject("scan of reports", {"scan": builder}, _metadata(f"{events} events", made_by), ("scan",))


def of_trainings(documents: Mapping[str, Mapping[str, Any] | Sequence[Mapping[str, Any]]], version: str) -> Subject:
    """Return what can be drawn of trainings.

    Args:
        documents: The document in the header of a model, or the epochs of a training, by what legends call them.
        version: Of this program.

    Raises:
        ArtefactError: If something is missing that every model records.
    """
    records: dict[str, Training] = {}
    made_by: Mapping[str, Any] = {"calomlp": version}
    for label, document in documents.items():
        if not isinstance(document, Mapping):
            records[label] = Training.of_epochs(document)
            continue
        try:
            records[label] = Training.of_model(document)
            made_by = document["provenance"]
        except (LookupError, TypeError) as error:
            raise ArtefactError(f"{label}: this model is damaged: no {error}") from error
    builders: dict[str, Callable[[], Chart]] = {"training": partial(training, records)}
    if len(records) > 1:
        metadata = _metadata(f"{len(records)} trainings", {"calomlp": version})
        return Subject("comparison of trainings", builders, metadata, ("training",))
    (record,) = records.values()
    builders["learning-curve"] = partial(learning_curve, record)
    return Subject("model", builders, _metadata(f"{record.events} training events", made_by), ("training",))


def of_search(record: Mapping[str, Any], version: str) -> Subject:
    """Return what can be drawn of the record of a search for a learning rate."""
    metadata = _metadata("search for a learning rate", {"calomlp": version})
    return Subject("search for a learning rate", {"rates": partial(rates, record)}, metadata, ("rates",))


def of_showers(
    profiles: Callable[[], ShowerProfiles],
    shower: Callable[[], ShowerEvent],
    version: str,
    *,
    hit_kinds: bool,
) -> Subject:
    """Return what can be drawn of a data set.

    Args:
        profiles: Reads its mean showers, once.
        shower: Reads one of its events.
        version: Of this program.
        hit_kinds: Whether it has hits.
    """
    builders: dict[str, Callable[[], Chart]] = {
        name: partial(_of_profiles, builder, profiles) for name, builder in SHOWER_CHARTS.items()
    }
    builders |= {"event": lambda: event(shower())}
    on_request = () if hit_kinds else OF_HITS
    return Subject(
        "data set", builders, _metadata("data set", {"calomlp": version}), ("longitudinal", "radial"), on_request
    )


def _page(report: Report, label: str, charts: Sequence[Chart], style: Style) -> str:
    from calomlp.plotting.render import to_html  # noqa: PLC0415 - figures in a terminal do without
    from calomlp.plotting.save import picture  # noqa: PLC0415

    return to_html(report, label, [picture(chart, style) for chart in charts])


def _latex(report: Report, _charts: Sequence[Chart], _style: Style) -> str:
    from calomlp.plotting.render import to_latex  # noqa: PLC0415 - figures in a terminal do without

    return to_latex(report)


def _of_profiles(builder: Callable[[ShowerProfiles], Chart], profiles: Callable[[], ShowerProfiles]) -> Chart:
    return builder(profiles())


def _metadata(subject: str, made_by: Mapping[str, Any]) -> dict[str, str]:
    """Return what a file says of its figures: what they are of, the command that made that, and its version."""
    command = shlex.join(made_by.get("command") or ())
    return {"Subject": f"{subject}: {command}" if command else subject, "Software": f"calomlp {made_by.get('calomlp')}"}
