from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from calomlp.data.sources import Source
from calomlp.errors import ArtefactError, CheckpointWritten, InputError, TrainingError, UsageError
from calomlp.model.file import Model, read_model, write_model
from calomlp.run import Interrupt
from calomlp.training import loop
from calomlp.training.checkpoint import Watch
from calomlp.training.train import train
from calomlp.training.training_settings import TrainingSettings
from tests.conftest import Room, fitted, linear_showers, quietly

Make = Callable[..., Source]
QUICK = TrainingSettings(hidden="16", epochs=4)


def trained(source: Source, settings: TrainingSettings = QUICK, watch: Watch | None = None) -> Model:
    return fitted(source, settings, watch)


@pytest.fixture
def showers(make_root: Make) -> Source:
    return make_root(linear_showers(4000))


def weights(model: Model) -> torch.Tensor:
    return torch.cat([value.flatten().double() for value in model.regressor.state_dict().values()])


class Trigger(Interrupt):
    """Asks for an end after a number of steps, as a signal would."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    @property
    def requested(self) -> bool:
        self.steps -= 1
        return self.steps < 0


def test_the_same_command_gives_the_same_model(showers: Source) -> None:
    assert torch.equal(weights(trained(showers)), weights(trained(showers)))
    assert not torch.equal(weights(trained(showers)), weights(trained(showers, replace(QUICK, seed=2))))


@pytest.mark.parametrize(
    ("settings", "moments"),
    [
        (QUICK, (0, 1, 20, 38, 39, 40, 41, 42, 43, 100)),
        (replace(QUICK, dropout=0.2, optimiser="momentum", activation="tanh"), (1, 40, 42)),
        (replace(QUICK, average=0.9, l1=1e-3, weight_decay=1e-3, schedule="step", stop_after=600.0), (20, 41, 100)),
    ],
)
def test_an_interrupted_run_ends_with_the_same_bytes(
    showers: Source, tmp_path: Path, settings: TrainingSettings, moments: tuple[int, ...]
) -> None:
    write_model(tmp_path / "whole", trained(showers, settings))
    for steps in moments:
        checkpoint = tmp_path / f"c{steps}"
        with pytest.raises(CheckpointWritten, match="run the same command again"):
            trained(showers, settings, Watch(Trigger(steps), checkpoint))
        assert checkpoint.exists(), steps
        write_model(tmp_path / "resumed", trained(showers, settings, Watch(Interrupt(), checkpoint)))
        assert (tmp_path / "whole").read_bytes() == (tmp_path / "resumed").read_bytes(), steps


def test_an_interrupted_run_does_not_read_again_what_does_not_fit_into_memory(
    showers: Source, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    room = Room(0, tmp_path / "cache")
    write_model(tmp_path / "whole", fitted(showers, QUICK, room=room))
    with pytest.raises(CheckpointWritten):
        fitted(showers, QUICK, Watch(Trigger(40), tmp_path / "c"), room)
    assert {path.name for path in tmp_path.iterdir()} >= {"c", "c.events"}
    watch = Watch(Interrupt(), tmp_path / "c")
    write_model(tmp_path / "resumed", fitted(showers, QUICK, watch, room))
    assert f"events are taken from {tmp_path / 'c.events'}" in caplog.text
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "resumed").read_bytes()
    watch.discard(0)
    assert not list(tmp_path.glob("c.*"))
    assert not list(room.folder.iterdir())


def test_a_plateau_is_remembered_over_an_interruption(showers: Source, tmp_path: Path) -> None:
    settings = replace(QUICK, schedule="plateau", learning_rate=1.0, epochs=16)
    whole = trained(showers, settings)
    write_model(tmp_path / "whole", whole)
    assert whole.history[-1]["learning_rate"] < 1.0
    with pytest.raises(CheckpointWritten):
        trained(showers, settings, Watch(Trigger(600), tmp_path / "c"))
    write_model(tmp_path / "resumed", trained(showers, settings, Watch(Interrupt(), tmp_path / "c")))
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "resumed").read_bytes()


def test_time_that_was_used_before_an_interruption_counts(
    showers: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = itertools.count()
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: float(next(seconds))))  # a second for a step
    settings = replace(QUICK, epochs=100, stop_after=100.0)
    whole = trained(showers, settings)
    assert whole.summary["ended"] == "the time is over, 1 min 40 s"
    assert whole.summary["epochs"] == len(whole.history) == 3  # of 44 steps each, the last one cut short
    write_model(tmp_path / "whole", whole)
    with pytest.raises(CheckpointWritten):
        trained(showers, settings, Watch(Trigger(30), tmp_path / "c"))
    write_model(tmp_path / "resumed", trained(showers, settings, Watch(Interrupt(), tmp_path / "c")))
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "resumed").read_bytes()


def test_the_time_limit_writes_a_checkpoint(showers: Source, tmp_path: Path) -> None:
    with pytest.raises(CheckpointWritten, match="the time is over"):
        trained(showers, replace(QUICK, epochs=10_000), Watch(Interrupt(), tmp_path / "c", max_time=0.1))


def test_checkpoints_are_written_in_between(showers: Source, tmp_path: Path) -> None:
    trained(showers, watch=Watch(Interrupt(), tmp_path / "c", every=0.0))
    assert (tmp_path / "c").exists()


def test_a_checkpoint_of_another_run_is_refused(showers: Source, make_root: Make, tmp_path: Path) -> None:
    checkpoint = tmp_path / "c"
    with pytest.raises(CheckpointWritten):
        trained(showers, watch=Watch(Trigger(3), checkpoint))
    with pytest.raises(ArtefactError, match="of another run: seed 1 and not 2; go on"):
        trained(showers, replace(QUICK, seed=2), Watch(Interrupt(), checkpoint))
    with pytest.raises(ArtefactError, match="of another run: other files; go on"):
        trained(make_root(linear_showers(4000, seed=2), name="other.root"), watch=Watch(Interrupt(), checkpoint))
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    with pytest.raises(ArtefactError, match="damaged"):
        trained(showers, watch=Watch(Interrupt(), checkpoint))


def test_the_network_learns_what_the_line_cannot(make_root: Make) -> None:
    columns = linear_showers(10_000)
    saturated = 0.3 * columns["layer_energy"].sum(axis=1, keepdims=True) ** -0.3
    columns["layer_energy"] = columns["layer_energy"] * saturated
    model = trained(make_root(columns), TrainingSettings(features=("layer_energy",), epochs=20))
    assert model.summary["best_epoch"] > 0
    inside = (columns["true_energy"] > 2) & (columns["true_energy"] < 50)
    estimates = model.regressor.estimates(columns["layer_energy"][inside])
    network, line = (
        np.std(estimate.numpy() / columns["true_energy"][inside])
        for estimate in (estimates.regressor, estimates.anchor)
    )
    assert network < 0.5 * line


@pytest.mark.parametrize("regress", ["ratio", "direct", "log"])
def test_what_a_network_says_beyond_its_range(make_root: Make, regress: str) -> None:
    columns = linear_showers(5000)
    settings = TrainingSettings(features=("layer_energy",), regress=regress, epochs=20, activation="tanh")
    model = trained(make_root(columns), settings)
    far = np.full((1, 6), 1000 / 6, dtype=np.float32)  # 1 TeV, trained up to 100 GeV
    energy = float(model.regressor.estimates(far).regressor)
    if regress == "ratio":
        assert energy == pytest.approx(1000, rel=0.2)
    else:
        assert energy < 500  # it saturates: networks do not extrapolate


def test_nothing_left_to_learn_gives_the_line_and_says_so(make_root: Make, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(1)
    energy = rng.uniform(1, 100, 300).astype(np.float32)
    model = trained(make_root({"true_energy": energy, "e": energy}), replace(QUICK, learning_rate=1.0))
    if model.summary["best_epoch"] == 0:
        assert "linear anchor itself" in caplog.text
    estimates = model.regressor.estimates(energy[:, None])
    assert estimates.regressor.numpy() == pytest.approx(energy, rel=0.05)


def test_training_that_diverges_is_an_error(showers: Source) -> None:
    settings = TrainingSettings(regress="direct", loss="mse", optimiser="sgd", learning_rate=1e6, hidden="16")
    with pytest.raises(TrainingError, match="not finite in epoch 1"):
        trained(showers, settings)


def test_patience_and_epsilon_end_early(showers: Source) -> None:
    patient = trained(showers, replace(QUICK, epochs=200, patience=3))
    assert "3 epochs" in patient.summary["ended"]
    settled = trained(showers, replace(QUICK, epochs=200, epsilon=10.0))
    assert settled.summary["epochs"] == 2
    assert "changed by less than 10" in settled.summary["ended"]


def test_few_beam_energies_are_warned_of(make_root: Make, caplog: pytest.LogCaptureFixture) -> None:
    columns = linear_showers(2000)
    columns["layer_energy"] *= (10 / columns["true_energy"])[:, None]
    columns["true_energy"] = np.where(np.arange(2000) % 2, 10, 20).astype(np.float32)
    with caplog.at_level(logging.WARNING):
        trained(make_root(columns))
    assert "only 2 distinct true energies" in caplog.text


def test_too_few_events(make_root: Make) -> None:
    with pytest.raises(InputError, match="are on the train side, where 20 are needed"):
        trained(make_root(linear_showers(20)))


def test_a_model_remembers_where_it_came_from(showers: Source) -> None:
    model = trained(showers)
    assert model.files[0].path == showers.label
    assert model.files[0].events == 4000
    assert model.envelope.n_train + model.envelope.n_test < 4000
    assert model.envelope.energy_min >= 1
    assert model.settings["hidden"] == "16"
    assert len(model.history) == model.summary["epochs"] == 4
    assert "seconds" not in str(model.summary)  # no clock: the same command gives the same bytes


def test_signals_are_looked_at_while_reading(showers: Source) -> None:
    interrupt = Interrupt()
    interrupt.signum = 15
    start = time.monotonic()
    with pytest.raises(Exception, match="interrupted by SIGTERM"):
        trained(showers, watch=Watch(interrupt))
    assert time.monotonic() - start < 5


def test_without_weights_a_flat_spectrum_is_a_prior(make_root: Make) -> None:
    rng = np.random.default_rng(1)
    energy = rng.uniform(1, 40, 30_000)
    columns = {"true_energy": energy, "e": energy + np.sqrt(energy) * rng.standard_normal(30_000)}
    biases = {}
    for weighting in ("auto", "none"):
        settings = TrainingSettings(weighting=weighting, closure="none", loss="chi2", hidden="16")
        model = trained(make_root(columns), settings)
        at_ten = np.abs(energy - 12) < 2
        estimate = model.regressor.estimates(columns["e"][at_ten, None].astype(np.float32)).regressor.numpy()
        biases[weighting] = np.mean(estimate / energy[at_ten]) - 1
    # 100 %/sqrt(E) at 12 GeV: (1 - s) (sigma/E)^2 is 8.3 % for s = 0 and 2.8 % for s = 2/3
    assert biases["none"] - biases["auto"] == pytest.approx(0.056, abs=0.03)


@pytest.mark.parametrize("step", range(4))
def test_steps_of_the_whole_set_go_on_to_the_same_bytes(showers: Source, tmp_path: Path, step: int) -> None:
    settings = replace(QUICK, optimiser="gd")
    write_model(tmp_path / "whole", trained(showers, settings))
    with pytest.raises(CheckpointWritten):
        trained(showers, settings, Watch(Trigger(step), tmp_path / "c"))
    write_model(tmp_path / "resumed", trained(showers, settings, Watch(Interrupt(), tmp_path / "c")))
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "resumed").read_bytes()


def test_a_signal_while_a_resumed_run_reads_keeps_the_checkpoint(showers: Source, tmp_path: Path) -> None:
    checkpoint = tmp_path / "c"
    with pytest.raises(CheckpointWritten):
        trained(showers, watch=Watch(Trigger(3), checkpoint))
    before = checkpoint.read_bytes()
    interrupt = Interrupt()
    interrupt.signum = 15
    with pytest.raises(CheckpointWritten, match="while reading"):
        trained(showers, watch=Watch(interrupt, checkpoint))
    assert checkpoint.read_bytes() == before


def test_a_run_that_diverges_is_not_saved(showers: Source, tmp_path: Path) -> None:
    settings = replace(QUICK, learning_rate=1e30, batch_size=64)
    with pytest.raises(TrainingError, match="not finite in epoch 1"):
        trained(showers, settings, Watch(Interrupt(), tmp_path / "c", every=0.0))


def test_energies_of_any_unit_train_the_same(make_root: Make) -> None:
    columns = linear_showers(4000)
    reference = trained(make_root(columns, name="gev.root")).summary["validation_loss"]
    columns["layer_energy"] = columns["layer_energy"] * np.float32(1.6e-10)  # joule
    assert trained(make_root(columns, name="gev.root")).summary["validation_loss"] == pytest.approx(reference, rel=0.05)


def test_a_date_is_a_seed(showers: Source) -> None:
    trained(showers, replace(QUICK, seed=20261122145559, epochs=1))


def test_the_branch_that_splits_is_no_feature(make_root: Make) -> None:
    source = make_root({**linear_showers(3000), "spill": np.arange(3000) % 50})
    model = trained(source, replace(QUICK, split_by="spill"))
    assert model.recipe.features.branches == {"layer_energy"}


def test_an_empty_first_file_does_no_harm(make_root: Make) -> None:
    columns = linear_showers(2000)
    empty = make_root({name: values[:0] for name, values in columns.items()}, name="empty.root")
    full = make_root(columns, name="full.root")
    fitted([empty, full], QUICK)


def test_the_same_file_is_named_once(showers: Source) -> None:
    other = Source(showers.path, "events", "again.root")
    with pytest.raises(InputError, match=r"again\.root: this is the same file as data\.root"):
        fitted([showers, other], QUICK)


@pytest.mark.parametrize("loss", ["gaussian-nll", "quantiles"])
@pytest.mark.parametrize("ensemble", [1, 3])
def test_the_spread_of_every_event_is_learned(make_root: Make, loss: str, ensemble: int) -> None:
    showers = linear_showers(20_000)
    noisy = np.arange(20_000) % 2
    generator = np.random.default_rng(7)
    extra = 0.4 * np.sqrt(showers["true_energy"]) * generator.standard_normal(20_000) * noisy
    showers["layer_energy"] += (extra / 6)[:, None].astype(np.float32)
    source = make_root({**showers, "noisy": noisy})
    settings = TrainingSettings(features=("layer_energy", "noisy"), loss=loss, epochs=10, ensemble=ensemble)
    model = trained(source, settings)
    features = np.column_stack([showers["layer_energy"], noisy]).astype(np.float32)
    found = model.regressor.estimates(features)
    assert found.below is not None
    assert found.above is not None
    energy, truth = found.regressor.numpy(), showers["true_energy"]
    inside = (truth > 3) & (truth < 60)
    for kind, spread in ((0, 0.1), (1, np.hypot(0.1, 0.4))):
        chosen = inside & (noisy == kind)
        width = ((found.below + found.above) / 2).numpy()[chosen]
        assert np.median(width / np.sqrt(truth[chosen])) == pytest.approx(spread, rel=0.1)
        covered = (truth > energy - found.below.numpy()) & (truth < energy + found.above.numpy())
        assert covered[chosen].mean() == pytest.approx(0.6827, abs=0.03)


def test_an_ensemble_averages_and_remembers_its_members(showers: Source, tmp_path: Path) -> None:
    model = trained(showers, replace(QUICK, ensemble=3))
    assert model.summary["parameters"] == 3 * trained(showers, replace(QUICK, ensemble=1)).summary["parameters"]
    path = tmp_path / "m.safetensors"
    write_model(path, model)
    again = read_model(str(path), "m")
    assert again.regressor.architecture.members == 3
    assert torch.equal(weights(model), weights(again))
    with pytest.raises(UsageError, match="ensemble -1 is not legal"):
        trained(showers, replace(QUICK, ensemble=-1))


@pytest.mark.parametrize(("events", "members"), [(4000, 4), (100_000, 1)])
def test_few_events_are_learned_by_several_networks(make_root: Make, events: int, members: int) -> None:
    model = trained(make_root(linear_showers(events)), replace(QUICK, epochs=1))
    assert model.regressor.architecture.members == members


def test_a_correction_that_gains_nothing_is_not_kept(make_root: Make) -> None:
    model = trained(make_root(linear_showers(700)), TrainingSettings(features=("layer_energy",), closure="none"))
    assert model.summary["kept"] < 0.3
    estimates = model.regressor.estimates(linear_showers(1000, seed=3)["layer_energy"])
    assert estimates.regressor.numpy() == pytest.approx(estimates.anchor.numpy(), rel=0.03)


def test_a_correction_that_gains_much_is_kept(make_root: Make) -> None:
    showers = linear_showers(10_000)
    showers["layer_energy"][:, 0] *= np.where(np.arange(10_000) % 2, 1.5, 0.5)  # what no line can mend
    showers["turned"] = np.arange(10_000) % 2
    settings = TrainingSettings(features=("layer_energy", "turned"), energies=("layer_energy",), epochs=20)
    model = trained(make_root(showers), settings)
    assert model.summary["kept"] > 0.95
    assert model.summary["validation_loss"] == pytest.approx(model.summary["sides"]["validation"]["loss"], rel=1e-6)


def test_the_closure_correction_takes_a_bias_away(make_root: Make) -> None:
    source = make_root(linear_showers(60_000))
    settings = TrainingSettings(features=("layer_energy",), hidden="none", loss="relative", weighting="none", epochs=3)
    biased, closed = (trained(source, replace(settings, closure=closure)) for closure in ("none", "auto"))
    assert biased.summary["closure"] == []
    told = closed.summary["closure"]
    deviations = [max(abs(entry[when] - 1) for entry in told[1:-1]) for when in ("before", "after")]
    assert deviations[1] < 0.7 * deviations[0]
    features = linear_showers(2000, seed=5)["layer_energy"]
    one, other = (model.regressor.estimates(features).regressor for model in (biased, closed))
    assert not torch.allclose(one, other, rtol=1e-3)


def test_a_training_that_starts_from_a_model(make_root: Make) -> None:
    showers, few = linear_showers(10_000), linear_showers(1000, seed=2)
    for columns, scale in ((showers, 1.0), (few, 3.0)):  # the same detector, read out with another gain
        saturated = 0.3 * columns["layer_energy"].sum(axis=1, keepdims=True) ** -0.3
        columns["layer_energy"] = scale * columns["layer_energy"] * saturated
    settings = TrainingSettings(features=("layer_energy",), epochs=20)
    first = trained(make_root(showers, name="simulation.root"), settings)
    beam = make_root(few, name="beam.root")
    second = train([beam], TrainingSettings(epochs=20), quietly(), watch=Watch(Interrupt()), init=first)
    alone = trained(beam, settings)
    assert [feature.expression for feature in second.recipe.features] == ["layer_energy"]
    assert second.summary["sum_scale"] == pytest.approx(first.summary["sum_scale"] / 3, rel=0.1)
    test = linear_showers(4000, seed=3)
    inside = (test["true_energy"] > 2) & (test["true_energy"] < 50)
    total = test["layer_energy"].sum(axis=1, keepdims=True)
    features = 3 * test["layer_energy"] * 0.3 * total**-0.3
    widths = []
    for model in (second, alone):
        response = model.regressor.estimates(features).regressor.numpy()[inside] / test["true_energy"][inside]
        widths.append(np.quantile(response, 0.8413) - np.quantile(response, 0.1587))
    assert widths[0] < widths[1]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden": "8"}, "--hidden 8 is not that of the model to start from, 16"),
        ({"features": ("event_id",)}, "--features"),
        ({"loss": "quantiles"}, "loss 'quantiles' does not go with the model"),
        ({"regress": "log"}, "--regress log is not that of the model"),
    ],
)
def test_a_start_that_contradicts_the_settings(showers: Source, wrong: dict[str, object], message: str) -> None:
    first = trained(showers)
    settings = replace(TrainingSettings(), **wrong)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=message):
        train([showers], settings, quietly(), watch=Watch(Interrupt()), init=first)


def test_a_checkpoint_knows_what_the_training_started_from(showers: Source, tmp_path: Path) -> None:
    models = [trained(showers, replace(QUICK, seed=seed)) for seed in (1, 2)]
    path = tmp_path / "checkpoint"

    def run(steps: int, init: Model) -> Model:
        watch = Watch(Trigger(steps), path)
        return train([showers], TrainingSettings(), quietly(interrupt=watch.interrupt), watch=watch, init=init)

    with pytest.raises(CheckpointWritten):
        run(20, models[0])
    with pytest.raises(ArtefactError, match=r"of another run: init \"\w+\" and not"):
        run(1_000_000, models[1])
    assert run(1_000_000, models[0]).summary["epochs"] > 0
