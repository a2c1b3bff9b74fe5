from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from calomlp.simulation import Request, Spectrum, load_detector
from calomlp.simulation.beam import Axes, Beam, draw_beam, draw_energies
from calomlp.simulation.layers import Layers
from calomlp.simulation.request import Impact, parse_particles
from tests.simulation.tools import generator

if TYPE_CHECKING:
    from numpy.typing import NDArray

N = 100_000
AHCAL, SIW = load_detector("ahcal"), load_detector("siw-ecal")


def beam(particles: str = "e-", energies: str = "10", **how: object) -> Beam:
    detector = how.pop("detector", AHCAL)
    request = Request(detector, parse_particles(particles), Spectrum.parse(energies), N, 1, **how)  # type: ignore[arg-type]
    return draw_beam(request, 0, N, generator())


def energies(text: str, shape: str) -> NDArray[np.float64]:
    return draw_energies(Spectrum.parse(text, shape=shape), 0, N, generator()).numpy().astype(float)


def flatness(u: NDArray[np.float64]) -> float:
    """Chi-squared per bin of numbers that should be uniform from 0 to 1."""
    counts, _ = np.histogram(u, bins=50, range=(0.0, 1.0))
    return float(((counts - len(u) / 50) ** 2 / (len(u) / 50)).mean())


@pytest.mark.parametrize(
    ("shape", "integral"),
    [
        ("flat", lambda energy: energy),
        ("log", np.log),
        ("E^-2", lambda energy: -1.0 / energy),
        ("E^1.5", lambda energy: energy**2.5),
        ("E^-1.0001", lambda energy: -(energy**-0.0001)),
        ("E^-10", lambda energy: -(energy**-9.0)),
    ],
)
def test_spectra_have_their_shape(shape: str, integral: np.ufunc) -> None:
    found = energies("2:50", shape)
    assert found.min() >= 2.0
    assert found.max() <= 50.0
    low, high = integral(2.0), integral(50.0)
    assert flatness((integral(found) - low) / (high - low)) < 1.6


@pytest.mark.parametrize("shape", ["E^10", "E^-10"])
def test_the_steepest_spectra_over_the_widest_range_are_finite(shape: str) -> None:
    found = energies("0.1:10000", shape)
    assert np.isfinite(found).all()
    assert found.min() >= np.float32(0.1)
    assert found.max() <= 1e4


def test_a_spectrum_that_is_nearly_flat_in_the_logarithm_is_not_cut_into_steps() -> None:
    assert len(np.unique(energies("1:100", "E^-1.0000001"))) > 0.99 * len(np.unique(energies("1:100", "log")))


def test_points_take_turns_by_the_number_of_the_event() -> None:
    found = draw_energies(Spectrum.parse("5,10,20"), 7, 5, generator())
    assert found.tolist() == [10.0, 20.0, 5.0, 10.0, 20.0]


def test_the_momentum_spread_is_relative_to_the_nominal_energy() -> None:
    found = beam(energies="10,50", momentum_spread=0.05)
    relative = (found.energy / found.nominal - 1.0).numpy()
    assert set(found.nominal.tolist()) == {10.0, 50.0}
    assert relative.mean() == pytest.approx(0.0, abs=6e-4)
    assert relative.std() == pytest.approx(0.05, rel=0.01)


def test_the_widest_momentum_spread_leaves_every_particle_some_energy() -> None:
    assert beam(energies="0.1", momentum_spread=0.2).energy.min() >= 0.0199


def test_without_a_momentum_spread_the_energy_is_the_nominal_one() -> None:
    found = beam(energies="1:100")
    assert torch.equal(found.energy, found.nominal)


@pytest.mark.parametrize(
    ("particles", "shares"),
    [("e-:1,pi-:3", [0.25, 0.75]), ("e-,mu-,p", [1 / 3] * 3), ("e-:1e6,pi-:1e-6,p:1e6", [0.5, 0.0, 0.5])],
)
def test_mixtures_have_the_shares_of_their_weights(particles: str, shares: list[float]) -> None:
    found = np.bincount(beam(particles).kind.numpy(), minlength=len(shares)) / N
    assert found == pytest.approx(shares, abs=4 * 0.5 / math.sqrt(N))


def test_the_cell_of_the_beam_is_filled_evenly() -> None:
    x, y = (values.numpy().astype(float) for values in (beam().axes.x, beam().axes.y))
    assert flatness(x / 3.0 % 1.0) < 1.6  # ahcal: tiles of 3 cm, an even number of them
    assert flatness(y / 3.0 % 1.0) < 1.6
    assert (x.min() >= 0.0, x.max() <= 3.0) == (True, True)
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.02


def test_with_an_odd_number_of_cells_the_beam_is_in_the_middle_one() -> None:
    x = beam(detector=load_detector("crystal-ecal")).axes.x
    assert -1.1 <= x.min() < -1.09
    assert 1.09 < x.max() <= 1.1


def test_a_beam_spot_is_gaussian_around_its_centre() -> None:
    axes = beam(impact=Impact(4.0, -2.0, 0.5)).axes
    assert axes.x.mean().item() == pytest.approx(4.0, abs=0.01)
    assert axes.y.mean().item() == pytest.approx(-2.0, abs=0.01)
    assert axes.x.std().item() == pytest.approx(0.5, rel=0.01)


def test_layers_without_cells_are_hit_in_the_middle() -> None:
    endless = load_detector("crystal-ecal")
    section = endless.sections[0]
    bare = type(endless)("bare", "", (type(section)("a", section.slices, 1, section.response, section.readout),))
    assert beam(detector=bare).axes.x.abs().max() == 0.0


def test_an_angle_tilts_in_x() -> None:
    axes = beam(angle=(30.0, 30.0)).axes
    assert axes.theta.unique().tolist() == pytest.approx([math.radians(30.0)])
    assert axes.phi.abs().max() == 0.0
    assert axes.path[0].item() == pytest.approx(2.0 / math.sqrt(3.0))


def test_a_range_of_angles_is_isotropic() -> None:
    axes = beam(angle=(10.0, 60.0)).axes
    cosine = axes.theta.cos().numpy().astype(float)
    high, low = math.cos(math.radians(10.0)), math.cos(math.radians(60.0))
    assert flatness((cosine - low) / (high - low)) < 1.6
    assert flatness(axes.phi.numpy().astype(float) / (2 * math.pi)) < 1.6


def test_a_line_drifts_by_depth_times_the_tangent() -> None:
    layers = Layers.of(SIW)
    angle = torch.tensor([math.radians(40.0)])
    axes = Axes(torch.tensor([1.0]), torch.tensor([2.0]), angle, torch.tensor([math.pi / 2]))
    x, y = axes.at(layers.middle)
    torch.testing.assert_close(x[0], torch.full_like(layers.middle, 1.0), rtol=0, atol=1e-5)
    torch.testing.assert_close(y[0], 2.0 + layers.middle * math.tan(math.radians(40.0)))
