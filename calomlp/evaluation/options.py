"""Options of an evaluation; importing them needs no library."""

from __future__ import annotations

from dataclasses import dataclass

from calomlp.data.flags import DATA, ON_BAD, DataSettings
from calomlp.errors import UsageError
from calomlp.settings import setting


@dataclass(frozen=True)
class Width:
    """A width and the location that it is relative to."""

    width: str  # name of the estimator of the width
    location: str  # name of that of the location
    label: str  # what tables and figures call the pair
    symbol: str  # of the width
    centre: str  # of the location


WIDTHS = {
    "core": Width("core_sigma", "core_mean", "Gaussian core", "σ", "μ"),
    "rms": Width("rms", "mean", "RMS and mean", "RMS", "mean"),
    "rms90": Width("rms90", "mean90", "RMS90 and mean90", "RMS90", "mean90"),
    "sigma_68": Width("sigma_68", "median", "median and 15.87 to 84.13 % quantiles", "σ68", "median"),
    "sigma_eff": Width("sigma_eff", "median", "median and shortest interval with 68.27 %", "σeff", "median"),
    "mad": Width("mad", "median", "median and 1.4826 MAD", "MAD", "median"),
    "fwhm": Width("fwhm", "mode", "mode and FWHM/2.355", "FWHM/2.355", "mode"),
    "crystal_ball": Width("crystal_ball_sigma", "crystal_ball_mean", "Crystal Ball", "σ", "μ"),
}
"""What a resolution can be measured by."""

MEAN, TRUTH = RELATIVE_TO = ("mean", "truth")
"""A resolution is a width over the mean (location) of the measured energy, or over the true one."""

QUADRATURE, LINEAR = SUMS = ("quadrature", "linear")
"""How the terms of the resolution are added up; some papers on hadrons add them linearly."""

TRAINING, SIMULATION = "training", "simulation"
"""Where the settings of a report come from."""


@dataclass(frozen=True)
class Options:
    """Options of the numbers that are derived from histograms.

    Attributes:
        width: One of :data:`WIDTHS`: what ``resolution`` and ``bias`` stand for in fits, ratios and tables.
        core_sigmas: Half width of the window of the Gaussian core, in its sigma.
        relative_to: One of :data:`RELATIVE_TO`.
        sum: How the terms of the resolution are added up, one of :data:`SUMS`.
        noise: The noise term [GeV], where it is known from elsewhere and not fitted.
        edges: Whether bins at an edge of the training range are fitted too.
        seed: Of the bootstrap.
    """

    width: str = "core"
    core_sigmas: float = 2.0
    relative_to: str = MEAN
    sum: str = QUADRATURE
    noise: float | None = None
    edges: bool = False
    seed: int = 1


CURVES, NUMBERS, DETAILS = "What is evaluated", "How numbers are derived", "What else is looked at"

AUTO, JSON, MARKDOWN, TSV, HEPDATA = FORMATS = ("auto", "json", "md", "tsv", "hepdata")
"""Forms of a report."""


