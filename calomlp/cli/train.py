"""Train a regressor on ROOT files and write a model.

With nothing but files, what the detector reads out is recognised and makes the features; inspect shows it beforehand.

calomlp train showers.root -o model.safetensors

calomlp train 'run*.root' -t beam_energy --also track_p --exclude 'veto_*' -o m.safetensors

calomlp simulate siw-ecal -o s.root | calomlp train - -o model.safetensors

calomlp train showers.root --find-lr

calomlp train showers.root --dry-run

torchrun --nproc-per-node 2 -m calomlp train showers.root -o model.safetensors

srun -n 4 calomlp train showers.root -o model.safetensors

Processes that torchrun or srun starts train one model together, the same as one process would, up to rounding; each
keeps its share of the events in memory. With --dropout, each draws its own masks.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from calomlp.cli.console import print_charts
from calomlp.data.flags import DATA
from calomlp.errors import UsageError
from calomlp.processes import find_meeting
from calomlp.settings import setting
from calomlp.streams import Record, ensure_folder
from calomlp.training.training_settings import OPTIMISATION, TrainingSettings
from calomlp.units import format_duration, parse_duration, parse_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calomlp.cli.session import Session
    from calomlp.data.sources import Source
    from calomlp.model.file import Model

STOPPING = "Stopping and going on"
_DRAWING_LINES = 20


@dataclass(frozen=True, kw_only=True)
class TrainSettings(TrainingSettings):
    """Settings of ``calomlp train``."""

    data: tuple[str, ...] = setting(
        (),
        "ROOT files: paths, quoted patterns, file.root:tree, 10GeV=file.root, @list.txt, URLs, or - for a pipe.",
        positional=True,
        metavar="FILE...",
    )
    output: str = setting("-", "Model file; - is standard output.", "-o", metavar="FILE")
    memory: int | None = setting(
        None,
        "Memory for the events of a process: 2GB; what does not fit is kept on disk. Default: a quarter of the job's.",
        parse=parse_size,
        panel=DATA,
        metavar="SIZE",
    )
    cache: str | None = setting(
        None,
        "Folder for a temporary file of the events that do not fit. Default: ~/.cache/calomlp.",
        panel=DATA,
        metavar="FOLDER",
    )
    find_lr: bool = setting(
        False, "Train nothing and write no model: try learning rates, and suggest one.", panel=OPTIMISATION
    )
    dry_run: bool = setting(
        False, "Train nothing and write nothing: read the files, and say what would be done and how long it takes."
    )
    history: str | None = setting(
        None, "Write the epochs as lines of JSON here, while the training goes on.", panel=STOPPING, metavar="FILE"
    )
    tensorboard: str | None = setting(
        None,
        "Show the epochs in TensorBoard, which reads this folder.",
        panel=STOPPING,
        metavar="FOLDER",
    )
    max_time: float | None = setting(
        None,
        "Write a checkpoint and stop after this time, such as 90s, 30m or 1h30m, with exit code 85.",
        parse=parse_duration,
        panel=STOPPING,
        metavar="TIME",
    )
    checkpoint: str | None = setting(
        None, "Where the state is kept until the model is written. Default: beside the model.", panel=STOPPING
    )
    checkpoint_every: float = setting(
        600.0, "Time between checkpoints; seconds, or 90s, 10m.", parse=parse_duration, panel=STOPPING, metavar="TIME"
    )


SETTINGS = TrainSettings


def run(session: Session, settings: TrainSettings) -> None:
    """Meet the other processes, if there are any, and train."""
    single = settings.find_lr or settings.dry_run or "-" in (*settings.data, *settings.friend)
    meeting = find_meeting(os.environ)
    if meeting is None:
        _train(session, settings)
        return
    if meeting.rank:
        session.mute()
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # it would describe at length how another process vanished
    from calomlp import group

    with group.together(meeting, settings.device) as processes:
        if single:
            raise UsageError("--find-lr, --dry-run and standard input are for one process, and this is one of several")
        session.run = replace(session.run, processes=processes, memory=session.run.memory // processes.local_size)
        _train(session, settings)


def _train(session: Session, settings: TrainSettings) -> None:
    """Find the files, train, write, report."""
    if not settings.data:
        raise UsageError("no data were named: give ROOT files, or - for standard input")
    if settings.find_lr and (settings.dry_run or settings.learning_rate):
        raise UsageError("--find-lr looks for a learning rate, and trains nothing: leave --dry-run and --lr out")
    checkpoint, last_good = _checkpoint(settings), _beside(settings.output, "last-good")
    if not (settings.find_lr or settings.dry_run):
        _check_outputs(session, settings, checkpoint, last_good)

    from calomlp.data.sources import befriend, energies_from_names, resolve
    from calomlp.model.file import read_model, write_model
    from calomlp.training.checkpoint import Watch
    from calomlp.training.reporter import reporter
    from calomlp.training.train import train

    hyperparameters = TrainingSettings(**{item.name: getattr(settings, item.name) for item in fields(TrainingSettings)})
    sources = befriend(resolve(settings.data, session.streams, tree=settings.tree), settings.friend, session.streams)
    if settings.target_from_name is not None:
        sources = energies_from_names(sources, settings.target_from_name)
    memory = settings.memory or session.run.memory
    folder = Path(settings.cache) if settings.cache else session.run.folder
    session.run = replace(session.run, memory=memory, folder=folder)
    first = not session.run.processes.rank
    init = read_model(settings.init, settings.init) if settings.init else None
    if settings.find_lr or settings.dry_run:
        (_find_rate if settings.find_lr else _rehearse)(session, sources, hyperparameters, init)
        return
    files = [place.path for source in sources for place in (source, *source.friends)]
    outputs = (settings.output, settings.history)
    session.streams.check_distinct(outputs, filter(None, (*files, settings.init)))
    watch = Watch(session.run.interrupt, checkpoint, settings.checkpoint_every, settings.max_time, last_good)
    destinations = (Path(name) if name and first else None for name in (settings.history, settings.tensorboard))
    with reporter(*destinations) as tell:
        model = train(sources, hyperparameters, session.run, watch=watch, init=init, tell=tell)
    if first:
        with session.streams.artefact(settings.output) as path:
            write_model(path, model)
    watch.discard(session.run.processes.rank)
    if not first:
        return
    outcome = model.outcome
    details = {
        "events": outcome.sides["training"].events,
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "validation_loss": outcome.validation_loss,
        "validation_resolution": outcome.sides["validation"].resolution,
        "ended": outcome.ended,
        "seconds": round(session.seconds, 3),
    }
    session.finish(
        Record("train", "model", settings.output, details),
        f"{settings.output}: {outcome.parameters} parameters, best of {outcome.epochs} epochs is "
        f"{outcome.best_epoch} ({outcome.ended}), trained on {outcome.sides['training'].events} events of "
        f"{model.envelope.energy_min:.3g} to {model.envelope.energy_max:.3g} GeV, {format_duration(session.seconds)}",
    )


def _check_outputs(session: Session, settings: TrainSettings, checkpoint: Path | None, last_good: Path | None) -> None:
    """Refuse what cannot be written before long work begins."""
    session.streams.check_output(settings.output, binary=True, force=session.force)
    if last_good is not None:
        session.streams.check_output(str(last_good), binary=True, force=session.force)
    begun = checkpoint is not None and checkpoint.exists()
    if settings.history is not None and not begun:
        session.streams.check_output(settings.history, binary=False, force=session.force)
    if settings.tensorboard is not None:
        ensure_folder(folder := Path(settings.tensorboard))
        if any(folder.iterdir()) and not (begun or session.force):
            raise UsageError(f"{folder} is not empty: choose another for --tensorboard, or give --force")
    if checkpoint is not None:
        ensure_folder(checkpoint.parent)
    elif settings.max_time is not None:
        raise UsageError("--max-time needs a place for the checkpoint: name a file with -o or --checkpoint")


def _find_rate(session: Session, sources: Sequence[Source], settings: TrainingSettings, init: Model | None) -> None:
    """Try learning rates, and show what the loss says to them."""
    from calomlp.training.rehearsal import find_rate

    curve = find_rate(sources, settings, session.run, init)
    if session.json:
        details = {**asdict(curve), "seconds": round(session.seconds, 3)}
        session.streams.print_line(Record("train", "learning-rate", "", details).to_json())
        return
    from calomlp.plotting.charts.learning import rates

    print_charts([rates(asdict(curve))], _DRAWING_LINES, session.streams)
    session.streams.print_line(
        f"suggested: --learning-rate {curve.suggestion:.2g}, a tenth of where the loss has doubled for good; the "
        f"automatic one is {curve.automatic:.2g}"
    )


def _rehearse(session: Session, sources: Sequence[Source], settings: TrainingSettings, init: Model | None) -> None:
    """Say what the training would do."""
    from calomlp.training.rehearsal import rehearse

    rehearsal = rehearse(sources, settings, session.run, init)
    if session.json:
        session.streams.print_line(Record("train", "plan", "", rehearsal.record()).to_json())
        return
    from calomlp.cli.console import print_blocks
    from calomlp.plotting.inspect_sections import rehearsal_sections
    from calomlp.plotting.render import text_blocks

    print_blocks(text_blocks(rehearsal_sections(rehearsal)), session.streams)


def _checkpoint(settings: TrainSettings) -> Path | None:
    """Return the path of the checkpoint."""
    return Path(settings.checkpoint) if settings.checkpoint is not None else _beside(settings.output, "checkpoint")


def _beside(output: str, suffix: str) -> Path | None:
    """Return a path beside the model; standard output, a device or a named pipe has no place beside it."""
    target = Path(output)
    return None if output == "-" or (target.exists() and not target.is_file()) else Path(f"{output}.{suffix}")
