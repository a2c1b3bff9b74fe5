"""`calomlp evaluate` at a shell: what it takes, what it makes, and how it ends."""

from __future__ import annotations

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import uproot

from calomlp.cli import run
from calomlp.errors import ExitCode
from tests.conftest import Run, linear_showers
from tests.processes import ends, srun


@pytest.fixture
def clusters(tmp_path: Path) -> list[str]:
    """Two files with the energies of another reconstruction."""
    names = []
    for seed in (1, 2):
        showers = linear_showers(4000, seed=seed)
        columns = {
            "E": showers["true_energy"],
            "cluster": showers["layer_energy"].sum(axis=1),
            "run": np.arange(4000) % 3,
        }
        names.append(f"run{seed}.root")
        with uproot.recreate(tmp_path / names[-1]) as file:
            file.mktree("events", columns)
    return names


ESTIMATE = ("evaluate", "--estimate", "cluster", "-t", "E")


def test_an_estimate_needs_no_model(calomlp: Run, clusters: list[str], tmp_path: Path) -> None:
    done = calomlp(*ESTIMATE, *clusters, "--by", "run", "--compare", "calibrated=1.01*cluster", "-o", "r.json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["events"] == 8000
    assert record["curves"]["estimate"]["stochastic"][0] == pytest.approx(0.1, abs=0.01)
    assert record["ratios"]["calibrated"][0] == pytest.approx(1, abs=1e-3)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["context"]["envelope"] is None
    assert [item["by"] for item in report["dependences"]] == ["run", "run"]
    drawn = calomlp("plot", "r.json", "-o", "figures/", "--format", "png")
    assert drawn.returncode == 0, drawn.stderr
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        f"{kind}.png" for kind in ("dependence", "energy", "linearity", "resolution", "response", "tails")
    ]
    told = calomlp("inspect", "r.json")
    assert told.returncode == 0, told.stderr


def test_parts_are_merged_in_a_pipe(calomlp: Run, clusters: list[str], tmp_path: Path) -> None:
    records = b"".join(calomlp(*ESTIMATE, name, "-o", f"{name}.json").stdout for name in clusters)
    done = calomlp("evaluate", "--merge", "-", "-o", "all.json", input=records)
    assert done.returncode == 0, done.stderr
    whole = calomlp(*ESTIMATE, *clusters, "-o", "whole.json")
    assert json.loads(done.stdout)["curves"] == json.loads(whole.stdout)["curves"]
    again = calomlp("evaluate", "--merge", "all.json", "whole.json", "-o", "twice.json")
    assert again.returncode == ExitCode.ARTEFACT
    assert b"run1.root is in two of the reports" in again.stderr
    assert not (tmp_path / "twice.json").exists()


def test_a_gate_that_is_not_met_ends_with_six_and_leaves_the_report(
    calomlp: Run, clusters: list[str], tmp_path: Path
) -> None:
    gates = ("--require", "resolution[10] < 0.01", "--require", "abs(bias) < 0.05", "--require", "events > 1e9")
    done = calomlp(*ESTIMATE, *clusters, *gates, "-o", "r.json")
    assert done.returncode == 6
    (line,) = done.stderr.decode().splitlines()
    assert "not met: resolution[10] < 0.01 (resolution[" in line
    assert "not met: events > 1e9 (events[" in line
    assert "bias" not in line
    assert (tmp_path / "r.json").exists()
    met = calomlp(*ESTIMATE, *clusters, "--require", "resolution[10] < 0.05", "-o", "s.json")
    assert met.returncode == 0


def test_a_gate_on_a_bin_that_is_not_there_says_which_are(calomlp: Run, tmp_path: Path) -> None:
    showers = linear_showers(3000)
    beams = np.array([5, 10, 20], np.float32)[np.arange(3000) % 3]
    with uproot.recreate(tmp_path / "beam.root") as file:
        file.mktree("events", {"E": beams, "cluster": showers["layer_energy"].sum(axis=1)})
    done = calomlp(*ESTIMATE, "beam.root", "--require", "resolution[12] < 1", "-o", "r.json")
    assert done.returncode == ExitCode.USAGE
    (line,) = (line for line in done.stderr.decode().splitlines() if "error" in line)
    assert "--require 'resolution[12] < 1': there is no bin at 12 GeV, there are 5, 10, 20 GeV" in line
    assert (tmp_path / "r.json").exists()


