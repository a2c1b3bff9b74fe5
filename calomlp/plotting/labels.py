"""What users call things in figures."""

from __future__ import annotations

from collections.abc import Sequence

from calomlp.errors import UsageError, did_you_mean


def parse_labels(labels: Sequence[str], names: Sequence[str], what: str) -> dict[str, str]:
    """Return what users call things, by their name.

    Args:
        labels: As users write them, ``regressor=Deep network``.
        names: What there is.
        what: What these are.

    Raises:
        UsageError: If a label has another form, or there is no such name.
    """
    wanted: dict[str, str] = {}
    for text in labels:
        name, _, label = (part.strip() for part in text.partition("="))
        if not label:
            raise UsageError(f"--label {text!r} is not of the form NAME=LABEL, such as 'regressor=Deep network'")
        if name not in names:
            raise UsageError(f"--label {text!r}: no {what} {name!r}: {did_you_mean(name, names)}")
        if label in wanted.values():
            raise UsageError(f"--label {text!r}: {label!r} is the label of another one already")
        wanted[name] = label
    return wanted


def check_mathematics(text: str, flag: str) -> None:
    """Refuse a text with mathematics that cannot be set.

    Raises:
        UsageError: Naming it.
    """
    if "$" not in text:  # most have none, and matplotlib takes its time
        return
    from matplotlib.cbook import is_math_text  # noqa: PLC0415
    from matplotlib.mathtext import MathTextParser  # noqa: PLC0415

    if not is_math_text(text):
        return
    try:
        MathTextParser("path").parse(text)
    except ValueError as error:
        said = str(error).splitlines()[-1]
        raise UsageError(f"--{flag} '{text}': mathematics between dollar signs that cannot be set: {said}") from error
