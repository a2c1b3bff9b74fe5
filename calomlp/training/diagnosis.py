"""Is the network overtrained, is it any better than a line, and would more data help?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from calomlp.model.outcome import Overtraining, Performance

OVERTRAINED, SIGNIFICANT, DOUBTFUL = 0.02, 3.0, 2.0
"""Residuals that are wider than in training by more than this, and by more standard errors than that, or nearly so."""

WORTHWHILE = 0.005
"""An improvement of the resolution by less than this is not worth twice the events."""

CURVE = (8, 4, 2)
"""A learning curve is made of trainings on the eighth, the fourth and the half of the events, and on all."""

SIGMA_68_ERROR = 1.3
"""The standard error of half the distance of two quantiles of a Gaussian, 15.87 and 84.13 %, is 1.3 sigma/sqrt(2 n)."""

WIDTH_EVENTS = 1 << 20
"""A width is that of at most so many events, evenly taken, which leave it uncertain by a per mille."""


def overtraining(sides: Mapping[str, Performance]) -> tuple[Overtraining, str]:
    """Tell whether a network does better on the events that it was trained on: a status, and a sentence.

    Args:
        sides: For ``training``, ``validation`` and, if there are such events, ``test``. What is compared is
            the width of the response in units of what is expected, so that the sides may differ in their energies.
    """
    name = "test" if "test" in sides else "validation"
    seen, unseen = sides["training"], sides[name]
    excess = unseen.pull / seen.pull - 1 if seen.pull else 0.0  # of events without a spread
    measured = (min(side.events, WIDTH_EVENTS) for side in (seen, unseen))
    error = SIGMA_68_ERROR * math.sqrt(sum(1 / (2 * events) for events in measured))
    signs = excess / error if excess > OVERTRAINED else 0.0
    status = Overtraining.NONE
    if signs > DOUBTFUL:
        status = Overtraining.OVERTRAINED if signs > SIGNIFICANT else Overtraining.PERHAPS
    remedy = "; more events, fewer units, --weight-decay or --dropout help" if signs > SIGNIFICANT else ""
    wider = "wider" if excess >= 0 else "narrower"
    kind = f"the residuals of {name} events, in units of what is expected, are {wider} than those of training events by"
    return status, f"{status}: {kind} ({100 * abs(excess):.1f} +- {100 * error:.1f}) %{remedy}"


def worse(resolutions: Mapping[str, float], events: int, regress: str) -> str:
    """Say that a network is worse than what needs none; nothing if it is not, or that may be luck.

    Args:
        resolutions: sigma_68 of the response of events that it was not trained on: ``network``, and others.
        events: How many these are.
        regress: What the network was asked for.
    """
    error = SIGMA_68_ERROR / math.sqrt(events)  # of a ratio; for the same events it is smaller
    network, others = resolutions["network"], {name: value for name, value in resolutions.items() if name != "network"}
    better = [name for name, value in others.items() if network > value * (1 + DOUBTFUL * error)]
    if not better:
        return ""
    numbers = " and ".join(f"{100 * others[name]:.2f} % of the {name}" for name in better)
    remedies = "more events or other features" + (", or --regress ratio," if regress != "ratio" else "")
    return (
        f"worse than without a network: the resolution (sigma_68) of {events} events that it was not trained on is "
        f"{100 * network:.2f} %, beside {numbers}; {remedies} may help"
    )


def more_data(curve: Sequence[Performance]) -> str:
    """Say whether more events would help, from the last step of a learning curve.

    Args:
        curve: Of trainings on more and more events.
    """
    half, whole = curve[-2:]
    gain = 1 - whole.resolution / half.resolution
    advice = "more events would still help" if gain > WORTHWHILE else "more events of this kind would bring little"
    events = f"from {half.events} to {whole.events} events"
    return f"{events} the resolution improved by {100 * gain:.1f} %: {advice}"
