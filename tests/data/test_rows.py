"""Friends, energies of whole files, groups of entries and exploded collections."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calomlp.data.rows import Layout, Rows, open_rows
from calomlp.data.sources import Source
from calomlp.errors import BadValueError, InputError

Make = Callable[..., Source]
pytestmark = pytest.mark.usefixtures("small_chunks")
PLAIN = Layout()


def everything(source: Source, names: list[str], layout: Layout = PLAIN) -> tuple[list[int], dict[str, Any]]:
    """Return entry numbers and columns of all rows, as lists."""
    with open_rows(source, layout) as rows:
        chunks = list(rows.chunks(names))
        assert rows.entries == sum(len(entries) for entries, _ in chunks)
    entries = [int(entry) for part, _ in chunks for entry in part]
    return entries, {name: [row for _, part in chunks for row in ak.to_list(part[name])] for name in names}


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read ten entries at a time."""
    monkeypatch.setattr("calomlp.data.root._CHUNK_BYTES", 1)


def test_a_friend_lends_its_columns(make_root: Make) -> None:
    data = make_root({"e": np.arange(25.0), "run": np.zeros(25)})
    friend = make_root({"truth": 2 * np.arange(25.0), "run": np.ones(25)}, tree="mc/truth", name="friend.root")
    source = replace(data, friends=(replace(friend, tree="mc/truth"),))
    entries, columns = everything(source, ["e", "truth", "run", "truth.run"])
    assert entries == list(range(25))
    assert columns["truth"] == [2 * e for e in columns["e"]]
    assert set(columns["run"]) == {0.0}
    assert set(columns["truth.run"]) == {1.0}  # two branches of one name
    with open_rows(source, PLAIN) as rows, pytest.raises(InputError, match="did you mean 'truth'"):
        rows.require(["trut"])


def test_a_friend_with_other_entries_is_none(make_root: Make) -> None:
    source = replace(make_root({"e": np.ones(3)}), friends=(make_root({"t": np.ones(4)}, name="friend.root"),))
    message = "friend.root:events: has 4 entries and data.root:events 3: these are no friends"
    with pytest.raises(InputError, match=message), open_rows(source, PLAIN):
        pass


def test_the_energy_of_a_file_is_a_column(make_root: Make) -> None:
    source = replace(make_root({"e": np.arange(3.0), "true_energy": np.zeros(3)}), true_energy=7.5)
    assert everything(source, ["true_energy", "e"])[1] == {"true_energy": [7.5] * 3, "e": [0.0, 1.0, 2.0]}
    assert everything(source, ["true_energy"])[1] == {"true_energy": [7.5] * 3}


def test_where_the_energy_might_be_is_said_if_it_is_not_there(make_root: Make) -> None:
    with (
        open_rows(make_root({"e": np.ones(3)}), PLAIN) as rows,
        pytest.raises(InputError, match=r"'true_energy' is not there.*--target-from-name"),
    ):
        rows.require(["true_energy"])


def test_entries_with_the_same_number_are_one_event(make_root: Make) -> None:
    event = np.repeat([4, 5, 9, 2, 7], [3, 17, 1, 24, 5])  # groups end inside chunks, at their ends, and span several
    columns = {"event": event, "edep": np.arange(50.0), "pos": np.arange(100.0).reshape(50, 2)}
    columns["hits"] = ak.Array([[float(i)] * (i % 3) for i in range(50)])
    entries, found = everything(make_root(columns), ["event", "edep", "pos", "hits"], Layout(group_by="event"))
    assert entries == [0, 1, 2, 3, 4]
    assert found["event"] == [4, 5, 9, 2, 7]
    edges = [0, 3, 20, 21, 45, 50]
    for name in ("edep", "pos", "hits"):
        assert found[name] == [ak.to_list(columns[name][a:b]) for a, b in pairwise(edges)]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=12))
def test_no_entry_is_lost_in_groups(counts: list[int], make_root: Make) -> None:
    event = np.repeat(np.arange(len(counts)), counts)
    source = make_root({"event": event, "x": np.arange(len(event))})
    found = everything(source, ["x"], Layout(group_by="event"))[1]
    assert [len(row) for row in found["x"]] == counts
    assert [x for row in found["x"] for x in row] == list(range(len(event)))


def test_entries_that_are_torn_apart_are_refused(make_root: Make) -> None:
    two_runs = make_root({"event": np.tile(np.repeat(np.arange(200), 2), 2)}, name="two-runs.root")
    assert len(everything(two_runs, ["event"], Layout(group_by="event"))[0]) == 400  # which begin to count anew
    threads = make_root({"event": np.random.default_rng(1).permutation(200).repeat(2)}, name="threads.root")
    assert len(everything(threads, ["event"], Layout(group_by="event"))[0]) == 200
    torn = make_root({"event": np.arange(100) % 7}, name="torn.root")
    with pytest.raises(BadValueError, match=r"event goes up and down and comes back to 93 of 100 values"):
        everything(torn, ["event"], Layout(group_by="event"))


def test_friends_whose_entries_have_other_numbers_are_refused(make_root: Make) -> None:
    data = make_root({"id": np.arange(30), "e": np.ones(30)})
    same = make_root({"id": np.arange(30), "truth": np.ones(30)}, name="same.root")
    assert everything(replace(data, friends=(same,)), ["e", "truth"])[1]["truth"] == [1.0] * 30
    other = np.arange(30)
    other[[17, 18]] = 18, 17
    turned = replace(data, friends=(make_root({"id": other, "truth": np.ones(30)}, name="turned.root"),))
    with pytest.raises(BadValueError, match=r"turned.root:events: id is not that of data.root:events in entry 17"):
        everything(turned, ["e", "truth"])
    assert everything(turned, ["e", "truth"], Layout(group_by="id"))[1]["truth"] == [1.0] * 30  # found by the number


