"""The batch scripts of the documentation, run by a real Slurm: arrays, jobs that give way, several nodes, dependencies.

It needs Debian's packages, ``apt install slurm-wlm munge``, and the rights of root; then ``pytest -m integration``.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uproot

from calomlp.model.file import read_model
from tests.conftest import ROOT, SAMPLE_DATA, Run
from tests.integration.slurm import Cluster, available

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not available(), reason="no Slurm, or no rights to start it: apt install slurm-wlm munge"),
]

SCRIPTS = re.findall(r"```bash\n(.*?)```", (ROOT / "calomlp/cli/BATCH.md").read_text(), flags=re.DOTALL)
ELECTRONS = SAMPLE_DATA / "electrons.root"
FIRST = "calomlp train: features"  # what a training begins with
LONG = "--epochs 400 --hidden 32,32 --patience 400"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as started:
        yield started


def script(*parts: str, **changes: str) -> str:
    """Return the script that has some parts, with smaller numbers."""
    found: str
    (found,) = (text for text in SCRIPTS if all(part in text for part in parts))
    for old, new in changes.items():
        assert old in found
        found = found.replace(old, new)
    return found


def simulated(calomlp: Run, events: int, *files: str) -> None:
    for number, name in enumerate(files):
        done = calomlp("simulate", "siw-ecal", "-n", str(events), "--seed", str(number), "-o", name)
        assert done.returncode == 0, done.stderr


def weights(path: Path) -> bytes:
    """Return the weights of a model without its header, which has the command."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def in_training(cluster: Cluster, job: str, log: Path, number: int) -> None:
    """Wait until a training has been started so often, and is at an epoch."""
    cluster.wait_for(lambda: cluster.state(job) == {"RUNNING"}, "running training", 200)
    cluster.wait_for(
        lambda: starts(log) == number and "epoch" in log.read_text().split(FIRST)[-1], f"epoch, start {number}", 200
    )


def starts(log: Path) -> int:
    return log.read_text().count(FIRST) if log.exists() else 0


def test_an_array_simulates_the_shards_of_a_data_set(cluster: Cluster, calomlp: Run, tmp_path: Path) -> None:
    text = script("calomlp simulate", **{"0-15": "0-7", "/16": "/8", "-n 100M": "-n 2400", "--mem=2G": "--mem=1G"})
    cluster.wait(cluster.submit(text, tmp_path))
    done = calomlp("simulate", "siw-ecal", "-n", "2400", "-o", "whole.root")
    assert done.returncode == 0, done.stderr

    def energies(*files: Path) -> np.ndarray:
        return np.concatenate([uproot.open(f"{file}:events")["layer_energy"].array(library="np") for file in files])

    shards = [tmp_path / f"showers-{i}.root" for i in range(8)]
    assert np.array_equal(energies(*shards), energies(tmp_path / "whole.root"))


def test_a_training_is_put_back_before_its_time_is_up(cluster: Cluster, tmp_path: Path, calomlp: Run) -> None:
    text = script("train", "--signal=USR1@120", "--cpus-per-task=2", **changes())
    job = cluster.submit(text, tmp_path)
    log = tmp_path / f"job-{job}-4294967294.log"
    in_training(cluster, job, log, 1)
    cluster.run("scancel", "--signal=USR1", job)  # as Slurm does in time
    requeued(cluster, job, tmp_path)
    cluster.wait(job)
    assert starts(log) == 2
    undisturbed(calomlp, tmp_path)


def test_a_training_that_is_preempted_twice_ends_with_the_same_bytes(
    cluster: Cluster, calomlp: Run, tmp_path: Path
) -> None:
    job = cluster.submit(script("--partition=preemptible", **changes()), tmp_path, "--nodelist=node1")
    log = tmp_path / f"job-{job}-4294967294.log"
    urgent = "#!/bin/bash\n#SBATCH --nodelist=node1 --cpus-per-task=2 --mem=1G\ntrue\n"
    for number in (1, 2):
        in_training(cluster, job, log, number)
        folder = tmp_path / f"urgent-{number}"
        folder.mkdir()
        other = cluster.submit(urgent, folder)
        cluster.wait(other)
        requeued(cluster, job, tmp_path)
    cluster.wait(job)
    assert starts(log) == 3
    undisturbed(calomlp, tmp_path)