def test_a_report_is_no_model_and_no_data(calomlp: Run, clusters: list[str]) -> None:
    assert calomlp(*ESTIMATE, clusters[0], "-o", "r.json").returncode == 0
    for arguments in (("r.json",), (*ESTIMATE[1:], "r.json"), ("m.safetensors", "part-*.json")):
        done = calomlp("evaluate", *arguments, "-o", "s.json")
        assert done.returncode == ExitCode.USAGE
        (line,) = done.stderr.decode().splitlines()
        assert f"{arguments[-1]} is a report: see it with calomlp inspect, draw it with calomlp plot" in line
    piped = calomlp("evaluate", "-", input=calomlp(*ESTIMATE, clusters[0]).stdout)
    assert b"<stdin> is a report" in piped.stderr


@pytest.mark.filterwarnings("ignore:jsonschema.*is deprecated:DeprecationWarning")  # in hepdata_lib
def test_every_form(calomlp: Run, clusters: list[str], tmp_path: Path) -> None:
    page = calomlp(*ESTIMATE, *clusters, "--format", "md").stdout.decode()
    assert page.startswith("# Energy resolution of ‘cluster’")
    text = calomlp(*ESTIMATE, *clusters, "--format", "tsv").stdout.decode()
    rows = [row for row in csv.DictReader(text.splitlines(), delimiter="\t") if row["line"] == "bin"]
    assert all(row["curve"] == "estimate" for row in rows)
    inner = [float(row["resolution"]) * float(row["energy"]) ** 0.5 for row in rows[1:-1]]
    assert inner == pytest.approx([0.1] * len(inner), rel=0.2)
    more = ("--by", "run", "--compare", "other=1.01*cluster")
    made = calomlp(*ESTIMATE, *clusters, *more, "-o", "hepdata.tar.gz")
    assert made.returncode == 0, made.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the validator itself is made
        validator = pytest.importorskip("hepdata_validator.full_submission_validator").FullSubmissionValidator()
        assert validator.validate(archive=str(tmp_path / "hepdata.tar.gz")), validator.get_messages()
    first = (tmp_path / "hepdata.tar.gz").read_bytes()
    assert json.loads(made.stdout)["path"] == "hepdata.tar.gz"
    assert calomlp(*ESTIMATE, *clusters, *more, "-o", "hepdata.tar.gz", "--force").returncode == 0
    assert (tmp_path / "hepdata.tar.gz").read_bytes() == first


def test_the_name_of_the_output_chooses_the_form(calomlp: Run, clusters: list[str], tmp_path: Path) -> None:
    for name, begin in (("r.md", "# Energy"), ("r.tsv", "line\tcurve"), ("r.json", "{"), ("r.txt", "{")):
        assert calomlp(*ESTIMATE, clusters[0], "-o", name).returncode == 0
        assert (tmp_path / name).read_text().startswith(begin)
    assert calomlp(*ESTIMATE, clusters[0], "-o", "s.txt", "--format", "md").returncode == 0
    assert (tmp_path / "s.txt").read_text().startswith("# Energy")


