from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from calomlp.data.sources import Source, befriend, energies_from_names, resolve
from calomlp.errors import InputError, UsageError
from calomlp.streams import STDIN, Streams


@pytest.fixture
def streams() -> Iterator[Streams]:
    found = Streams(io.BytesIO(), io.BytesIO(), io.BytesIO())
    yield found
    found.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.root", "a.root"):
        (tmp_path / name).touch()
    return tmp_path


def test_paths_keep_their_order_and_repeats_are_dropped(folder: Path, streams: Streams) -> None:
    names = [str(folder / name) for name in ("b.root", "a.root", "b.root")]
    assert [source.path for source in resolve(names, streams)] == names[:2]


def test_a_pattern_is_sorted(folder: Path, streams: Streams) -> None:
    found = resolve([str(folder / "*.root")], streams)
    assert [Path(source.path).name for source in found] == ["a.root", "b.root"]


def test_a_tree_is_named_behind_a_colon_or_for_all(folder: Path, streams: Streams) -> None:
    first, second = resolve([f"{folder}/a.root:dir/hits", str(folder / "b.root")], streams, tree="events")
    assert (first.tree, second.tree) == ("dir/hits", "events")
    assert str(first).endswith("a.root:dir/hits")


def test_a_cycle_is_part_of_the_name_of_a_tree(folder: Path, streams: Streams) -> None:
    (source,) = resolve([f"{folder}/a.root:dir/hits;3"], streams)
    assert source.tree == "dir/hits;3"


def test_a_file_may_have_a_colon_in_its_name(folder: Path, streams: Streams) -> None:
    (folder / "a.root:hits").touch()
    (source,) = resolve([f"{folder}/a.root:hits"], streams)
    assert (source.path, source.tree) == (f"{folder}/a.root:hits", None)


def test_a_list_of_files(folder: Path, streams: Streams) -> None:
    (folder / "list.txt").write_text(f"# a comment\n{folder}/a.root\n\n{folder}/b.root:t\n")
    assert [source.tree for source in resolve([f"@{folder}/list.txt"], streams)] == [None, "t"]


@pytest.mark.parametrize(
    ("name", "path", "tree"),
    [
        ("root://host//store/a.root:events", "root://host//store/a.root", "events"),
        ("root://me@host:1094//store/a.root", "root://me@host:1094//store/a.root", None),
        ("https://host:8443/a.root", "https://host:8443/a.root", None),
        ("https://cern.root:8443/a.h5", "https://cern.root:8443/a.h5", None),
        ("https://host/my%20file.root:dir/hits;2", "https://host/my%20file.root", "dir/hits;2"),
        ("https://host/a.root?token=x/y%3A=", "https://host/a.root?token=x/y%3A=", None),
        ("https://host/a.root?token=x/y:dir/hits", "https://host/a.root?token=x/y", "dir/hits"),
        ("https://host/a.root:hits?token=x/y", "https://host/a.root?token=x/y", "hits"),
        ("https://host/a.root?until=12:30", "https://host/a.root?until=12:30", None),
        ("https://host/get?file=a.root&raw=1:hits", "https://host/get?file=a.root&raw=1", "hits"),
        ("s3://bucket/a.root:hits", "s3://bucket/a.root", "hits"),
        (f"https://host/a.root?token={'x' * 5000}", f"https://host/a.root?token={'x' * 5000}", None),
    ],
)
def test_urls_are_left_to_the_reader(name: str, path: str, tree: str | None, streams: Streams) -> None:
    (source,) = resolve([name], streams)
    assert (source.path, source.tree) == (path, tree)
    assert resolve([name], streams, tree="other")[0].tree == (tree or "other")


def test_an_artefact_from_a_pipe_is_called_so() -> None:
    streams = Streams(io.BytesIO(b"root\0" + bytes(20)), io.BytesIO(), io.BytesIO())
    (source,) = resolve(["-"], streams)
    assert source.label == STDIN
    streams.close()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch.root", "no such file"),
        ("nosuch*.root", "no file matches"),
        (".", "folder"),
        ("@nosuch", "list of files"),
    ],
)
def test_what_is_not_there(name: str, message: str, streams: Streams) -> None:
    with pytest.raises(InputError, match=message):
        resolve([name], streams)


