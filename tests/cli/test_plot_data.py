"""Figures of data sets and published curves, from the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.conftest import Run
from tests.plotting.conftest import make_report
from tests.plotting.toy_showers import toy_showers, write_showers

KINDS = ["longitudinal", "radial", "event"]
MAGIC = {"pdf": b"%PDF", "png": b"\x89PNG", "svg": b"<?xml"}


@pytest.fixture(scope="module")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A data set and a report."""
    showers = write_showers(tmp_path_factory.mktemp("plot") / "showers.root", toy_showers([2, 10, 50], 60))
    report = make_report(per_bin=400, n_bins=6).to_json()
    return {"showers.root": showers.read_bytes(), "report.json": report.encode()}


@pytest.fixture
def showers(tmp_path: Path, artefacts: dict[str, bytes]) -> Path:
    return written(tmp_path / "showers.root", artefacts)


@pytest.fixture
def report(tmp_path: Path, artefacts: dict[str, bytes]) -> Path:
    return written(tmp_path / "report.json", artefacts)


def written(path: Path, artefacts: dict[str, bytes]) -> Path:
    path.write_bytes(artefacts[path.name])
    return path


@pytest.mark.parametrize(("file_format", "chosen"), [("pdf", KINDS), ("png", ["event"]), ("svg", ["radial"])])
def test_a_data_set_has_all_its_figures_in_a_folder(
    calomlp: Run, tmp_path: Path, showers: Path, file_format: str, chosen: list[str]
) -> None:
    flags = [] if chosen == KINDS else ["--kind", *chosen]
    done = calomlp("plot", showers, "-o", "figures/", "--format", file_format, *flags)
    assert done.returncode == 0, done.stderr
    files = [f"figures/{kind}.{file_format}" for kind in chosen]
    assert json.loads(done.stdout)["files"] == files
    for file in files:
        assert (tmp_path / file).read_bytes().startswith(MAGIC[file_format])


def test_bytes_and_records_arrive_through_a_pipe(calomlp: Run, tmp_path: Path, showers: Path) -> None:
    record = {"schema": "calomlp.record/1", "action": "simulate", "status": "done", "path": str(showers)}
    for arriving in (showers.read_bytes(), json.dumps(record).encode()):
        done = calomlp("plot", "-", "-k", "longitudinal", "-k", "radial", input=arriving)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(b"%PDF")
        assert b"/Count 2" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["showers.root"]


