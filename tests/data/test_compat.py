"""Files from the wild, one row for each: what is read from it, or the line with which it is refused.

They are not part of the project; ``CALOMLP_COMPAT`` names the folder if it does not lie beside the checkout.
"""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from calomlp.data.expressions import Expression, quote_branch
from calomlp.data.root import OpenTree, open_file, open_table
from calomlp.data.sources import Source
from calomlp.errors import InputError

ROOT = Path(__file__).parents[2]
COMPAT = Path(os.environ.get("CALOMLP_COMPAT", ROOT / "../shared/compat"))
pytestmark = pytest.mark.skipif(not COMPAT.is_dir(), reason="a collection of foreign files, not part of the project")

NANO = "cmsopendata2015_ttbar_19980_NANOAOD_RNTupleImporter_rntuple_v1-0-0-1"
CODECS = ("lz4", "lzma", "uncompressed", "zlib", "zstd")
HUGE = "test_int_multicluster_rntuple_v1-0-0-0"

NUMBER, LIST, LISTS = ((), False, False), ((), True, False), ((), True, True)


def array(*shape: int) -> tuple[Any, ...]:
    return (shape, False, False)


Some = dict[str, tuple[Any, float]]

HZZ: Some = {"NJet": (NUMBER, 2773), "Jet_E": (LIST, 340153.7456417084), "Jet_ID": (LIST, 2724)}
SAMPLE: Some = {"f8": (NUMBER, -12), "ai4": (array(3), 135), "Au8": (LIST, 870), "b": (NUMBER, 15)}

