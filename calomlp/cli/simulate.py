"""Simulate showers in a calorimeter and write them to a ROOT file.

Detectors: siw-ecal, crystal-ecal, shashlik, ahcal, combined, or a TOML file of your own; calomlp inspect shows them.

calomlp simulate siw-ecal -n 100k -E 1:100 -o showers.root

calomlp simulate ahcal -p pi- -E 5,10,20,50 --hits --seed 2 -o pions.root

calomlp simulate siw-ecal --set layers.absorber.thickness=3mm -o thicker.root

calomlp simulate siw-ecal -n 10M --shard 3/16 -o part3.root
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from calomlp.cli.session import Session
from calomlp.errors import UsageError, did_you_mean
from calomlp.settings import setting
from calomlp.streams import Record
from calomlp.units import format_duration, parse_count

BEAM = "Beam"
RUN = "Running"


@dataclass(frozen=True, kw_only=True)
class SimulateSettings:
    """Settings of ``calomlp simulate``."""

    detector: str = setting("", "A preset, or a TOML file.", positional=True, metavar="DETECTOR")
    output: str = setting("-", "ROOT file; - is standard output.", "-o", metavar="FILE")
    events: int = setting(10_000, "Number of events: 5000, 200k, 1M.", "-n", parse=parse_count, metavar="N")
    particle: str = setting(
        "e-",
        "e-, e+, gamma, mu-, mu+, pi-, pi+, p, or a mixture with weights: e-:1,pi-:3.",
        "-p",
        metavar="NAME",
    )
    energy: str = setting(
        "1:100", "Energies [GeV], kinetic for p: a range 1:100, or points 5,10,20.", "-E", metavar="GEV"
    )
    hits: bool = setting(False, "Simulate single cells and write those above threshold, hit_*.")
    set: tuple[str, ...] = setting(
        (), "Change a value of the detector, layers.absorber.thickness=3mm; repeat the flag.", metavar="PATH=VALUE"
    )
    seed: int = setting(1, "Seed: the same one gives the same events.")

    spectrum: str = setting("log", "Spectrum of a range: log (flat in ln E), flat, or E^-2.", panel=BEAM)
    momentum_spread: float = setting(
        0.0, "Relative spread of the energy around the nominal one, which becomes true_nominal_energy.", panel=BEAM
    )
    impact: str = setting(
        "cell",
        "Impact point on the front: cell (uniform over the central one), x,y, or a Gaussian beam x,y,sigma [cm].",
        panel=BEAM,
        metavar="CM",
    )
    angle: str = setting(
        "0", "Angle to the normal of the layers [degrees], or a range 0:20.", panel=BEAM, metavar="DEGREES"
    )

    shard: str = setting("0/1", "The share i of n of the events, i from 0 to n-1.", panel=RUN, metavar="I/N")
    jobs: int = setting(0, "Processes; 0 chooses. Their number does not change the events.", "-j", panel=RUN)
    device: str = setting("cpu", "Where to compute: cpu, cuda, cuda:1.", panel=RUN)
    container: str = setting("ttree", "How ROOT stores the events.", choices=("ttree", "rntuple"), panel=RUN)


SETTINGS = SimulateSettings


def run(session: Session, settings: SimulateSettings) -> None:
    """Check the request, generate block by block, write, report."""
    from calomlp.simulation.detector_file import PRESETS, load_detector
    from calomlp.simulation.request import Impact, Request, Spectrum, parse_angle, parse_particles

    if not settings.detector:
        raise UsageError(f"no detector was named: {did_you_mean('', PRESETS)}, or a TOML file")
    if settings.jobs < 0:
        raise UsageError(f"number of processes {settings.jobs} is not legal: at least 1, or 0 to choose it")
    request = Request(
        load_detector(settings.detector, settings.set),
        parse_particles(settings.particle),
        Spectrum.parse(settings.energy, shape=settings.spectrum),
        settings.events,
        settings.seed,
        _shard(settings.shard),
        hits=settings.hits,
        momentum_spread=settings.momentum_spread,
        impact=Impact.parse(settings.impact),
        angle=parse_angle(settings.angle),
    )
    session.streams.check_output(settings.output, binary=True, force=session.force)
    described = () if settings.detector in PRESETS else (settings.detector,)
    session.streams.check_distinct((settings.output,), described)

    from calomlp.simulation.output import write_dataset

    # Neither the name of the file nor how the work was shared is a property of the events.
    recorded = {name: value for name, value in asdict(settings).items() if name not in ("output", "jobs")}
    with session.streams.artefact(settings.output) as path:
        write_dataset(
            request,
            path,
            settings.container,
            recorded,
            session.run,
            jobs=settings.jobs,
            device=settings.device,
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