def test_energies_of_events_are_an_artefact_too(calomlp: Run, clusters: list[str], tmp_path: Path) -> None:
    (tmp_path / "p.root").write_bytes(b"precious")
    done = calomlp(*ESTIMATE, *clusters, "--predictions", "p.root", "-o", "r.json")
    assert done.returncode == ExitCode.USAGE
    assert (tmp_path / "p.root").read_bytes() == b"precious"
    assert calomlp(*ESTIMATE, *clusters, "--predictions", "p.root", "-o", "r.json", "--force").returncode == 0
    with uproot.open(tmp_path / "p.root") as file:
        assert file["events"].num_entries == 8000


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--merge",), "no report was named"),
        (("--merge", "run1.root", "--by", "run"), "--by needs the events, and --merge has only the reports"),
        (("--merge", "run1.root", "--bins", "log"), "--bins needs the events"),
        (("--merge", "run1.root", "--cut", "run > 0"), "--cut needs the events"),
        (("--merge", "run1.root", "--on-bad-file", "skip"), "--on-bad-file needs the events"),
        (("--merge", "run1.root", "run1.root"), "run1.root is named twice"),
        ((*ESTIMATE[1:], "run1.root", "--format", "md"), "r.json is the name of a report as json, but --format is md"),
        ((*ESTIMATE[1:],), "no data were named"),
        ((*ESTIMATE[1:], "run1.root", "--importance"), "--importance shuffles the features of a model"),
        (("--sigma", "s", "m.safetensors"), "no such file"),
        ((*ESTIMATE[1:], "run1.root", "--bins", "5,3"), "edges are energies in ascending order"),
        ((*ESTIMATE[1:], "run1.root", "--bins", "wide"), "legal are auto, points, log, quantiles:20"),
        (
            (*ESTIMATE[1:], "run1.root", "--bins", "points"),
            "events are a spectrum, and no beam energies: leave it out, or say --bins log",
        ),
        ((*ESTIMATE[1:], "run1.root", "--core-sigmas", "9"), "the core reaches from 1 to 5 of its sigma"),
        ((*ESTIMATE[1:], "run1.root", "--noise", "-1"), "a noise term is not negative"),
        ((*ESTIMATE[1:], "run1.root", "--by", "cluster:1"), "a number of slices from 2 to 100"),
        ((*ESTIMATE[1:], "run1.root", "--require", "goodness > 1"), "no number 'goodness'"),
        ((*ESTIMATE[1:], "nosuch.root", "--require", "sum.bias < 1"), "no curve 'sum': legal: estimate"),
        (
            (*ESTIMATE[1:], "run1.root", "--require", "resolution[10] < 6%"),
            '"resolution[10] < 6%" cannot be parsed: invalid syntax',
        ),
        (
            (*ESTIMATE[1:], "run1.root", "--on-bad-file", "skip", "--predictions", "p.root"),
            "--predictions takes all files",
        ),
        ((*ESTIMATE[1:], "run1.root", "--compare", "estimate=cluster"), "two curves are called 'estimate'"),
        ((*ESTIMATE[1:], "run1.root", "--compare", "nosuch.safetensors"), "cannot open this model"),
        ((*ESTIMATE[1:], "run1.root", "--compare", "clster"), "clster"),
    ],
)
def test_what_makes_no_sense_is_one_line(
    clusters: list[str],
    arguments: tuple[str, ...],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert clusters
    monkeypatch.chdir(tmp_path)
    code = run(["evaluate", *arguments, "-o", "r.json"])
    assert code in (ExitCode.USAGE, ExitCode.INPUT, ExitCode.ARTEFACT)
    (line,) = capfd.readouterr().err.splitlines()
    assert why in line
    assert not (tmp_path / "r.json").exists()


@pytest.mark.landing
def test_two_processes_make_the_report_of_one(calomlp: Run, clusters: list[str], tmp_path: Path) -> None:
    command = (*ESTIMATE, *clusters, "--by", "run", "--worst", "4", "-o")
    assert calomlp(*command, "one.json").returncode == 0
    (first, second) = ends(srun(tmp_path, 2, *command, "two.json"))
    assert first[0] == second[0] == 0
    assert not second[1]
    one, two = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("one", "two"))
    for name in ("curves", "dependences", "notes", "bins"):
        assert json.dumps(one[name]) == json.dumps(two[name])
    assert one["statistics"]["worst"] == two["statistics"]["worst"]


@pytest.mark.parametrize("output", [("-o", "run1.root"), ("-o", "a.json", "--predictions", "run2.root")])
def test_what_is_read_is_never_written(
    calomlp: Run, clusters: list[str], tmp_path: Path, output: tuple[str, ...]
) -> None:
    before = {name: (tmp_path / name).read_bytes() for name in clusters}
    done = calomlp(*ESTIMATE, *clusters, *output, "--force")
    assert done.returncode == ExitCode.USAGE
    assert b"this command reads this file too: choose another name for the output" in done.stderr
    assert {name: (tmp_path / name).read_bytes() for name in clusters} == before


def test_one_name_is_not_for_two_outputs(calomlp: Run, clusters: list[str]) -> None:
    done = calomlp(*ESTIMATE, *clusters, "-o", "a.json", "--predictions", "./a.json", "--force")
    assert done.returncode == ExitCode.USAGE
    assert b"this command writes this file too" in done.stderr
