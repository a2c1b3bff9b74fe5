"""From visible energies to layer energies: calibration, non-uniformity, noise, in this order."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from calomlp.simulation import draws

if TYPE_CHECKING:
    from calomlp.simulation.detector import Readout
    from calomlp.simulation.layers import Layers


def draw_calibration(readout: Readout, n_layers: int, generator: torch.Generator) -> Tensor:
    """Draw the error of each layer's calibration constant, one set for a detector: factors around 1, [n_layers]."""
    return 1.0 + readout.calibration_smear * draws.normal((n_layers,), generator)


def read_out(
    signal: Tensor, layers: Layers, readout: Readout, calibration: Tensor, generator: torch.Generator
) -> Tensor:
    """Measure layer energies [GeV], [n, L]; noise makes some of them negative.

    Args:
        signal: Visible energies on the electron scale [GeV], [n, L].
        layers: The calorimeter.
        readout: Its noise and non-uniformity.
        calibration: Factors of the detector, [L].
        generator: Source of the random numbers.
    """
    n, n_layers = signal.shape
    response = 1.0 + readout.non_uniformity * draws.normal((n, 1), generator)
    cell_noise = torch.hypot(readout.noise_mip * layers.mip_signal, signal.new_tensor(readout.noise_gev))  # [L]
    noise = cell_noise * math.sqrt(readout.cells_per_layer)
    measured: Tensor = signal * calibration * response + noise * draws.normal((n, n_layers), generator)
    return measured