READ: dict[str, tuple[int, int, Some]] = {
    f"{NANO}.root:Events": (
        10,
        947,
        {"CaloMET_pt": (NUMBER, 613.599609375), "Electron_pt": (LIST, 330.6994695663452), "nElectron": (NUMBER, 13)},
    ),
    "coffea_edm4hep.root:events": (
        3,
        289,
        {
            "CalorimeterHitCollection.energy": (LIST, 129),
            "ClusterCollection.positionError.values": (((6,), True, False), 801),
            "_CaloHitContributionCollection_particle.index": (LIST, 0),
            "GPFloatValues": (LISTS, 0),
        },
    ),
    "coffea_edm4hep.root:podio_metadata": (1, 10, {"PodioBuildVersion.minor": (NUMBER, 1)}),
    "gohep_chain.flat.1.root:tree": (
        5,
        34,
        {"F64": (NUMBER, 10), "U64": (NUMBER, 10), "B": (NUMBER, 3), "ArrF32": (array(10), 100), "SliI16": (LIST, -30)},
    ),
    "gohep_chain.flat.2.root:tree": (5, 34, {"F64": (NUMBER, 35), "ArrF32": (array(10), 350), "SliI16": (LIST, -255)}),
    "gohep_rvec.root:events": (
        5,
        58,
        {"MC_e": (LIST, 6266.500915700957), "EVT_Echarged_max": (NUMBER, 160.23763465881348)},
    ),
    "gohep_tntuple.root:ntup": (10, 2, {"x": (NUMBER, 45), "y": (NUMBER, 50)}),
    "gohep_tntupled.root:ntup": (10, 2, {"x": (NUMBER, 45), "y": (NUMBER, 50)}),
    "nano_dy_empty.root:Events": (0, 1499, {"run": (NUMBER, 0), "CorrT1METJet_area": (LIST, 0)}),
    "rntviewer-testfile-multiple-rntuples-v1-0-0-0.root:A": (100, 1, {"f": (NUMBER, 4950)}),
    "rntviewer-testfile-multiple-rntuples-v1-0-0-0.root:B": (100, 1, {"g": (NUMBER, 495000)}),
    "roottest_multipleNameCycles.root:tree": (2, 1, {"x": (NUMBER, 84)}),
    "roottest_multipleNameCycles.root:tree;1": (1, 1, {"x": (NUMBER, 42)}),
    "roottest_n_empty.root:ntup": (0, 1, {"val": (NUMBER, 0)}),
    f"{HUGE}.root:ntuple": (100_000_000, 1, {"one_integers": (NUMBER, 150_000_000)}),
    "test_multiple_cluster_groups_rntuple_v1-0-0-0.root:ntuple": (
        1000,
        2,
        {"one": (NUMBER, 499500), "int_vector": (LIST, 1_000_000)},
    ),
    **{f"uproot-HZZ-{codec}.root:events": (2421, 51, HZZ) for codec in CODECS},
    "uproot-double32-float16.root:tree": (
        17,
        12,
        {
            "double32_32": (NUMBER, 40.49999998058193),
            "float16_16": (NUMBER, 40.499807953834534),
            "array_10": (array(3), 121.43891537189484),
        },
    ),
    "uproot-empty.root:tree": (0, 2, {"x": (NUMBER, 0), "y": (NUMBER, 0)}),
    "uproot-from-geant4.root:Details": (1, 5, {"nrays": (NUMBER, 1000)}),
    "uproot-from-geant4.root:HitStrips": (4808, 3, {"Energy": (NUMBER, 7196.725846105488)}),
    "uproot-from-geant4.root:GeneratedTracks": (1000, 7, {"p": (NUMBER, 6686.334244266152)}),
    "uproot-from-geant4.root:TrackedRays": (224, 5, {"Event": (NUMBER, 112982)}),
    "uproot-issue-250.root:B4": (1000, 4, {"Eabs": (NUMBER, 45619.54913196496)}),
    "uproot-nesteddirs.root:one/two/tree": (100, 19, {"ArrayInt64": (array(10), 49500), "SliceFloat64": (LIST, 23100)}),
    "uproot-nesteddirs.root:one/tree": (4, 2, {"one": (NUMBER, 10), "two": (NUMBER, 11)}),
    "uproot-nesteddirs.root:three/tree": (
        100,
        36,
        {"evt.P3.Py": (NUMBER, 4950), "evt.ArrayU32": (array(10), 49500), "evt.StlVecI32": (LIST, 23100)},
    ),
    "uproot-sample-5.23.02-zlib.root:sample": (30, 34, SAMPLE),
    "uproot-sample-5.30.00-lzma.root:sample": (30, 34, SAMPLE),
    "uproot-stl_containers.root:tree": (
        5,
        19,
        {
            "vector_int32": (LIST, 35),
            "vector_vector_int32": (LISTS, 70),
            "set_int32": (LIST, 35),
            "map_int32_int16.second": (LIST, 35),
        },
    ),
    "uproot-vectorVectorDouble.root:t": (5, 1, {"x": (LISTS, 218)}),
}
"""Events, number of columns, and layout and sum of some of the columns."""

UNSAID = {
    f"{NANO}.root": "Events",
    "coffea_edm4hep.root": "events",
    "nano_dy_empty.root": "Events",
    "uproot-issue-250.root": "B4",
}
"""The tree that is read if none is named."""

REFUSED = {
    "rntviewer-testfile-multiple-rntuples-v1-0-0-0.root": "several trees.*TREE: A (100 events), B (100 events)",
    "uproot-from-geant4.root": "several trees.*: Details (1 event), HitStrips (4808 events), GeneratedTracks (1000",
    "uproot-nesteddirs.root": "several trees.*: one/two/tree (100 events), one/tree (4 events), three/tree (100",
    "roottest_recover_crashed.root": "no objects at all: it is empty, or the program that wrote it did not close it",
    "roottest_st-notree.root": "no objects at all",
}
"""How the line begins and ends with which a file is refused if no tree is named."""


def source(name: str) -> Source:
    file, _, tree = name.partition(":")
    return Source(str(COMPAT / file), tree or None, file)


