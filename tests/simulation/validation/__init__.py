"""What the simulation is checked against: measurements, full simulation, published formulas, each with its tolerance.

``python -m tests.simulation.validation`` prints the table of all checks in Markdown; the tests run the same checks.
Targets that say "model" are the published parametrisation evaluated independently, with scipy.
"""

from tests.simulation.validation import electromagnetic, hadronic, readout
from tests.simulation.validation.tools import CHECKS, Check, Row, line

__all__ = ["CHECKS", "Check", "Row", "electromagnetic", "hadronic", "line", "readout"]
