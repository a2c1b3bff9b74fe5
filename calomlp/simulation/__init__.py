"""Calorimeter simulation: a detector description, electromagnetic and hadronic showers, readout, events in blocks.

The names exported here load no tensor library: a command line can list presets and check a request in no time. Events
come from :func:`calomlp.simulation.generate.generate`.
"""

from __future__ import annotations

from calomlp.simulation.detector import Detector
from calomlp.simulation.detector_file import PRESETS, load_detector
from calomlp.simulation.request import Request, Spectrum, provenance

__all__ = ["PRESETS", "Detector", "Request", "Spectrum", "load_detector", "provenance"]