def changes() -> dict[str, str]:
    return {"'showers-*.root'": f"{ELECTRONS} {LONG}", "--mem=8G": "--mem=2G"}


def requeued(cluster: Cluster, job: str, folder: Path) -> None:
    """Wait until a training has stopped with a checkpoint, and let it go on without the usual two minutes of rest."""
    cluster.wait_for(lambda: cluster.state(job) == {"PENDING"}, "requeued job", 100)
    assert (folder / "model.safetensors.checkpoint").exists()
    assert not (folder / "model.safetensors").exists()
    cluster.wait_for(cluster.idle, "idle nodes")
    time.sleep(3)  # Slurm tells starts of a job apart by the second
    cluster.run("scontrol", "update", f"jobid={job}", "starttime=now")


def undisturbed(calomlp: Run, folder: Path) -> None:
    """Compare the model with that of a training that nobody has stopped."""
    done = calomlp("train", ELECTRONS, *LONG.split(), "-o", "again.safetensors")
    assert done.returncode == 0, done.stderr
    assert weights(folder / "model.safetensors") == weights(folder / "again.safetensors")


def test_the_processes_of_two_nodes_train_one_model(cluster: Cluster, calomlp: Run, tmp_path: Path) -> None:
    quick = f"{ELECTRONS} --regress log --epochs 5 --hidden 16"
    fewer = {"--ntasks-per-node=4 --cpus-per-task=4": "--ntasks-per-node=2 --cpus-per-task=1", "--mem=16G": "--mem=4G"}
    text = script("--nodes=2", "train", **fewer, **{"'showers-*.root' ": f"{quick} ", "8192": "64"})
    cluster.wait(cluster.submit(text, tmp_path))
    log = next(tmp_path.glob("job-*.log")).read_text()
    assert log.count("4 processes meet at") == 1
    done = calomlp("train", *quick.split(), "--batch-size", "64", "-o", "alone.safetensors")
    assert done.returncode == 0, done.stderr
    many, alone = (read_model(str(tmp_path / f"{name}.safetensors"), name) for name in ("model", "alone"))
    features = np.random.default_rng(1).uniform(0, 0.1, (50, alone.regressor.architecture.n_columns))
    energies = [model.regressor.energies(features.astype(np.float32)) for model in (many, alone)]
    assert energies[0] == pytest.approx(energies[1], rel=1e-3)


def test_an_array_predicts_a_file_in_each_job(cluster: Cluster, calomlp: Run, tmp_path: Path) -> None:
    done = calomlp("train", ELECTRONS, "--epochs", "2", "-o", "model.safetensors")
    assert done.returncode == 0, done.stderr
    files = [f"testbeam-{number}.root" for number in range(3)]
    simulated(calomlp, 1000, *files)
    cluster.wait(cluster.submit(script("calomlp predict", **{"0-15": "0-2", "--mem=2G": "--mem=1G"}), tmp_path))
    alone = calomlp("predict", "model.safetensors", *files, "-o", "alone/")
    assert alone.returncode == 0, alone.stderr
    for name in files:
        paths = (tmp_path / name.replace("testbeam", "energies"), tmp_path / "alone" / name)
        one, other = (uproot.open(path)["events"].arrays() for path in paths)
        assert one.tolist() == other.tolist()


def test_reports_are_merged_after_the_array_that_makes_them(cluster: Cluster, calomlp: Run, tmp_path: Path) -> None:
    done = calomlp("train", ELECTRONS, "--epochs", "2", "-o", "model.safetensors")
    assert done.returncode == 0, done.stderr
    simulated(calomlp, 1500, *(f"testbeam-{number}.root" for number in range(4)))
    array = script("calomlp evaluate model.safetensors testbeam", **{"0-15": "0-3", "--mem=2G": "--mem=1G"})
    first = cluster.submit(array, tmp_path)
    merge = tmp_path / "merge"
    merge.mkdir()
    text = script("calomlp evaluate --merge", **{"part-": "../part-", "report.json": "../report.json"})
    cluster.wait(cluster.submit(text, merge, f"--dependency=afterok:{first}"))
    whole = calomlp("evaluate", "model.safetensors", "testbeam-*.root", "-o", "whole.json")
    assert whole.returncode == 0, whole.stderr
    merged, once = (json.loads((tmp_path / name).read_text()) for name in ("report.json", "whole.json"))
    assert merged["curves"] == once["curves"]
