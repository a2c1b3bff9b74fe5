"""Simulate showers in a calorimeter and write them to a ROOT file.

Detectors: siw-ecal, crystal-ecal, shashlik, ahcal, or a TOML file of your own.

calomlp simulate siw-ecal -n 100k -E 1:100 -o showers.root

calomlp simulate ahcal -p pi- -E 5,10,20,50 --seed 2 -o pions.root

calomlp simulate siw-ecal -n 10M --shard 3/16 -o part3.root
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from calomlp.cli.session import Session
from calomlp.errors import UsageError, did_you_mean
from calomlp.settings import setting
from calomlp.streams import Record
from calomlp.units import format_duration, parse_count


@dataclass(frozen=True, kw_only=True)
class SimulateSettings:
    """What ``calomlp simulate`` can be asked for."""

    detector: str = setting("", "A preset, or a TOML file.", positional=True, metavar="DETECTOR")
    output: str = setting("-", "ROOT file; - is standard output.", "-o", metavar="FILE")
    events: int = setting(10_000, "Number of events: 5000, 200k, 1M.", "-n", parse=parse_count, metavar="N")
    energy: str = setting("1:100", "Energies [GeV]: a range 1:100, or points 5,10,20.", "-E", metavar="GEV")
    spectrum: str = setting("log", "Spectrum of a range: flat in ln E, or flat in E.", choices=("log", "flat"))
    particle: str = setting("e-", "e-, e+; in ahcal also pi-, pi+.", "-p")
    seed: int = setting(1, "Seed: the same one gives the same events.")
    shard: str = setting("0/1", "The share i of n of the events, i from 0 to n-1.", metavar="I/N")
    container: str = setting("ttree", "How ROOT stores the events.", choices=("ttree", "rntuple"))


SETTINGS = SimulateSettings


def run(session: Session, settings: SimulateSettings) -> None:
    """Check the request, generate block by block, write, report."""
    from calomlp.simulation.detector_file import PRESETS, load_detector
    from calomlp.simulation.request import Request, Spectrum

    if not settings.detector:
        raise UsageError(f"no detector was named: {did_you_mean('', PRESETS)}, or a TOML file")
    request = Request(
        load_detector(settings.detector),
        settings.particle,
        Spectrum.parse(settings.energy, shape=settings.spectrum),
        settings.events,
        settings.seed,
        _shard(settings.shard),
    )
    session.streams.check_output(settings.output, binary=True, force=session.force)

    from calomlp.simulation.dataset import write_dataset

    with session.streams.artefact(settings.output) as path:
        write_dataset(
            request, path, settings.container, asdict(settings), progress=session.progress, interrupt=session.interrupt
        )
        size = path.stat().st_size
    n_events, n_layers = len(request.event_range), request.detector.n_layers
    session.finish(
        Record("simulate", "dataset", settings.output, {"events": n_events, "seconds": round(session.seconds, 3)}),
        f"{settings.output}: {n_events} events of {settings.particle} in {request.detector.name}, "
        f"{n_layers} layer{'s' if n_layers > 1 else ''}, {size / 1e6:.1f} MB, {format_duration(session.seconds)}",
    )


def _shard(text: str) -> tuple[int, int]:
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        raise UsageError(f"shard {text!r} is not of the form i/n, for example 3/16") from None
    return index, count
