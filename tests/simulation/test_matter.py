from __future__ import annotations

import pytest

from calomlp.errors import UsageError
from calomlp.simulation.detector import MATERIALS, Plate, effective_medium, material

# X0 [g/cm2], Ec [MeV] and R_M [cm] of Grindhammer & Peters' averages on Geant4 NIST constants
EXPECTED = {
    "Si": (21.82, 36.74, 5.405),
    "Fe": (13.84, 20.65, 1.805),
    "steel": (13.90, 20.78, 1.774),
    "Cu": (12.86, 18.64, 1.633),
    "brass": (11.65, 16.15, 1.795),
    "W": (6.76, 8.00, 0.928),
    "Pb": (6.37, 7.35, 1.618),
    "U": (6.00, 6.71, 1.000),
    "PbWO4": (7.39, 8.76, 2.159),
    "BGO": (7.97, 9.59, 2.473),
    "CsI": (8.39, 10.51, 3.752),
    "NaI": (9.49, 12.16, 4.512),
    "lead-glass": (7.87, 9.37, 2.864),
    "polystyrene": (43.79, 79.8, 10.97),
    "PVT": (43.91, 80.1, 11.26),
    "LAr": (19.55, 29.13, 10.19),
    "LKr": (11.37, 15.23, 6.547),
    "Al": (24.01, 39.31, 4.798),
}


@pytest.mark.physics
@pytest.mark.parametrize("name", EXPECTED)
def test_critical_energy_and_moliere_radius_follow_from_the_table(name: str) -> None:
    x0, critical_energy, moliere_radius = EXPECTED[name]
    medium = effective_medium([Plate("plate", MATERIALS[name], 1.0)])
    assert medium.radiation_length * MATERIALS[name].density == pytest.approx(x0, rel=2e-3)
    assert 1e3 * medium.critical_energy == pytest.approx(critical_energy, rel=2e-3)
    assert medium.moliere_radius == pytest.approx(moliere_radius, rel=2e-3)


@pytest.mark.physics
def test_lead_tungstate_agrees_with_the_constants_of_cms() -> None:
    # CMS fast simulation: Ec = 8.74 MeV, X0 = 0.89 cm, R_M = 2.19 cm
    assert 1e3 * MATERIALS["PbWO4"].critical_energy == pytest.approx(8.74, rel=5e-3)
    assert MATERIALS["PbWO4"].radiation_length == pytest.approx(0.89, rel=5e-3)
    assert effective_medium([Plate("block", MATERIALS["PbWO4"], 1.0)]).moliere_radius == pytest.approx(2.19, rel=0.02)


@pytest.mark.parametrize("thickness", [1e-4, 1.0, 100.0])
def test_a_medium_of_one_material_is_that_material(thickness: float) -> None:
    iron = MATERIALS["Fe"]
    medium = effective_medium([Plate("a", iron, thickness), Plate("b", iron, 3 * thickness)])
    assert (medium.radiation_length, medium.Z, medium.A) == pytest.approx((iron.radiation_length, iron.Z, iron.A))
    assert medium.interaction_length == pytest.approx(iron.interaction_length)
    assert medium.critical_energy == pytest.approx(iron.critical_energy)


def test_an_air_gap_widens_showers_and_adds_no_depth() -> None:
    plates = [Plate("absorber", MATERIALS["W"], 0.3), Plate("sensor", MATERIALS["Si"], 0.05, active=True)]
    closed, open_ = effective_medium(plates), effective_medium([*plates, Plate("gap", MATERIALS["air"], 0.35)])
    assert open_.moliere_radius == pytest.approx(2.0 * closed.moliere_radius, rel=2e-3)
    assert open_.depth_in_radiation_lengths == pytest.approx(closed.depth_in_radiation_lengths, rel=2e-3)
    assert open_.mip_loss == pytest.approx(closed.mip_loss, rel=2e-3)


def test_a_misspelt_material_names_the_right_one() -> None:
    with pytest.raises(UsageError, match="unknown material 'PbW04'; did you mean 'PbWO4'"):
        material("PbW04")
