"""The model file: weights in the safetensors format, everything else as one JSON document in its header."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from calomlp.data.sample import Recipe
from calomlp.data.sources import FileRecord
from calomlp.documents import from_document, to_document
from calomlp.errors import ArtefactError, InputError
from calomlp.model.envelope import Envelope
from calomlp.model.network import Architecture
from calomlp.model.outcome import TrainingOutcome
from calomlp.model.regressor import Regressor
from calomlp.provenance import canonical_json

MODEL_SCHEMA = "calomlp.model/1"
_HEADER_KEY = "calomlp"
_BESIDE = ("files", "envelope", "history", "summary", "settings", "provenance")  # regressor and recipe


@dataclass(frozen=True)
class Model:
    """A regressor with all that is needed to apply it to a file and to know where it came from."""

    regressor: Regressor  # from features to energies
    recipe: Recipe  # from files to features
    files: tuple[FileRecord, ...]  # the files that it was trained on
    envelope: Envelope  # the region that it was trained in
    history: tuple[dict[str, float], ...]  # one entry for each epoch
    summary: dict[str, Any]  # outcome of the training, as it is recorded
    settings: dict[str, Any]  # the resolved settings of the training
    provenance: dict[str, Any]  # versions and command

    @property
    def outcome(self) -> TrainingOutcome:
        """Outcome of the training."""
        return TrainingOutcome.read(self.summary)

    def weights_mark(self) -> str:
        """Return what tells its weights from all others."""
        return sha256(safetensors.torch.save(self.tensors())).hexdigest()

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors of the regressor by name."""
        return {name: tensor.detach().cpu().contiguous() for name, tensor in self.regressor.state_dict().items()}


def write_model(path: Path, model: Model) -> None:
    """Write a model; equal models make equal files."""
    document = {
        "schema": MODEL_SCHEMA,
        **to_document(model.recipe),
        "architecture": to_document(model.regressor.architecture),
        **{name: to_document(getattr(model, name)) for name in _BESIDE},
    }
    path.write_bytes(safetensors.torch.save(model.tensors(), {_HEADER_KEY: canonical_json(document)}))


def read_model(path: str, label: str) -> Model:
    """Read a model.

    Args:
        path: The file.
        label: What messages call it.

    Raises:
        ArtefactError: If this is not a model that this version can read.
    """
    document = read_header(path, label)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        return _build(document, tensors)
    except RuntimeError as error:
        raise ArtefactError(f"{label}: this model has another form than those of this version of calomlp") from error
    except (AttributeError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ArtefactError(f"{label}: this model is damaged: {type(error).__name__}: {error}") from error


def read_header(path: str, label: str) -> dict[str, Any]:
    """Read the JSON document of a model without its weights.

    Raises:
        ArtefactError: If this is not a model of calomlp, or one of another schema.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        document: Any = json.loads(metadata[_HEADER_KEY])
    except OSError as error:
        raise InputError(f"{label}: cannot open this model: {error.strerror or error}") from error
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ArtefactError(f"{label}: not a model written by calomlp train") from error
    if not isinstance(document, dict):
        raise ArtefactError(f"{label}: this model is damaged: its header is no JSON object")
    if document.get("schema") != MODEL_SCHEMA:
        raise ArtefactError(f"{label}: has schema {document.get('schema')!r}, this version reads {MODEL_SCHEMA!r}")
    return document


def _build(document: Mapping[str, Any], tensors: Mapping[str, Any]) -> Model:
    regressor = Regressor(from_document(Architecture, document["architecture"]))
    added = ("region.", "compensation.reference")  # what older models do not have, and then does what was always done
    as_before = {name: value for name, value in regressor.state_dict().items() if name.startswith(added)}
    regressor.load_state_dict(as_before | dict(tensors))
    regressor.train(mode=False)
    return from_document(Model, {**document, "regressor": regressor, "recipe": document})  # type: ignore[no-any-return]
