"""Roles of branches from their names: tables of words, and rules in order of precedence.

A name is cut into words at underscores, dots, slashes, digits and capitals, so that ``mcal_energy`` holds the words
``mcal`` and ``energy`` and no ``mc``. Some words decide wherever they stand, such as ``true`` or ``leak``; otherwise
the last one, the head, does: ``hit_x`` is a position of hits, ``hit_energy`` their energy.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from calomlp.units import energy_unit

MISSING_MARKS = (-99999.0, -9999.0, -1000.0, -999.0, -99.0)
"""Values that stand for a missing one in many files."""


class Role(StrEnum):
    """Role of a branch."""

    ENERGY = "an energy that the detector reads out"
    SIGNAL = "a signal in units of the electronics"
    TRANSVERSE = "a transverse energy or momentum"
    LAYER = "the number of a layer"
    POSITION = "a position or the number of a cell"
    TIME = "a time"
    SHAPE = "a width or another shape"
    COUNT = "a number of hits or cells"
    CHARGE = "a charge, electric or of a signal"
    MOMENTUM = "a momentum"
    ERROR = "an uncertainty"
    TRUTH = "looks like truth"
    MATERIAL = "energy in a material, as only a simulation knows it"
    SIMULATION = "known to a simulation only"
    BOOKKEEPING = "counts or labels events, or what is in them"
    OTHER = "not recognised as a readout"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_TRUTH = _words(
    "true truth mc mctruth gen genpart genparticle generated generator sim simulated pdg pdgid lhe mcparticle "
    "mcparticles ekin kinetic kin trueenergy etrue egen emc ebeam etruth genenergy mcenergy beamenergy einc einit "
    "eprimary truee gene mce beame"
)
_BEAM = _words("beam incident incoming initial primary primaries nominal gun inc init")
_ENERGY_OF_BEAM = _words("energy e en ene p momentum mom pz")
_READ_OUT = _words(
    "cal calo calorimeter hit hits cell cells digi ecal hcal barrel endcap tower towers rechit rechits pmt sipm apd"
)
_BOOKKEEPING = _words(
    "id ids uid index idx event evt events eventid evtid eventno evtno eventnumber entry entries run runno runnumber "
    "subrun lumi lumiblock luminosity block seed timestamp date clock unixtime daq spill file version orbit bx bcid "
    "status flag flags bits mask quality weight weights link links relation association parent parents mother "
    "daughter daughters begin end collectionid cellid detid pid particleid trigger hlt l1"
)
_MATERIAL = _words("abs absorber absorbers act active passive dead eabs eact edead epassive")
_LOSS = _words(
    "leak leakage leaked leaks escape escaped escaping esc lost loss losses invisible killed kill eleak eloss"
)
_SIMULATION = _LOSS | _words(
    "cpu cputime realtime "
    "secondaries secondary nsecondaries labs lgap step steps tracklength tracklen vertex vtx origin production process "
    "interaction nuclear binding neutrino neutrinos nu gate world wall walltime elapsed"
)
_ERROR = _words("err error errors unc uncertainty dev chi")
_TIME = _words("time times t tdc toa tot0 tof timing")
_LAYER = _words("layer layers lay ilay ilayer layerid depth plane planes slab k")
_POSITION = _words(
    "x y z ix iy iz u v eta phi theta ieta iphi itheta costheta row rows col cols column columns irow icol i j pos "
    "position positions posx posy posz xpos ypos zpos cog barycenter barycentre center centre centroid cell tilex tiley"
)
_STRONG_SHAPE = _words(
    "sigma rms width ratio frac fraction fractions r9 sieie sietaieta sipip siphiiphi hoe skew skewness kurtosis "
    "dispersion spread asymmetry asym elongation moment moments"
)
_SHAPE = _STRONG_SHAPE | _words(
    "shape lateral "
    "srr see spp szz srrtot seetot spptot srrmax showerlength coreshowerlength firstlayer maxlayer "
    "start density radius length"
)
_MOMENTUM = _words("p px py pz ptot mom momentum momenta mass")
_TRANSVERSE = _words("pt et sumet sumpt rawpt ptraw etraw")
_ENERGY = _words(
    "energy energies ene en e esum etot evis eraw edep edeps deposit deposits deposited visible vis egap ehit ecell "
    "eem ehad edeposit erec ereco ecalib eclus ecluster"
)
_INITIALS = _words("e en")
"""Words of an energy at the beginning or the end of a name; in the middle they stand for anything."""

_SHORT = 3
"""Names of more words than this are not that of a detector, though they may have one of its words."""

_NO_CALORIMETER = _words("tracker tpc vxd met puppi sv higgs")
_DIRECTION = _words("momentum mom direction dir thrust sphericity field magnetic reference referencepoint")
_FLAG = _words("flag hlt l1 trigger pass passed is has")
_DETECTOR = _words(
    "ecal hcal ho hf ahcal dhcal sdhcal emcal hadcal mcal lumical bcal fcal emec hec zdc calo cal calorimeter tcmt "
    "tailcatcher preshower prs scint sci crystal crystals xtal xtals tower towers cherenkov cerenkov ckov cher scin "
    "scintillation scintillator gap lar larg tile tiles light"
)
_SIGNAL = _words(
    "adc qdc amplitude amplitudes amp signal signals integral q npe pe pes pulse pulseheight ph charges pmt sipm apd"
)
_QUANTA = _words("npe pe pes")  # photo-electrons, whose number is a signal
_COUNTED = re.compile(
    r"hit|cell|tower|crystal|xtal|pad|channel|chan|clus|strip|pixel|digi|tile|layer|sat", re.IGNORECASE
)
_NUMBER_OF = re.compile(
    r"^(n|N|nb|num|Num|number|Number|count|Count)(?=_|\d|$|of)|(^|[_./])(n|N|num|Num)(?=[A-Z])"
    r"|(^|[_./])[nN](?=(hit|cell|tow|crys|clus|pad|chan|tile|strip))"
)
_MULTIPLICITY = _words("multiplicity mult size nhit nhits ncell ncells nclus ncluster ntower ntowers nxtal nlayers")
_ELECTRIC = _words("track trk tracks tight mu muon electron tau lepton particle part jet")
LAYERED = _words("layer layers lay plane planes slab slabs depth profile longitudinal laystrip")
"""Words of arrays with an element for each layer, which have a depth."""

CELLS = _words("crystal crystals xtal xtals tower towers cell cells pad pads channel channels tile tiles")
"""Words of what is read out one by one; crystals and towers have no depth."""

SECOND_HAND = _words("contribution contributions contrib birks sim simhit simulated digi total sum all raw")
"""Words of what holds the same deposits as a branch without them, a second time."""

OBJECTS = _words(
    "cluster clus clu cl calo cal hit hits cell cells tower ecal hcal shower cog local global hottest max seed impact "
    "track trk beam dwc hodo object obj reco rec mean center centre pos position"
)
"""Words of what is measured, where other words stand for jets, vertices or further particles."""

AXES = {
    "x": ("x", "posx", "xpos", "tilex", "ix", "icol", "col", "column", "i", "u"),
    "y": ("y", "posy", "ypos", "tiley", "iy", "irow", "row", "j", "v"),
    "z": ("z", "posz", "zpos", "iz"),
}
"""Last words of the names of positions, the likeliest first."""

BEAM_LINE = _words("mcp veto beam hodo hodoscope sc dwc tof trigger ckov1 ckov2 muon mon monitor")
"""Words of counters in front of the calorimeter."""

_UNIT = re.compile(r"(?<=[a-z_./])_?(eV|[kMGT]eV|[kmgt]ev|[KMGT]EV)$")
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_COMPOUND = re.compile(r"^[Ee](abs|act|dead|gap|dep|vis|tot|sum|raw|leak|cell|hit|birks|true|gen|beam|mc|calo?)$")
_JOINED = re.compile(r"energ|edep|amplitude|xtal|crystal")
_NO_ENERGY = (
    _POSITION
    | _TIME
    | _LAYER
    | _SHAPE
    | _words("pdg pdgid charge px py pz mass mc gen sim simulated lhe mcparticle mcparticles genpart genparticle")
)
_NEVER_TRUE = _BOOKKEEPING | _ERROR | _SIMULATION | _words("met charge weight")
_SUMS = re.compile(r"^e\d+(x\d+)?$", re.IGNORECASE)  # E1, e9, e3x3
_R9 = re.compile(r"^r9$", re.IGNORECASE)
_START = re.compile(r"^(v[xyz]|[xyz]0)$", re.IGNORECASE)


@lru_cache(maxsize=16384)
def words(name: str) -> tuple[str, ...]:
    """Return the words of a name in lower case and in order, without numbers."""
    found: list[str] = []
    for part in re.split(r"[^A-Za-z0-9]+", _UNIT.sub("", name)):
        if _START.match(part) or _R9.match(part) or part.lower() in _ALL:
            found.append(part.lower())
        elif _COMPOUND.match(part):
            found += ["energy", part[1:].lower()]
        elif _SUMS.match(part):
            found.append("e")
        else:
            found += [word.lower() for word in _WORD.findall(part) if not word.isdigit()]
    joined: list[str] = []
    for word in found:  # ECal, HCal
        if word == "cal" and joined and joined[-1] in ("e", "h"):
            joined[-1] += word
        else:
            joined.append(word)
    return tuple(joined)


_ALL = (
    _TRUTH
    | _BOOKKEEPING
    | _SIMULATION
    | _MATERIAL
    | _ERROR
    | _TIME
    | _LAYER
    | _POSITION
    | _SHAPE
    | _MOMENTUM
    | _TRANSVERSE
    | _ENERGY
    | _DETECTOR
    | _SIGNAL
    | _MULTIPLICITY
)


@dataclass(frozen=True)
class _Name:
    """A name in words."""

    there: frozenset[str]  # all words
    first: str  # the first one
    head: str  # the last one
    short: bool  # whether there are few
    member: str  # what follows the last dot or slash
    energy: bool  # whether a word stands for an energy


def _anywhere(table: frozenset[str]) -> Callable[[_Name], bool]:
    return lambda name: bool(name.there & table)


def _at_the_end(table: frozenset[str]) -> Callable[[_Name], bool]:
    return lambda name: name.head in table


def _is_truth(name: _Name) -> bool:
    truth = name.there & _TRUTH
    if truth <= {"sim", "simulated"} and name.there & _READ_OUT:
        truth = frozenset()
    of_beam = bool(name.there & _BEAM) and bool(name.there & _ENERGY_OF_BEAM or name.there <= _BEAM)
    return bool(truth) or (of_beam and name.head not in _POSITION)


def _is_number_of(name: _Name) -> bool:
    if not name.there.isdisjoint(_QUANTA):
        return False
    return _NUMBER_OF.search(name.member) is not None or (not name.energy and bool(name.there & _MULTIPLICITY))


def _is_count(name: _Name) -> bool:
    return _is_number_of(name) and (_COUNTED.search(name.member) is not None or name.member.lower() == "n")


def _is_bookkeeping(name: _Name) -> bool:
    of_cluster = name.head == "seed" and name.energy  # its hottest cell
    return (name.head in _BOOKKEEPING and not of_cluster) or (name.first in _FLAG and not name.energy)


_RULES: tuple[tuple[Role, Callable[[_Name], bool]], ...] = (
    (Role.TRUTH, _is_truth),
    (Role.ERROR, _anywhere(_ERROR)),
    (Role.SIMULATION, lambda name: bool(name.there & _SIMULATION) or any(map(_START.match, name.there))),
    (Role.MATERIAL, _anywhere(_MATERIAL)),
    (Role.OTHER, _anywhere(_NO_CALORIMETER)),
    (Role.COUNT, _is_count),
    (Role.OTHER, _is_number_of),
    (Role.BOOKKEEPING, _is_bookkeeping),
    (Role.SHAPE, _anywhere(_STRONG_SHAPE)),
    (Role.MOMENTUM, lambda name: name.head in _POSITION and bool(name.there & _DIRECTION)),
    (Role.CHARGE, lambda name: name.head == "charge" and bool(name.there & _ELECTRIC)),
    (Role.SIGNAL, lambda name: name.head == "charge" and bool(name.there & (_READ_OUT | _DETECTOR | BEAM_LINE))),
    (Role.CHARGE, lambda name: name.head == "charge"),
    (Role.ENERGY, lambda name: name.head in _LAYER and name.energy),  # edep_layer
    (Role.LAYER, _at_the_end(_LAYER)),
    (Role.POSITION, _at_the_end(_POSITION)),
    (Role.TIME, _at_the_end(_TIME)),
    (Role.SHAPE, _at_the_end(_SHAPE)),
    (Role.TRANSVERSE, _at_the_end(_TRANSVERSE)),
    (Role.MOMENTUM, _at_the_end(_MOMENTUM)),
    (Role.SIGNAL, _at_the_end(_SIGNAL)),
    (Role.ENERGY, _at_the_end(_ENERGY)),
    (Role.SIGNAL, lambda name: name.first in _SIGNAL and name.short),
    (Role.ENERGY, lambda name: name.energy or ((name.first in _DETECTOR or name.head in _DETECTOR) and name.short)),
    (Role.BOOKKEEPING, _anywhere(_BOOKKEEPING)),
)
"""Rules in order of precedence: the first that matches a name gives its role."""


@lru_cache(maxsize=16384)
def role_of(name: str) -> Role:
    """Return what the name of a branch says that it holds."""
    found = words(name)
    present, first, head = frozenset(found), found[0] if found else "", found[-1] if found else ""
    energy = bool((present & _ENERGY) - _INITIALS) or {first, head} & _INITIALS or any(map(_JOINED.search, found))
    parts = _Name(present, first, head, len(found) <= _SHORT, re.split(r"[./]", name)[-1], bool(energy))
    return next((role for role, holds in _RULES if holds(parts)), Role.OTHER)


def is_transverse(name: str) -> bool:
    """Tell whether a name is that of a momentum or a transverse energy rather than an energy."""
    return not frozenset(words(name)).isdisjoint(_TRANSVERSE | _MOMENTUM)


def looks_like_energy(name: str) -> bool:
    """Tell whether a branch looks like an energy or signal that the linear anchor combines."""
    return role_of(name) in (Role.ENERGY, Role.SIGNAL, Role.TRANSVERSE, Role.MATERIAL, Role.CHARGE)


def looks_like_truth(name: str) -> bool:
    """Tell whether a branch looks like truth, from which nothing can be learned about the detector."""
    return role_of(name) is Role.TRUTH


def counts_events(name: str) -> bool:
    """Tell whether a branch counts events, runs and the like."""
    return role_of(name) is Role.BOOKKEEPING


def is_one_of(kind: frozenset[str], name: str) -> bool:
    """Tell whether a name has one of some words, such as :data:`CELLS`."""
    return not kind.isdisjoint(words(name))


def energy_in(name: str) -> bool:
    """Tell whether a branch holds an energy, be it measured or true."""
    role, present = role_of(name), frozenset(words(name))
    if role is Role.TRUTH:
        rest = present - _TRUTH - _BEAM
        energy = (
            rest & (_ENERGY | _TRANSVERSE | _ENERGY_OF_BEAM)
            if rest - OBJECTS
            else (present & (_TRUTH | _BEAM)) - _NO_ENERGY
        )
        return (
            bool(energy)
            and words(name)[-1] not in _NO_ENERGY
            and not (rest & _NEVER_TRUE)
            and not _NUMBER_OF.search(name)
        )
    return role in (Role.ENERGY, Role.SIGNAL, Role.TRANSVERSE, Role.MATERIAL)


def is_loss(name: str) -> bool:
    """Tell whether a branch is energy that is lost, as only a simulation knows it."""
    return role_of(name) is Role.SIMULATION and is_one_of(_LOSS, name)


def unit_in(name: str) -> str | None:
    """Return the unit of energy that a name ends in, as ``energy_MeV`` does."""
    match = _UNIT.search(name)
    return energy_unit(match[1]) if match else None