@dataclass(frozen=True, kw_only=True)
class _EvaluateSettings:
    model: str = setting("", "Model file, or - for a pipe; none with --estimate.", positional=True, metavar="MODEL")
    data: tuple[str, ...] = setting(
        (),
        "ROOT files: paths, quoted patterns, file.root:tree, 10GeV=file.root, @list.txt, URLs, or - for a pipe.",
        positional=True,
        metavar="FILE...",
    )
    output: str = setting("-", "Report; - is standard output, a table on a terminal.", "-o", metavar="FILE")
    format: str = setting(
        AUTO,
        "Form of the report: json, which plot and --merge read, a page in Markdown, tab-separated values, or tables "
        "for HEPData; auto is that of the name of the output, .json, .md, .tsv, .tar.gz, and json if it says nothing.",
        choices=FORMATS,
    )
    merge: bool = setting(False, "The files are reports on different events: add them up.")
    require: tuple[str, ...] = setting(
        (),
        "Condition on the report, such as 'resolution[10] < 0.06' or 'abs(bias) < 0.01'; if not, the report is written "
        "and the exit code is 6. Repeatable.",
        metavar="EXPR",
    )
    target: str | None = setting(
        None,
        "True energy in these files: a branch or an expression. Default: as in training, or true_energy.",
        "-t",
        panel=DATA,
        metavar="EXPR",
    )
    cut: str | None = setting(
        None,
        "Use only events that meet this condition; '' for all. Default: as in training.",
        panel=DATA,
        metavar="EXPR",
    )
    on_bad: str = setting(
        "as-trained",
        "A value that is missing or not finite: stop, leave the event out, or take zero; what is left out is counted.",
        choices=("as-trained", *ON_BAD),
        panel=DATA,
    )
    all: bool = setting(False, "Use all events of files that the model was trained on, not only their test side.")
    seed: int = setting(1, "Seed of the bootstrap errors.")
    estimate: str | None = setting(
        None,
        "Energies that somebody else has measured [GeV]: a branch or an expression.",
        panel=CURVES,
        metavar="NAME=X",
    )
    sigma: str | None = setting(
        None, "Uncertainties [GeV] of --estimate: a branch or an expression.", panel=CURVES, metavar="EXPR"
    )
    compare: tuple[str, ...] = setting(
        (),
        "What to compare with: another model, or an expression, such as tracker=track_p. Repeatable. The name 'oracle' "
        "is for one that knows the truth.",
        panel=CURVES,
        metavar="NAME=X",
    )
    bins: str = setting(
        "auto",
        "Bins of the true energy: auto, points, log, quantiles:20, or edges in GeV such as 1,2,5,10.",
        panel=NUMBERS,
        metavar="BINS",
    )
    width: str = setting("core", "Which width and location are the resolution.", choices=tuple(WIDTHS), panel=NUMBERS)
    core_sigmas: float = setting(2.0, "Half width of the Gaussian core in its sigma, from 1 to 5.", panel=NUMBERS)
    relative_to: str = setting(
        "mean",
        "What the width is divided by: the measured mean, or the true energy.",
        choices=RELATIVE_TO,
        panel=NUMBERS,
    )
    fit_sum: str = setting(QUADRATURE, "How the terms of the resolution add up.", choices=SUMS, panel=NUMBERS)
    noise: float | None = setting(
        None, "The noise term [GeV], known from pedestals; it is not fitted then.", panel=NUMBERS
    )
    fit_edges: bool = setting(
        False, "Fit bins at the edges of the training range too, where a regression is biased.", panel=NUMBERS
    )
    by: tuple[str, ...] = setting(
        (),
        "Response by another quantity, with a test of its trend: pdg_id, shower_start:10 for ten slices, true_x:-5,0,5 "
        "for given edges. Repeatable.",
        panel=DETAILS,
        metavar="EXPR",
    )
    worst: int = setting(0, "List so many events that are furthest off, with file and entry.", panel=DETAILS)
    importance: bool = setting(
        False, "How much worse the energies become when a feature is shuffled among events.", panel=DETAILS
    )
    predictions: str | None = setting(
        None, "Write the energies of all events to this ROOT file too.", panel=DETAILS, metavar="FILE"
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(DataSettings, _EvaluateSettings):
    """Settings of ``calomlp evaluate``."""

    @property
    def options(self) -> Options:
        """Options of the numbers that are derived, as a report records them.

        Raises:
            UsageError: If a number is not legal.
        """
        if not 1 <= self.core_sigmas <= 5:
            raise UsageError(f"--core-sigmas {self.core_sigmas:g}: the core reaches from 1 to 5 of its sigma")
        if self.noise is not None and self.noise < 0:
            raise UsageError(f"--noise {self.noise:g}: a noise term is not negative")
        numbers = (self.width, self.core_sigmas, self.relative_to, self.fit_sum, self.noise, self.fit_edges, self.seed)
        return Options(*numbers)
