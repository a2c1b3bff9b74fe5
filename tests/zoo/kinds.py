"""Small files with the traits of real ones, whose truth is known by construction, and so is what must come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

N = 1200
Array = NDArray[np.float64]
Columns = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of file, and what the commands must make of it.

    Attributes:
        name: Of the kind.
        write: Writes the file ``data.root`` and perhaps others; returns the true energies in GeV and the sums of the
            readout, shape [events] each.
        features: Expressions that training takes for the anchor, and for the network by itself; ``None`` where the
            command is refused before.
        target: Expression that ``inspect`` finds.
        unit: Unit that it finds.
        options: Options of ``train`` in the place of those that ``inspect`` proposes; empty for these.
        said: What the log of the training must say.
        unsaid: What it must not say.
        refusal: What the error says, with exit code 3; empty for a model.
        response: How far the median response of the model may be from one.
        data: The files, as the user names them.
        friends: Options that name trees beside them.
        entries: Of the tree, which ``predict`` keeps.
    """

    name: str
    write: Callable[[Path, np.random.Generator], tuple[Array, Array]]
    features: tuple[str, ...] | None = ()
    target: str | None = "true_energy"
    unit: str | None = "GeV"
    options: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ("like truth, from which",)
    refusal: str = ""
    response: float = 0.03
    data: tuple[str, ...] = ("data.root",)
    friends: tuple[str, ...] = ()
    entries: int = N


KINDS: list[Kind] = []


def kind(**expected: Any) -> Callable[[Any], Any]:
    """Register a function that writes files as a kind of the zoo."""

    def register(write: Any) -> Any:
        KINDS.append(Kind(write.__name__.replace("_", "-"), write, **expected))
        return write

    return register


def save(folder: Path, columns: Columns, tree: str = "events", name: str = "data.root", **more: Columns) -> None:
    """Write trees to a file."""
    with uproot.recreate(folder / name) as file:
        for key, content in {tree: columns, **more}.items():
            types = {
                n: ak.type(v).content if isinstance(v, ak.Array) else (v.dtype, v.shape[1:]) for n, v in content.items()
            }
            file.mktree(key, types)
            file[key].extend(content)


def spectrum(rng: np.random.Generator, low: float = 2, high: float = 60) -> Array:
    return np.asarray(rng.uniform(low, high, N))


def smeared(rng: np.random.Generator, truth: Array, stochastic: float = 0.2) -> Array:
    return np.asarray(truth * (1 + stochastic / np.sqrt(truth) * rng.standard_normal(len(truth))))


def parted(rng: np.random.Generator, total: Array, parts: int) -> Array:
    """Divide energies among layers or cells, shape [events, parts]."""
    return np.asarray(total[:, None] * rng.dirichlet(np.full(parts, 4.0), len(total)))


def lists(values: NDArray[Any], counts: Any) -> ak.Array:
    return ak.unflatten(values, counts)


def hits(rng: np.random.Generator, total: Array, number: int = 20) -> tuple[ak.Array, NDArray[np.int64]]:
    """Divide energies among hits, at least one in each event."""
    counts = rng.integers(1, 2 * number, len(total))
    event = np.repeat(np.arange(len(total)), counts)
    share = rng.gamma(1, 1, len(event))
    share /= np.bincount(event, share)[event]
    return lists(share * total[event], counts), counts


def whole(rng: np.random.Generator, counts: NDArray[np.int64], high: int) -> ak.Array:
    return lists(rng.integers(0, high, counts.sum()).astype(np.int32), counts)