def total(table: OpenTree, name: str) -> float:
    reduced = Expression.parse(f"sum({quote_branch(name)})")
    return float(sum(np.sum(reduced(chunk), dtype=np.float64) for _, chunk in table.chunks([name])))


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name: str) -> None:
    entries, columns, some = READ[name]
    with open_table(source(name)) as table:
        assert (table.entries, len(table.columns)) == (entries, columns)
        for column, (layout, expected) in some.items():
            found = table.columns[column]
            assert (found.shape, found.jagged, found.nested) == layout
            assert total(table, column) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", UNSAID)
def test_which_tree_is_read_if_none_is_named(name: str) -> None:
    with open_table(source(name)) as table:
        assert table.source.tree == UNSAID[name]


@pytest.mark.parametrize("name", REFUSED)
def test_which_files_are_refused(name: str) -> None:
    start, _, end = REFUSED[name].partition(".*")
    with pytest.raises(InputError) as caught, open_table(source(name)):
        pass
    line = str(caught.value)
    assert line.startswith(f"{name}: ")
    assert start in line
    assert end in line
    assert "\n" not in line


def test_every_file_has_its_row() -> None:
    assert {path.name for path in COMPAT.glob("*.root")} == {name.partition(":")[0] for name in [*READ, *REFUSED]}


@pytest.mark.parametrize("name", [name for name in READ if HUGE not in name])
def test_every_column_can_be_read(name: str) -> None:
    with open_table(source(name)) as table:
        read = sum(len(next(iter(chunk.values()))) for _, chunk in table.chunks(table.columns))
        assert read == table.entries


def test_five_codecs_give_the_same_columns() -> None:
    found = []
    for codec in CODECS:
        with open_table(source(f"uproot-HZZ-{codec}.root")) as table:
            ((_, chunk),) = table.chunks(table.columns)
            found.append(chunk)
    for other in found[1:]:
        assert other.keys() == found[0].keys()
        assert all(ak.array_equal(other[name], values, equal_nan=True) for name, values in found[0].items())


def test_one_cluster_of_a_hundred_million_events_needs_little_memory() -> None:
    tracemalloc.start()
    with open_table(source(f"{HUGE}.root")) as table:
        events = sum(len(chunk["one_integers"]) for _, chunk in table.chunks(["one_integers"]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert events == 100_000_000
    assert peak < 50e6


def test_wrong_bytes_in_a_page_are_noticed(tmp_path: Path) -> None:
    data = bytearray((COMPAT / "test_multiple_cluster_groups_rntuple_v1-0-0-0.root").read_bytes())
    data[600] ^= 1  # inside the first page
    path = tmp_path / "f.root"
    path.write_bytes(data)
    with (
        pytest.raises(InputError, match=r"f.root:ntuple: branch 'one' .*does not agree with its checksum"),
        open_table(Source(str(path), None, "f.root")) as table,
    ):
        list(table.chunks(["one"]))


def test_what_cannot_be_read_is_said_only_to_those_who_ask() -> None:
    with open_table(source("coffea_edm4hep.root:podio_metadata")) as table:
        unknown = "events___CollectionTypeInfo._1"
        with pytest.raises(InputError, match=f"'{unknown}' cannot be read: unknown: none of the rules matched"):
            table.require([unknown])
        with pytest.raises(InputError, match=r"'EDMDefinitions._1' is not numeric: std::string\[\]"):
            table.require(["EDMDefinitions._1"])
        with pytest.raises(InputError, match=r"'PodioBuildVersion' is a collection: legal: PodioBuildVersion.major"):
            table.require(["PodioBuildVersion"])


def test_a_tree_with_all_that_is_wanted() -> None:
    name = "uproot-from-geant4.root"
    with open_table(source(name), frozenset({"Energy", "Event"})) as table:
        assert table.source.tree == "HitStrips"
    with (
        pytest.raises(InputError, match="several trees, none of which has energy, choose one as"),
        open_table(source(name), frozenset({"energy"})),
    ):
        pass
    with pytest.raises(InputError, match="several trees, choose"), open_table(source(name), frozenset({"phi"})):
        pass
    with open_file(source(name)) as file:
        assert set(file.trees.values()) == {"TTree"}
