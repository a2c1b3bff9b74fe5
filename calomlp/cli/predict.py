"""Write the energies of data that have no truth to a ROOT file, with an entry for each of theirs, in the same order.

The tree is called events. Its branches are calo_energy and calo_anchor, which is the linear calibration, in GeV;
calo_in_domain, which is false for events that are unlike those of the training; and calo_sigma in GeV if the model
predicts a spread. An event that does not pass the cut, or has a value that is missing or not finite, has the energy
NaN, and is counted. So the tree can be a friend of the data: data->AddFriend("calo=events", "energies.root").

calomlp predict model.safetensors data.root -o energies.root

calomlp predict model.safetensors 'run*.root' -o energies/

calomlp predict model.safetensors 'run*.root' --keep run,event -o energies.root

calomlp predict model.safetensors wide=wide.safetensors data.root -o energies.root

calomlp predict model.safetensors - -o - < data.root > energies.root

Several files: into a folder, one file for each, with the same name; or into one file, whose tree goes on from file to
file as a TChain does, with calo_file and calo_entry to tell where an entry is from. A model that was trained with
--explode makes lists, one energy for each object; one that was trained with --group-by makes one entry for each run of
entries with the same number, which is kept. More models in the place of data: their branches end in _NAME.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from calomlp.data.flags import DATA, ON_BAD, SKIP, FileSettings
from calomlp.errors import ArtefactError, UsageError
from calomlp.settings import setting
from calomlp.streams import STDIN, SUFFIXES, Record
from calomlp.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calomlp.cli.session import Session
    from calomlp.data.sample import Recipe
    from calomlp.data.sources import Source
    from calomlp.model.file import Model
    from calomlp.prediction.energies import Predicted

logger = logging.getLogger(__name__)

_AS_TRAINED = "as-trained"


@dataclass(frozen=True, kw_only=True)
class _PredictSettings:
    model: str = setting("", "Model file, or - for a pipe.", positional=True, metavar="MODEL")
    data: tuple[str, ...] = setting(
        (),
        "ROOT files: paths, quoted patterns, file.root:tree, @list.txt, URLs, or - for a pipe. More models: "
        "wide=wide.safetensors, or wide.safetensors for short.",
        positional=True,
        metavar="FILE...",
    )
    output: str = setting(
        "-", "ROOT file, or folder/ for one file per input; - is standard output.", "-o", metavar="FILE"
    )
    keep: tuple[str, ...] = setting(
        (),
        "Branches to copy, one number in each entry: run,event. Repeatable.",
        metavar="BRANCH,...",
    )
    container: str = setting("ttree", "How ROOT stores the energies.", choices=("ttree", "rntuple"))
    cut: str | None = setting(
        None,
        "Measure only events that meet this condition; '' for all. Default: as in training.",
        panel=DATA,
        metavar="EXPR",
    )
    on_bad: str = setting(
        _AS_TRAINED,
        "A value that is missing or not finite: stop, make the energy NaN (skip), or take zero; which is counted. As "
        "trained means zero for a model that was trained with zero, and else skip.",
        choices=(_AS_TRAINED, *ON_BAD),
        panel=DATA,
    )


@dataclass(frozen=True, kw_only=True)
class PredictSettings(FileSettings, _PredictSettings):
    """Settings of ``calomlp predict``."""


SETTINGS = PredictSettings


def run(session: Session, settings: PredictSettings) -> None:
    """Read the models, find the files, predict, report."""
    session.refuse_processes("give each job of an array some of the files")
    in_folder = settings.output.endswith("/") or Path(settings.output).is_dir()
    if not in_folder:
        session.streams.check_output(settings.output, binary=True, force=session.force)
        if settings.on_bad_file == SKIP:
            raise UsageError("--on-bad-file skip leaves the output of a file out: name a folder, -o energies/")

    from calomlp.data.sources import befriend, resolve
    from calomlp.prediction.energies import PredictionTask, predict

    names = [name for name in settings.data if not _is_model(name)]
    models = _models(session, settings)
    if not names:
        raise UsageError("no data were named: give ROOT files, or - for standard input")
    sources = resolve(names, session.streams, tree=settings.tree)
    sources = befriend(sources, settings.friend, session.streams)
    outputs = _in_folder(settings.output, sources) if in_folder else {settings.output: sources}
    for output in outputs if in_folder else ():
        session.streams.check_output(output, binary=True, force=session.force)
    given = [settings.model, *(name.rpartition("=")[2] for name in settings.data if _is_model(name))]
    files = [place.path for source in sources for place in (source, *source.friends)]
    session.streams.check_distinct(outputs, [*given, *files])
    keep = tuple(name.strip() for text in settings.keep for name in text.split(",") if name.strip())
    recipe = _recipe(models[""], settings)
    request = PredictionTask(models, recipe, keep, settings.container, settings.on_bad_file == SKIP)
    predicted = predict(request, outputs, session.streams.artefact, session.run)
    _report(session, settings, predicted, recipe.cut.text if recipe.cut else "", in_folder=in_folder)


def _is_model(name: str) -> bool:
    return SUFFIXES.get(PurePath(name).suffix) == "model"


def _models(session: Session, settings: PredictSettings) -> dict[str, Model]:
    """Return the models by what their branches end in.

    Raises:
        UsageError: If two have the same name.
        ArtefactError: If their events are not the same.
    """
    from calomlp.evaluation.subjects import parse_comparison
    from calomlp.model.file import read_model
    from calomlp.prediction.energies import branch_of

    path, label = session.one_path(settings.model, "model")
    models = {"": read_model(path, label)}
    for text in filter(_is_model, settings.data):
        written, _ = parse_comparison(text)
        name, path = branch_of(written), text.rpartition("=")[2]
        if name in models:
            raise UsageError(f"two models are called {name!r}: name one of them otherwise, as in other={path}")
        models[name] = read_model(path, path)
        ours, theirs = (replace(model.recipe.layout, tree="") for model in (models[""], models[name]))
        if ours != theirs:
            raise ArtefactError(f"{path}: was trained with other --explode or --group-by than {label}")
    return models


def _recipe(model: Model, settings: PredictSettings) -> Recipe:
    """Return the recipe of the model with what the user said of these files."""
    from calomlp.data.flags import ZERO
    from calomlp.data.sample import parse_cut

    as_trained = ZERO if model.recipe.on_bad == ZERO else SKIP
    return replace(
        model.recipe,
        layout=replace(model.recipe.layout, tree=model.files[0].tree),
        cut=model.recipe.cut if settings.cut is None else parse_cut(settings.cut),
        missing=settings.missing or model.recipe.missing,
        on_bad=as_trained if settings.on_bad == _AS_TRAINED else settings.on_bad,
    )


def _in_folder(folder: str, sources: Sequence[Source]) -> dict[str, list[Source]]:
    """Return the files by the names of their outputs in a folder.

    Raises:
        UsageError: If two would have the same.
    """
    outputs: dict[str, list[Source]] = {}
    for source in sources:
        name = "stdin.root" if source.label == STDIN else PurePath(source.label.partition("?")[0]).name
        output = str(Path(folder) / name)
        if output in outputs:
            raise UsageError(f"{source} and {outputs[output][0]} would both become {output}: predict them one by one")
        outputs[output] = [source]
    return outputs


def _report(session: Session, settings: PredictSettings, predicted: Predicted, cut: str, *, in_folder: bool) -> None:
    """Say what was done, and what has no energy or one that cannot be trusted."""
    for sentence in predicted.losses():
        logger.warning("%s", sentence)
    for sentence in predicted.doubts():
        logger.warning("%s", sentence)
    if predicted.tally.cut:
        logger.info("%d events do not pass the cut %s: their energy is NaN", predicted.tally.cut, cut)
    summary: dict[str, Any] = {
        "entries": predicted.entries,
        "events": predicted.tally.events,
        "cut": predicted.tally.cut,
        **predicted.counts(""),
        "seconds": round(session.seconds, 3),
    }
    if others := {name: predicted.counts(name) for name in predicted.of_models if name}:
        summary["models"] = others
    if in_folder:
        summary["files"] = predicted.outputs
    counts, tally = predicted.counts(""), predicted.tally
    session.finish(
        Record("predict", "dataset", settings.output, summary),
        f"{settings.output}: energies of {tally.events} events, {counts['outside_domain']} unlike those of the "
        f"training, {counts['not_measured']} not measured, {tally.cut} cut, {format_duration(session.seconds)}",
    )