def test_without_hits_there_is_no_containment_unless_it_is_asked_for(calomlp: Run, tmp_path: Path) -> None:
    columns = {name: values for name, values in toy_showers([10], 20).items() if not name.startswith("hit_")}
    for i in range(2):
        write_showers(tmp_path / f"s{i}.root", columns)
    done = calomlp("plot", "s*.root", "-o", "out.png")
    assert done.returncode == 0, done.stderr
    assert b"calomlp plot: no hits" in done.stderr
    assert (tmp_path / "out.png").exists()
    done = calomlp("plot", "s*.root", "-o", "radial.png", "-k", "radial")
    assert done.returncode == 3
    assert b"s0.root:events: branch 'hit_energy' is not there" in done.stderr
    assert not (tmp_path / "radial.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("showers.root -k resolution", "figure of a data set 'resolution' is unknown: legal: longitudinal, radial"),
        ("report.json -k radial", "figure of a report 'radial' is unknown: legal: resolution, "),
        ("report.json showers.root", "report.json: not a ROOT file"),
        (
            "showers.root --reference A=1,2,3",
            "--reference is for a report or a comparison of reports, and this is a data set",
        ),
        ("report.json --reference A=1,2", "reference 'A=1,2' is not of the form LABEL=a,n,c"),
        ("report.json --label sums=Sum", "--label 'sums=Sum': no curve 'sums': did you mean 'sum'?"),
        ("report.json --label sum", "--label 'sum' is not of the form NAME=LABEL"),
        ("showers.root --label sum=Sum", "--label is for a report or a comparison of reports"),
        ("report.json --event 3", "--event is for a data set, and this is a report"),
        ("report.json --curve sum", "--curve is for a comparison of reports, and this is a report"),
        ("report.json --y bias", "--y is for a scan of reports, and this is a report"),
        ("report.json -k scan", "--kind scan needs --x"),
        ("report.json --dpi 5", "--dpi 5: legal are 50 to 1200"),
        (f"report.json --experiment {41 * 'x'}", "--experiment: 41 characters, legal are up to 40"),
        ("report.json --label sum=A --label anchor=A", "'A' is the label of another one already"),
        ("report.json -k scan --x hiden", "--x 'hiden': report: records no setting of this name"),
        ("report.json --style cns", "'cns' is not one of 'calomlp', 'cms'"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(
    calomlp: Run, tmp_path: Path, showers: Path, report: Path, arguments: str, message: str
) -> None:
    done = calomlp("plot", *arguments.split(), "-o", "out/")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr.decode()
    assert {path.name for path in tmp_path.iterdir()} == {showers.name, report.name}


def test_what_is_drawn_is_never_written_over(calomlp: Run, tmp_path: Path, report: Path) -> None:
    (tmp_path / "linearity.pdf").write_bytes(report.read_bytes())
    done = calomlp("plot", "linearity.pdf", "-o", "./", "--force")
    assert done.returncode == 2
    assert b"linearity.pdf: this command reads this file too: choose another name for the output" in done.stderr
    assert (tmp_path / "linearity.pdf").read_bytes() == report.read_bytes()


def test_curves_are_called_what_the_user_calls_them(calomlp: Run, tmp_path: Path, report: Path) -> None:
    for folder, labels in (("with", ["--label", "sum=All layers"]), ("without", [])):
        done = calomlp("plot", report, "-k", "linearity", *labels, "-o", f"{folder}/", "--format", "svg")
        assert done.returncode == 0, done.stderr
    written = [(tmp_path / folder / "linearity.svg").read_text() for folder in ("with", "without")]
    # what is drawn as paths is named in the comments beside them
    assert ["<!-- All layers -->" in text for text in written] == [True, False]
    assert ["<!-- calibrated sum -->" in text for text in written] == [False, True]


def test_published_curves_are_drawn_into_the_resolution(calomlp: Run, tmp_path: Path, report: Path) -> None:
    references = ["--reference", "CALICE SiW ECAL=16.6,0,1.1", "--reference", "CMS ECAL=2.8,0.12,0.3"]
    for folder, more in (("with", references), ("without", [])):
        done = calomlp(
            *("plot", report, "-k", "resolution", "-k", "linearity", *more, "-o", f"{folder}/", "--format", "svg")
        )
        assert done.returncode == 0, done.stderr
    for kind, same in (("resolution", False), ("linearity", True)):
        files = [(tmp_path / folder / f"{kind}.svg").read_bytes() for folder in ("with", "without")]
        assert (files[0] == files[1]) == same


def test_a_report_becomes_a_page_and_a_data_set_does_not(
    calomlp: Run, report: Path, pions: Path, tmp_path: Path
) -> None:
    done = calomlp("plot", report, "-k", "linearity", "-o", "report.html")
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<figure>") == 1
    refused = calomlp("plot", pions, "-o", "showers.html")
    assert refused.returncode == 2
    assert b"a page is made of one report, and this is a data set" in refused.stderr


def test_numbers_are_written_beside_figures_or_alone(calomlp: Run, tmp_path: Path, report: Path) -> None:
    done = calomlp("plot", report, "-k", "linearity", "--dump-data", "-o", "figures/")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"] == ["figures/linearity.pdf", "figures/linearity.tsv"]
    alone = calomlp("plot", report, "-k", "linearity", "-o", "numbers.tsv")
    assert alone.returncode == 0, alone.stderr
    piped = calomlp("plot", report, "-k", "linearity", "--dump-data")
    tables = [(tmp_path / name).read_bytes() for name in ("figures/linearity.tsv", "numbers.tsv")]
    assert tables[0] == tables[1] == piped.stdout
    assert tables[0].startswith(b"# linearity: ")


def test_captions_are_written_beside_figures_or_alone(calomlp: Run, tmp_path: Path, report: Path) -> None:
    done = calomlp("plot", report, "-k", "linearity", "-k", "resolution", "--caption", "-o", "figures/")
    assert done.returncode == 0, done.stderr
    files = ["figures/linearity.pdf", "figures/linearity.txt", "figures/resolution.pdf", "figures/resolution.txt"]
    assert json.loads(done.stdout)["files"] == files
    alone = calomlp("plot", report, "-k", "linearity", "-k", "resolution", "-o", "both.txt")
    assert alone.returncode == 0, alone.stderr
    paragraphs = (tmp_path / "both.txt").read_text().split("\n\n")
    assert [text.strip() for text in paragraphs] == [(tmp_path / file).read_text().strip() for file in files[1::2]]
    assert "MLP regressor: mean response" in paragraphs[0]


def test_a_report_becomes_tables_in_latex(calomlp: Run, tmp_path: Path, report: Path, showers: Path) -> None:
    done = calomlp("plot", report, "-o", "tables.tex")
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "tables.tex").read_text()
    assert written.count("\\begin{tabular}") == written.count("\\end{tabular}") > 3
    refused = calomlp("plot", showers, "-o", "tables.tex", "--force")
    assert refused.returncode == 2
    assert b"tables in LaTeX are made of one report, and this is a data set" in refused.stderr


def test_trainings_of_models_and_of_files_of_epochs_are_drawn_together(
    calomlp: Run, tmp_path: Path, pions: Path, report: Path
) -> None:
    made = calomlp("train", pions, "--epochs", "3", "--history", "epochs.jsonl", "-o", "m.safetensors")
    assert made.returncode == 0, made.stderr
    done = calomlp("plot", "m.safetensors", "epochs.jsonl", "--label", "epochs=of a file", "-o", "both.tsv")
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in (tmp_path / "both.tsv").read_text().splitlines()]
    curves = {
        label: [row[3:] for row in rows if row[2:3] == [f"{label}, training side"]] for label in ("m", "of a file")
    }
    assert len(curves["m"]) == 3
    assert curves["m"] == curves["of a file"]
    alone = calomlp("plot", "epochs.jsonl", "-k", "training", "-o", "one.svg")
    assert alone.returncode == 0, alone.stderr
    refused = calomlp("plot", "m.safetensors", report, "-o", "none.pdf")
    assert refused.returncode == 2
    assert b"neither a model nor a file of --history, and the others are trainings" in refused.stderr
    (tmp_path / "epochs.jsonl").write_text('{"epoch": 1, "train_loss": 1.0}\nnone\n')
    damaged = calomlp("plot", "epochs.jsonl", "-o", "none.pdf")
    assert damaged.returncode == 4
    assert b"a line of these epochs is damaged" in damaged.stderr


