"""Small data sets of toy showers, in the layout that calomlp simulate writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import uproot

from calomlp.evaluation.profiles import RADII, MeanProfile, ShowerProfiles

if TYPE_CHECKING:
    from collections.abc import Sequence

# two thin layers in each of two readouts, then three thick ones
SECTIONS = [
    {
        "n_readouts": 2,
        "depth_per_layer_x0": 1.0,
        "depth_per_layer_lambda": 0.05,
        "radiation_length_cm": 1.5,
        "moliere_radius_cm": 2.0,
    },
    {
        "n_readouts": 3,
        "depth_per_layer_x0": 4.0,
        "depth_per_layer_lambda": 0.2,
        "radiation_length_cm": 0.5,
        "moliere_radius_cm": 1.0,
    },
]
PROVENANCE = {
    "simulation": {
        "constants": {"sections": SECTIONS},
        "detector": {"layers": [{"layers_per_readout": 2}, {"layers_per_readout": 1}]},
    }
}
X0_EDGES = [0, 2, 4, 8, 12, 16]
LAMBDA_EDGES = [0, 0.1, 0.2, 0.4, 0.6, 0.8]
CENTRES = [1.5, 4.5, 7, 9, 11]  # cm
MOLIERE = [2, 2, 1, 1, 1]  # cm
N_LAYERS = len(CENTRES)


def toy_showers(energies: Sequence[float], events: int, *, pdg_id: int = 11, seed: int = 1) -> dict[str, Any]:
    """Return the columns of events whose energies take turns; some of them have no hit."""
    rng = np.random.default_rng(seed)
    energy = np.resize(np.array(energies), events)
    hits = rng.integers(1, 12, events) * (np.arange(events) % 4 > 0)
    total = int(hits.sum())
    x, y = rng.normal(0, 3, total), rng.normal(0, 3, total)
    return {
        "event_id": np.arange(events),
        "pdg_id": np.full(events, pdg_id, dtype=np.int32),
        "true_energy": energy.astype(np.float32),
        "layer_energy": (energy[:, None] * rng.dirichlet(np.arange(1, N_LAYERS + 1), events)).astype(np.float32),
        "hit_energy": ak.unflatten(rng.exponential(1, total).astype(np.float32), hits),
        "hit_layer": ak.unflatten(rng.integers(0, N_LAYERS, total).astype(np.int32), hits),
        "hit_x": ak.unflatten(x.astype(np.float32), hits),
        "hit_y": ak.unflatten(y.astype(np.float32), hits),
        "true_x": rng.normal(0, 1, events).astype(np.float32),
        "true_y": rng.normal(0, 1, events).astype(np.float32),
        "true_theta": rng.uniform(0, 0.4, events).astype(np.float32),
        "true_phi": rng.uniform(-np.pi, np.pi, events).astype(np.float32),
    }


def write_showers(path: Path, columns: dict[str, Any], *, provenance: Any = PROVENANCE, tree: bool = False) -> Path:
    """Write a data set as an RNTuple, or as a TTree."""
    with uproot.recreate(path) as file:
        if tree:
            file.mktree("events", columns)
        else:
            array = ak.Array(columns)
            file.mkrntuple("events", array.layout.form).extend(array)
        if provenance is not None:
            file["provenance"] = provenance if isinstance(provenance, str) else json.dumps(provenance)
    return path


def toy_profiles(energies: int, *, known: bool = True, hits: bool = True, hadrons: bool = False) -> ShowerProfiles:
    """Return the profiles of gamma-like showers at so many energies."""
    low = np.geomspace(1, 120, energies + 1)[:-1]
    depth = np.linspace(0, 24 if known else 30, 31)
    middle = (depth[1:] + depth[:-1]) / 2
    peak = 4 + np.log(low)[:, None]
    mean = 0.12 * (middle / peak) ** 3 * np.exp(3 - 3 * middle / peak)
    events = np.full(energies, 1234)
    held = RADII**2 / (RADII**2 + 0.2 * (1 + np.arange(energies)[:, None] / energies))
    unit = ("lambda_I" if hadrons else "X0") if known else "layer"
    return ShowerProfiles(
        low,
        low if energies > 5 else np.geomspace(1, 120, energies + 1)[1:],
        (-211, 211) if hadrons else (11,),
        1234 * energies,
        depth,
        unit,
        MeanProfile(events, mean, 0.4 * mean + 0.001),
        RADII,
        "R_M" if known else "cm",
        MeanProfile(events, held, 0.1 * np.ones_like(held)) if hits else None,
        known,
    )
