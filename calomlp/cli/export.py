"""Export a model to ONNX, for C++ frameworks and other runtimes.

One graph goes from the features to the energy in GeV: scaling, anchor, network or ensemble, closure correction, and the
predicted uncertainty where there is one. The features themselves are computed outside of it: the contract says which,
as a table on a terminal, in the record otherwise, and in the metadata of the file.

Before anything is written the graph is compared with the model, on events of the training files, of --data, or on drawn
ones if there are none.

calomlp export model.safetensors -o model.onnx

calomlp export model.safetensors --data 'testbeam/*.root' -o model.onnx

calomlp train showers.root | calomlp export - -o model.onnx
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calomlp.errors import ArtefactError, InputError, MissingDependencyError, UsageError
from calomlp.settings import setting
from calomlp.streams import Record

if TYPE_CHECKING:
    from calomlp.cli.session import Session
    from calomlp.model.file import Model

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """Settings of ``calomlp export``."""

    model: str = setting("", "Model file, or - for a pipe.", positional=True, metavar="MODEL")
    output: str = setting("-", "ONNX file; - is standard output.", "-o", metavar="FILE")
    data: tuple[str, ...] = setting(
        (),
        "Compare on the events of these ROOT files, as train names them; repeatable. Default: those of the training.",
        metavar="FILE",
    )
    tolerance: float = setting(
        1e-5, "Write nothing if an energy deviates by more than this share of it; an uncertainty by ten times more."
    )


SETTINGS = ExportSettings


def run(session: Session, settings: ExportSettings) -> None:
    """Read the model, make the graph, compare, write, report."""
    if not 0 < settings.tolerance < 1:
        raise UsageError(f"--tolerance {settings.tolerance:g}: a share of the energy is between 0 and 1")
    session.streams.check_output(settings.output, binary=True, force=session.force)
    try:
        from calomlp.model.export import export
    except ImportError as error:
        raise MissingDependencyError(
            "export needs packages that are not installed: pip install 'calomlp[onnx]'"
        ) from error
    from calomlp.model.file import read_model

    path, label = session.one_path(settings.model, "model")
    session.streams.check_distinct((settings.output,), (path, *settings.data))
    model = read_model(path, label)
    features, origin = _events(session, settings, model, Path(path).parent)
    made = export(model, features, origin, settings.tolerance)
    with session.streams.artefact(settings.output) as temporary:
        temporary.write_bytes(made.content)
    largest = max(made.contract["verification"]["deviations"].values())
    logger.info("deviates from the model by at most %.1e on %d %s", largest, len(features), origin)
    if settings.output != "-" and not session.json:
        from calomlp.cli.console import print_blocks
        from calomlp.plotting.inspect_sections import export_sections
        from calomlp.plotting.render import text_blocks

        print_blocks(text_blocks(export_sections(made.contract, settings.output)), session.streams)
    session.finish(
        Record("export", "onnx", settings.output, {"contract": made.contract}),
        f"{settings.output}: features to energy, within {largest:.1e} of the model",
    )


def _events(session: Session, settings: ExportSettings, model: Model, folder: Path) -> tuple[Any, str]:
    """Return features to compare on, shape [events, columns], and what events these are."""
    from calomlp.data.sources import resolve
    from calomlp.evaluation.subjects import training_sources
    from calomlp.model.export import read_features, synthetic_features

    if settings.data:
        sources = resolve(settings.data, session.streams, tree=model.files[0].tree)
        session.streams.check_distinct((settings.output,), (source.path for source in sources))
        features = read_features(model, sources)
        if not len(features):
            raise InputError(f"{', '.join(map(str, sources))}: no event to compare on")
        return features, "events of --data"
    try:
        features = read_features(model, training_sources(model, folder))
    except (ArtefactError, InputError, MissingDependencyError) as error:
        logger.warning("compared on drawn events: %s", error)
    else:
        if len(features):
            return features, "events of the training files"
    return synthetic_features(model.envelope), "events drawn inside and beyond the range of the features"
