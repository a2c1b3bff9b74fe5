"""What a file says of how it was made, from the text that :mod:`calomlp.data.writer` puts beside the tree."""

from __future__ import annotations

import json
from typing import Any

from calomlp.data.reader import open_file
from calomlp.data.sources import Source
from calomlp.data.writer import PROVENANCE_KEY
from calomlp.errors import CalomlpError, InputError
from calomlp.provenance import canonical_json

_LARGEST = 1_000_000
"""Characters of a provenance that is looked at; that of a detector with a hundred groups of layers has a tenth."""


def read_origin(source: Source) -> dict[str, Any]:
    """Return the provenance of a file; empty for a file without one, or with one that cannot be read.

    Nothing depends on it but what figures say, so that a foreign text of this name is no reason to stop.
    """
    try:
        with open_file(source) as file:
            text = file.text(PROVENANCE_KEY)
        found = json.loads(text) if len(text) <= _LARGEST else None
        canonical_json(found)  # refuses numbers that are not finite, which a report cannot hold
    except Exception as error:  # uproot has no common error for damage
        if isinstance(error, CalomlpError) and not isinstance(error, InputError):  # a second signal
            raise
        return {}
    return found if isinstance(found, dict) else {}