def test_no_name_at_all(streams: Streams) -> None:
    with pytest.raises(InputError, match="no input file"):
        resolve([], streams)


def test_a_list_names_no_lists(folder: Path, streams: Streams) -> None:
    (folder / "list.txt").write_text(f"@{folder}/list.txt\n")
    with pytest.raises(InputError, match="cannot name another list"):
        resolve([f"@{folder}/list.txt"], streams)


def test_a_path_may_begin_as_a_root_file_does() -> None:
    streams = Streams(io.BytesIO(b"root://host//store/a.root\n"), io.BytesIO(), io.BytesIO())
    assert resolve(["-"], streams)[0].path == "root://host//store/a.root"


def test_a_file_may_come_with_its_energy(folder: Path, streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "run_5MeV=x.root").touch()
    names = ["10GeV=a.root", "7.5e-1 TeV=*b.root:hits", "run_5MeV=x.root"]
    found = {source.path: (source.true_energy, source.tree) for source in resolve(names, streams)}
    assert found["a.root"] == (10.0, None)
    assert found["b.root"] == (750.0, "hits")
    assert found["run_5MeV=x.root"] == (None, None)  # a file of that name comes first


@pytest.mark.parametrize(
    ("pattern", "label", "energy"),
    [
        ("_([0-9.]+)GeV", "data/e_10GeV.root", 10.0),
        ("_(?P<GeV>[0-9.]+)GeV", "x/e_2.5GeV_run3.root", 2.5),
        ("([0-9p]+)GeV", "pi_7p5GeV.root", 7.5),
        ("(?P<MeV>[0-9]+)MeV", "e_500MeV.root", 0.5),
        ("([0-9]+)GeV", "scan/80GeV/run1.root", 80.0),
        ("([0-9]+)GeV", "scan/80GeV/run1_20GeV.root", 20.0),
    ],
)
def test_the_energy_in_a_name(pattern: str, label: str, energy: float) -> None:
    (source,) = energies_from_names([Source(label, None, label)], pattern)
    assert source.true_energy == pytest.approx(energy)


def test_an_energy_that_is_known_already_is_kept() -> None:
    known = Source("e_10GeV.root", None, "e_10GeV.root", true_energy=9.8)
    assert energies_from_names([known], "([0-9]+)GeV") == [known]


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("([0-9]+)GeV", InputError, r"^run.root: its name does not match '\(\[0-9\]\+\)GeV'"),
        ("run", UsageError, "has 0 groups: one is wanted"),
        ("(r)(u)n", UsageError, "has 2 groups"),
        ("(r", UsageError, "is not a regular expression"),
        ("(?P<furlong>run)", UsageError, "run furlong|not a finite number"),
        ("(run)", UsageError, "run.root: energy in the name = 'run GeV' is not a finite number"),
    ],
)
def test_patterns_that_give_no_energy(pattern: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        energies_from_names([Source("run.root", None, "run.root")], pattern)


def test_friends(folder: Path, streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    sources = resolve(["a.root", "b.root"], streams)
    inside = befriend(sources, [":truth"], streams)
    assert [str(source.friends[0]) for source in inside] == ["a.root:truth", "b.root:truth"]
    outside = befriend(sources, [":truth", "*.root:mc"], streams)
    assert [len(source.friends) for source in outside] == [2, 2]
    with pytest.raises(UsageError, match=r"friend 'a.root' stands for 1 files, but there are 2 with data"):
        befriend(sources, ["a.root"], streams)


def test_a_file_has_one_energy(folder: Path, streams: Streams, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(UsageError, match=r"a.root: is named with two energies, 10.0 and 20.0 GeV"):
        resolve(["10GeV=a.root", "20GeV=a.root"], streams)
    assert len(resolve(["10GeV=a.root", "10GeV=a.root"], streams)) == 1


def test_a_secret_in_a_url_is_not_repeated(streams: Streams) -> None:
    (source,) = resolve(["https://host/a.root?access_token=xyz"], streams)
    assert (source.path, str(source)) == ("https://host/a.root?access_token=xyz", "https://host/a.root")
    (plain,) = resolve(["https://host/a.root?download=1"], streams)
    assert plain.label == "https://host/a.root?download=1"