def test_an_event_without_end_is_refused(make_root: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("calomlp.data.rows._MAX_ROWS_OF_AN_EVENT", 25)
    with pytest.raises(InputError, match="more than 25 entries have the same run"):
        everything(make_root({"run": np.ones(100, int)}), ["run"], Layout(group_by="run"))


@pytest.mark.parametrize("branch", ["list", "array", "nosuch"])
def test_only_a_number_groups(make_root: Make, branch: str) -> None:
    source = make_root({"array": np.ones((3, 2)), "list": ak.Array([[1.0], [], [2.0]])})
    message = "'nosuch' is not there" if branch == "nosuch" else "not one number in each"
    with pytest.raises(InputError, match=message), open_rows(source, Layout(group_by=branch)):
        pass


@pytest.mark.parametrize("mark", ["_", "."])
def test_objects_of_a_collection_are_events(make_root: Make, mark: str) -> None:
    counts = np.arange(40) % 4
    pt = ak.unflatten(np.arange(60.0), counts)
    cells = ak.unflatten(ak.unflatten(np.arange(120.0), np.full(60, 2)), counts)
    columns = {f"Photon{mark}pt": pt, "rho": np.arange(40.0), "Jet_pt": ak.Array([[1.0, 2.0]] * 40)}
    names = [*columns]
    if mark == "_":
        columns[f"Photon{mark}cells"] = cells  # a list in each object
        names.append(f"Photon{mark}cells")
    try:
        source = make_root(columns)
    except (TypeError, ValueError):  # uproot writes no nested lists as a TTree
        columns.pop("Photon_cells")
        names.remove("Photon_cells")
        source = make_root(columns)
    entries, found = everything(source, names, Layout(explode="Photon"))
    owner = np.arange(40).repeat(counts)
    assert entries == owner.tolist()  # what decides the side of the split
    assert found[f"Photon{mark}pt"] == list(range(60))
    assert found["rho"] == owner.tolist()
    assert found["Jet_pt"] == [[1.0, 2.0]] * 60


def test_a_collection_must_be_there_and_whole(make_root: Make) -> None:
    source = make_root({"Photon_pt": ak.Array([[1.0], []]), "Photon_e": ak.Array([[1.0], [2.0]])})
    with pytest.raises(InputError, match="no collection 'Foton': did you mean 'Photon'"):
        everything(source, ["Photon_pt"], Layout(explode="Foton"))
    with pytest.raises(InputError, match="Photon_pt and Photon_e have not the same number of objects"):
        everything(source, ["Photon_pt", "Photon_e"], Layout(explode="Photon"))


def test_only_the_number_of_rows_may_be_asked_for(make_root: Make) -> None:
    with open_rows(make_root({"e": np.ones(3)}), PLAIN) as rows:
        assert isinstance(rows, Rows)
        assert [len(entries) for entries, _ in rows.chunks([])] == [3]


def test_groups_find_their_truth_by_its_number(make_root: Make) -> None:
    hits = make_root({"event": np.repeat([7, 2, 9], [12, 3, 20]), "edep": np.arange(35.0)}, name="hits.root")
    truth = make_root({"event": np.array([1, 2, 7, 8, 9]), "p": np.array([10.0, 20, 70, 80, 90])}, name="truth.root")
    source = replace(hits, friends=(truth,))
    found = everything(source, ["p", "event", "edep"], Layout(group_by="event"))[1]
    assert found["p"] == [70, 20, 90]
    assert [len(row) for row in found["edep"]] == [12, 3, 20]
    with open_rows(source, Layout(group_by="event")) as rows:
        rows.require(["p", "edep"])
        with pytest.raises(InputError, match="'q' is not there"):
            rows.require(["q"])


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1, 2], "truth.root:events: has no entry with event 7, which hits.root:events has"),
        ([7, 7], "truth.root:events: has 2 entries and hits.root:events 3: these are no friends"),
    ],
)
def test_truth_that_does_not_go_with_the_groups(make_root: Make, numbers: list[int], message: str) -> None:
    hits = make_root({"event": np.array([7, 7, 7])}, name="hits.root")
    truth = make_root({"event": np.array(numbers), "p": np.ones(2)}, name="truth.root")
    with pytest.raises(InputError, match=message):
        everything(replace(hits, friends=(truth,)), ["p"], Layout(group_by="event"))


def test_the_energy_of_a_file_is_that_of_each_group(make_root: Make) -> None:
    source = replace(make_root({"event": np.repeat([1, 2], 15), "e": np.ones(30)}), true_energy=7.5)
    assert everything(source, ["true_energy"], Layout(group_by="event"))[1] == {"true_energy": [7.5, 7.5]}


def test_truth_without_the_number_is_not_found(make_root: Make) -> None:
    hits = make_root({"event": np.array([7, 7, 7])}, name="hits.root")
    truth = make_root({"p": np.ones(2)}, name="truth.root")
    with pytest.raises(InputError, match=r"has 2 entries and hits.root:events 3"):
        everything(replace(hits, friends=(truth,)), ["p"], Layout(group_by="event"))


def test_a_friend_without_entries_is_none(make_root: Make) -> None:
    hits = make_root({"event": np.array([7, 7, 7])}, name="hits.root")
    empty = make_root({"event": np.array([], int), "p": np.array([], float)}, name="empty.root")
    with pytest.raises(InputError, match=r"has 0 entries and hits.root:events 3: these are no friends"):
        everything(replace(hits, friends=(empty,)), ["p"], Layout(group_by="event"))