def test_several_reports_are_compared_by_the_names_of_their_files(calomlp: Run, tmp_path: Path, report: Path) -> None:
    (tmp_path / "other.json").write_bytes(report.read_bytes())
    done = calomlp("plot", report, "other.json", "--label", "other=second", "-k", "resolution", "-o", "both.tsv")
    assert done.returncode == 0, done.stderr
    curves = {line.split("\t")[2] for line in (tmp_path / "both.tsv").read_text().splitlines()[2:]}
    assert {"report", "second"} <= curves
    page = calomlp("plot", report, "other.json", "-o", "both.html")
    assert page.returncode == 2
    assert b"a page is made of one report, and this is a comparison of reports" in page.stderr


@pytest.mark.parametrize("style", ["cms", "lhcb2"])
def test_styles_and_sizes_change_the_figure(calomlp: Run, tmp_path: Path, report: Path, style: str) -> None:
    done = calomlp(
        *("plot", report, "-k", "linearity", "--style", style, "--size", "slide", "--experiment", "CALICE Preliminary"),
        *("-o", "slide.svg"),
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', (tmp_path / "slide.svg").read_text())
    assert found
    assert float(found[1]) / float(found[2]) == pytest.approx(16 / 9, rel=0.01)


def test_a_search_for_a_learning_rate_is_drawn_from_a_pipe(calomlp: Run, tmp_path: Path) -> None:
    record = {
        "schema": "calomlp.record/1",
        "action": "train",
        "status": "done",
        "artefact": "learning-rate",
        "path": "",
        "rates": [1e-5, 1e-3, 1e-1],
        "losses": [1.0, 0.5, 2.0],
        "suggestion": 0.01,
        "automatic": 0.002,
    }
    done = calomlp("plot", "-", "-o", "rates.tsv", input=json.dumps(record).encode())
    assert done.returncode == 0, done.stderr
    assert "suggested: 0.01" in (tmp_path / "rates.tsv").read_text()


@pytest.mark.parametrize(("event", "code"), [("0", 0), ("59", 0), ("60", 2), ("-1", 2)])
def test_an_event_is_drawn_if_it_is_there(calomlp: Run, showers: Path, event: str, code: int) -> None:
    done = calomlp("plot", showers, "-k", "event", "--event", event, "-o", "event.png")
    assert done.returncode == code, done.stderr
    if code:
        assert b"is not there: there are 60 events, counted from 0" in done.stderr


@pytest.mark.parametrize("flag", ["--label", "--experiment", "--reference"])
def test_mathematics_that_cannot_be_set_is_refused(calomlp: Run, report: Path, flag: str) -> None:
    value = {"--label": r"sum=$\foo$", "--experiment": r"$\foo$", "--reference": r"$\foo$=1,2,3"}[flag]
    done = calomlp("plot", report, "-k", "resolution", flag, value, "-o", "out.svg")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "mathematics between dollar signs that cannot be set" in done.stderr.decode()
    good = calomlp("plot", report, "-k", "resolution", flag, value.replace("foo", "pi^-"), "-o", "out.svg")
    assert good.returncode == 0, good.stderr


def test_names_of_files_are_no_mathematics(calomlp: Run, tmp_path: Path, report: Path) -> None:
    (tmp_path / r"a$\b$.json").write_bytes(report.read_bytes())
    done = calomlp("plot", r"a$\b$.json", report, "-k", "linearity", "-o", "out.png")
    assert done.returncode == 0, done.stderr
