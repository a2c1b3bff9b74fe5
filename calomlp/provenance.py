"""Provenance of an artefact: versions, command line, configuration, inputs.

There is no clock among them, so that the same command gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from dataclasses import asdict, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from calomlp import __version__

PACKAGES = ("numpy", "torch", "uproot")
"""The dependencies whose version can change a number."""


def provenance(**details: Any) -> dict[str, Any]:
    """Return the provenance of an artefact as a JSON-serialisable mapping.

    Args:
        details: What only the caller knows, such as the resolved settings or the inputs.
    """
    return {
        "calomlp": __version__,
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "machine": platform.machine(),
        "command": ["calomlp", *sys.argv[1:]] if Path(sys.argv[0]).stem in {"calomlp", "__main__"} else None,
        **details,
    }


def canonical_json(value: Any) -> str:
    """Write a value as JSON in the one form that is hashed and stored: sorted keys, no spaces, no NaN."""
    return json.dumps(value, default=_as_dict, sort_keys=True, separators=(",", ":"), allow_nan=False)


def fingerprint(value: Any) -> str:
    """Return 32 hexadecimal digits that identify a JSON-serialisable value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:32]


def _as_dict(value: Any) -> dict[str, Any]:
    """Return a dataclass or a mapping as JSON can hold it."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else dict(value)