@kind(features=("layer_energy",))
def layers(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    energy = parted(rng, smeared(rng, truth), 12)
    save(folder, {"event_id": np.arange(N), "true_energy": truth, "layer_energy": energy.astype("f4")})
    return truth, energy.sum(axis=1)


@kind(features=("layer_energy",), unit="MeV", said=(), target="e_true")
def layers_in_mev(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    energy = parted(rng, 20 * smeared(rng, truth), 12)
    save(folder, {"e_true": 1000 * truth, "layer_energy": energy})
    return truth, energy.sum(axis=1)


@kind(features=("edep",), unit="keV")
def energies_in_kev(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    edep = 2e4 * smeared(rng, truth)
    save(folder, {"true_energy": 1e6 * truth, "edep": edep})
    return truth, edep


@kind(features=("e_raw",), target="E_true_MeV", unit="MeV")
def unit_in_the_name(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng, 0.2, 3)
    raw = smeared(rng, truth, 0.05)
    save(folder, {"E_true_MeV": 1000 * truth, "e_raw": raw})
    return truth, raw


@kind(features=("layer_adc",))
def counts_of_an_adc(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    adc = np.rint(parted(rng, 500 * smeared(rng, truth), 8)).astype(np.uint16)
    save(folder, {"true_energy": truth, "layer_adc": adc})
    return truth, adc.sum(axis=1).astype(float)


@kind(features=("readout_e",))
def readout_in_tiny_units(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    charge = 1e-12 * smeared(rng, truth)
    save(folder, {"true_energy": truth, "readout_e": charge})
    return truth, charge


@kind(features=("layers(hit_energy, hit_layer, 10)",))
def hits_with_layers(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    energy, counts = hits(rng, smeared(rng, truth))
    layer = whole(rng, counts, 10)
    save(folder, {"true_energy": truth, "hit_energy": energy, "hit_layer": layer, "hit_time": energy * 3})
    return truth, ak.to_numpy(ak.sum(energy, axis=1))


@kind(features=("layers(hit_e, hit_layer, 10)",), target="e_true", said=("lateral_rms(hit_e, hit_ix, hit_iy)",))
def hits_in_numbered_cells(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    energy, counts = hits(rng, smeared(rng, truth))
    cells = {f"hit_{name}": whole(rng, counts, 10) for name in ("ix", "iy", "layer", "id")}
    save(folder, {"e_true": truth, "hit_e": energy, **cells, "leak_rear": truth * 0.01})
    return truth, ak.to_numpy(ak.sum(energy, axis=1))


@kind(features=("layers(calo.energy, calo.position.z, 10, -0.5, 9.5)",), target="mc.energy")
def hits_in_planes(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    energy, counts = hits(rng, smeared(rng, truth))
    places = {f"calo.position.{axis}": ak.values_astype(whole(rng, counts, 10), "f8") for axis in "xyz"}
    save(folder, {"mc.energy": truth, "calo.energy": energy, **places})
    return truth, ak.to_numpy(ak.sum(energy, axis=1))


@kind(features=("layers(tc_energy, tc_layer, 10)",))
def trigger_cells(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    energy, counts = hits(rng, smeared(rng, truth))
    save(folder, {"true_energy": truth, "tc_energy": energy, "tc_pt": energy / 3, "tc_layer": whole(rng, counts, 10)})
    return truth, ak.to_numpy(ak.sum(energy, axis=1))


@kind(
    features=("sum(ECalBarrel.energy)", "sum(HCalBarrel.energy)"),
    said=("left out, the same deposits as ECalBarrel.energy: ECalBarrelContributions.energy",),
)
def many_collections(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    fraction = rng.beta(2, 2, N)
    columns: Columns = {"true_energy": truth}
    total = np.zeros(N)
    for name, part in (("ECalBarrel", fraction), ("HCalBarrel", 1 - fraction)):
        energy, _ = hits(rng, smeared(rng, truth * part))
        columns |= {f"{name}.energy": energy, f"{name}Contributions.energy": energy}
        total += ak.to_numpy(ak.sum(energy, axis=1))
    save(folder, columns | {f"Other{i}.x": rng.standard_normal(N) for i in range(210)})
    return truth, total


@kind(features=("ecal", "hcal", "ho", "eta", "phi"), target="true", said=("branches that were left out: --also p",))
def particle_flow(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    fraction = rng.beta(0.7, 1.5, N)
    seen = smeared(rng, truth, 0.8)
    columns = {
        "true": truth,
        "p": truth * rng.normal(1, 0.01, N),
        "ecal": seen * fraction,
        "hcal": seen * (1 - fraction),
        "ho": np.where(rng.random(N) < 0.03, rng.exponential(0.1, N), 0),
        "eta": rng.uniform(-3, 3, N),
        "phi": rng.uniform(-3, 3, N),
        "charge": rng.choice([-1, 0, 1], N).astype("i4"),
    }
    save(folder, columns, "s")
    return truth, columns["ecal"] + columns["hcal"] + columns["ho"]


def full_simulation(rng: np.random.Generator) -> tuple[Array, Columns, Array]:
    """Return true energies, what a simulation writes of a sampling calorimeter, and the visible energy."""
    truth = spectrum(rng)
    leak, dead = truth * rng.gamma(1, 0.01, N), truth * rng.gamma(2, 0.002, N)
    visible = 0.05 * smeared(rng, truth - leak - dead)
    energy = parted(rng, visible, 10)
    columns = {
        "e_true": truth,
        "layer_e": energy,
        "layer_ebirks": energy * rng.normal(0.9, 0.002, (N, 1)),
        "e_act": visible,
        "e_abs": truth - leak - dead - visible,
        "e_dead": dead,
        "leak_rear": leak,
        "cpu_s": truth * rng.normal(1, 0.03, N),
        "r_mean": rng.normal(20, 1, N),
        "x0": rng.normal(size=N),
        "killed": 0.001 * truth,
    }
    return truth, columns, visible


@kind(features=("layer_e",), target="e_true", said=("the same deposits as layer_e: layer_ebirks", "e_abs, e_dead"))
def ntuple_of_a_simulation(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth, columns, visible = full_simulation(rng)
    save(folder, columns)
    return truth, visible


@kind(
    features=None,
    target="e_true",
    options=("-t", "e_true", "--also", "e_abs", "--also", "leak_rear"),
    said=("e_abs, leak_rear look like truth", "add up to the true energy", "e_dead left out)"),
    unsaid=(),
)
def ntuple_with_truth_that_is_asked_for(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth, columns, visible = full_simulation(rng)
    save(folder, columns)
    return truth, visible


@kind(features=None, target="e_true", said=("look like truth",), unsaid=())
def truth_under_the_name_of_a_detector(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth, columns, visible = full_simulation(rng)
    save(folder, {"e_true": truth, "layer_e": columns["layer_e"], "tail_energy": truth - visible})
    return truth, visible


@kind(features=("Egap",), target="E_beam")
def absorber_and_gap(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    gap = 0.1 * smeared(rng, truth)
    lengths = {"Labs": truth * 3, "Lgap": truth * 5}
    save(folder, {"E_beam": truth, "Eabs": 0.8 * truth - gap, "Egap": gap, **lengths}, "B4")
    return truth, gap


@kind(features=("Eabs",), target="primaryEnergy")
def block_that_is_its_own_absorber(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    deposit = smeared(rng, truth, 0.05)
    save(folder, {"primaryEnergy": truth, "Eabs": deposit, "Labs": truth})
    return truth, deposit


@kind(features=("crystal_e",), said=("the same deposits as crystal_e: layer_e",))
def crystals_and_slices(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    total = smeared(rng, truth, 0.03)
    crystals = parted(rng, total, 9)
    save(folder, {"true_energy": truth, "crystal_e": crystals, "layer_e": parted(rng, total, 26)})
    return truth, total


@kind(features=("layer_energy", "hcal_energy"))
def layers_and_a_calorimeter_behind(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    fraction = rng.beta(1, 1, N)
    front, back = smeared(rng, truth * fraction, 0.1), smeared(rng, truth * (1 - fraction), 0.1)
    save(folder, {"true_energy": truth, "layer_energy": parted(rng, front, 20), "hcal_energy": back})
    return truth, front + back


@kind(features=("scin_e", "cherenkov"))
def dual_readout(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    em = rng.beta(4, 3, N)
    scintillation = smeared(rng, truth * (em + 0.75 * (1 - em)), 0.1)
    light = smeared(rng, truth * (em + 0.25 * (1 - em)), 0.1)
    save(folder, {"true_energy": truth, "scin_e": scintillation, "cherenkov": light})
    return truth, scintillation + light


@kind(features=("mcal_energy", "mcp_charge"))
def beam_line(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    measured = smeared(rng, truth)
    save(folder, {"true_energy": truth, "mcal_energy": measured, "mcp_charge": rng.exponential(1, N)})
    return truth, measured


@kind(features=("e_seed", "Layer", "Row", "Column", "n_cells"))
def hottest_cell(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    measured = smeared(rng, truth)
    cells = {name: rng.integers(0, 20, N).astype("f8") for name in ("Layer", "Row", "Column")}
    save(folder, {"true_energy": truth, "e_seed": measured, **cells, "n_cells": rng.integers(1, 9, N)})
    return truth, measured


@kind(features=("sum(edep)",), target="max(E_beam)", options=())
def an_entry_for_every_hit(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    energy, counts = hits(rng, smeared(rng, truth), 8)
    event = np.repeat(np.arange(N), counts)
    columns = {"eventID": event.astype("i4"), "edep": ak.to_numpy(ak.flatten(energy)), "E_beam": truth[event]}
    save(folder, columns | {"processName_id": rng.integers(0, 5, len(event))}, "Hits")
    return truth, ak.to_numpy(ak.sum(energy, axis=1))


@kind(
    features=("ecal",),
    target=None,
    unit=None,
    options=("--target-from-name", "([0-9][0-9.p,_-]*)GeV"),
    data=("e_2p5GeV.root", "e_5_0GeV.root", "e_10GeV.root", "e_20,0GeV.root"),
    said=("only 4 distinct true energies (2.5, 5, 10, 20 GeV)",),
    response=0.1,
)
def energies_in_names_of_files(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    parts = []
    for name, energy in (("2p5", 2.5), ("5_0", 5.0), ("10", 10.0), ("20,0", 20.0)):
        truth = np.full(N // 4, energy)
        parts.append((truth, smeared(rng, truth, 0.1)))
        save(folder, {"ecal": parts[-1][1]}, name=f"e_{name}GeV.root")
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


@kind(features=("layer_energy",), target="beam_energy", said=(), response=0.05)
def beam_energies(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = np.array([2.0, 5, 10, 20, 40, 60])[np.arange(N) % 6]
    energy = parted(rng, smeared(rng, truth, 0.1), 6)
    save(folder, {"beam_energy": truth, "layer_energy": energy})
    return truth, energy.sum(axis=1)


@kind(
    features=("Eabs",),
    target="beam_energy",
    said=("all events have the true energy 4 GeV", "no energy at all"),
    response=1,
)
def one_energy_and_empty_events(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    deposit = rng.uniform(0, 1, N) ** 2 * 3
    deposit[rng.random(N) < 0.1] = 0
    save(folder, {"Eabs": deposit, "beam_energy": np.full(N, 4.0)})
    return np.full(N, 4.0), deposit


@kind(features=("e_cal",), said=("no energy at all",), response=0.1)
def some_empty_events(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    deposit = truth * (1 + 0.15 * rng.standard_normal(N))
    deposit[rng.random(N) < 0.02] = 0
    save(folder, {"e_cal": deposit, "true_energy": truth})
    return truth, deposit


@kind(features=None, refusal="always 3")
def constant_readout(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    save(folder, {"true_energy": truth, "ecal": np.full(N, 3.0)})
    return truth, np.full(N, 3.0)


@kind(features=None, refusal="are these energies?")
def pulses_with_their_sign(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    save(folder, {"true_energy": truth, "pulse_integral": -smeared(rng, truth)})
    return truth, -truth


@kind(features=None, target=None, unit=None, options=("-t", "y"), refusal="no branch is recognised as an energy")
def plain_ntuple(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    save(folder, {"x": truth, "y": truth}, "ntup")
    return truth, truth


@kind(features=None, target=None, refusal="true energy", options=("-t", "true_energy"), unit=None)
def targets_of_zero(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    save(folder, {"true_energy": np.zeros(N), "ecal": rng.normal(size=N)})
    return np.zeros(N), np.zeros(N)


@kind(features=("branch('calo E/H')",), target='branch("Beam Energy")')
def names_with_other_characters(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    measured = smeared(rng, truth)
    save(folder, {"Beam Energy": truth, "calo E/H": measured})
    return truth, measured


@kind(features=("sum(tower_e)",), target="max(gen_energy)", said=())
def truth_beside_its_pt(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    energy, _ = hits(rng, smeared(rng, truth))
    one = np.ones(N, np.int64)
    gen = {"gen_pt": lists(truth / 3, one), "gen_energy": lists(truth, one), "gen_eta": lists(rng.normal(size=N), one)}
    save(folder, {**gen, "tower_e": energy})
    return truth, ak.to_numpy(ak.sum(energy, axis=1))


@kind(features=("ecal", "hcal"), said=("events have a bad value",))
def sentinels(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    fraction = rng.beta(2, 2, N)
    ecal, hcal = smeared(rng, truth * fraction, 0.1), smeared(rng, truth * (1 - fraction), 0.1)
    marked = np.where(np.arange(N) % 40, hcal, -999.0)
    save(folder, {"true_energy": truth, "ecal": ecal, "hcal": marked})
    good = np.arange(N) % 40 > 0
    return truth[good], (ecal + hcal)[good]


@kind(features=("ecal", "cluster_eta"), said=("left out, not always finite: cluster_phi",))
def gaps_in_what_nobody_needs(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    measured = smeared(rng, truth)
    phi = np.where(np.arange(N) % 3, 1.0, np.nan)
    save(folder, {"true_energy": truth, "ecal": measured, "cluster_eta": rng.normal(size=N), "cluster_phi": phi})
    return truth, measured


@kind(
    features=("layer_energy",),
    options=("-t", "true_energy", "--friend", ":truth"),
    friends=("--friend", ":truth"),
    target=None,
    unit=None,
)
def truth_in_another_tree(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    energy = parted(rng, smeared(rng, truth), 6)
    event = np.arange(N, dtype="i4")
    save(folder, {"event": event, "layer_energy": energy}, truth={"event": event, "true_energy": truth})
    return truth, energy.sum(axis=1)


@kind(
    features=("cluster_e", "cluster_x"),
    options=("-t", "cluster_true", "--explode", "cluster"),
    target="max(cluster_true)",
    entries=N // 2,
)
def objects_of_a_collection(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    measured = smeared(rng, truth)
    counts = np.full(N // 2, 2)
    columns = {"true": truth, "e": measured, "x": rng.normal(size=N), "charge": rng.integers(-1, 2, N)}
    save(folder, {f"cluster_{name}": lists(values, counts) for name, values in columns.items()})
    return truth, measured


@kind(features=("ecal",))
def flags_and_momenta(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    measured = smeared(rng, truth, 0.05)
    columns = {"true_energy": truth, "ecal": measured, "HLT_e30": rng.random(N) < 0.5, "px": rng.normal(size=N)}
    save(folder, {**columns, "voltage": np.full(N, 3.0), "timestamp": np.arange(N) * 1e9, "weight": np.ones(N)})
    return truth, measured


@kind(features=("layer_energy",))
def noise_below_zero(folder: Path, rng: np.random.Generator) -> tuple[Array, Array]:
    truth = spectrum(rng)
    energy = parted(rng, smeared(rng, truth), 12) + rng.normal(0, 0.2, (N, 12))
    save(folder, {"true_energy": truth, "layer_energy": energy})
    return truth, energy.sum(axis=1)
