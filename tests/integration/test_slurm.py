"""The batch scripts of the README, run by a real Slurm: arrays, a job that is preempted, jobs that wait for others.

It needs Debian's packages, ``apt install slurm-wlm munge``, and the rights of root; then ``pytest -m integration``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import uproot

from tests.conftest import SAMPLE_DATA, Run
from tests.integration.slurm import Cluster, available

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not available(), reason="no Slurm, or no rights to start it: apt install slurm-wlm munge"),
]

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SCRIPTS = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as started:
        yield started


def script(part: str, **changes: str) -> str:
    """Return the script of the README that has a part, with smaller numbers."""
    found: str
    (found,) = (text for text in SCRIPTS if part in text)
    for old, new in changes.items():
        assert old in found
        found = found.replace(old, new)
    return found


def test_an_array_simulates_the_shards_of_a_data_set(cluster: Cluster, calomlp: Run, tmp_path: Path) -> None:
    text = script("calomlp simulate", **{"0-15": "0-7", "/16": "/8", "-n 100M": "-n 2400", "--mem=2G": "--mem=1G"})
    cluster.wait(cluster.submit(text, tmp_path))
    done = calomlp("simulate", "siw-ecal", "-n", "2400", "-o", "whole.root")
    assert done.returncode == 0, done.stderr

    def energies(*files: Path) -> np.ndarray:
        return np.concatenate([uproot.open(f"{file}:events")["layer_energy"].array(library="np") for file in files])

    shards = [tmp_path / f"showers-{i}.root" for i in range(8)]
    assert np.array_equal(energies(*shards), energies(tmp_path / "whole.root"))


def test_a_training_that_is_preempted_twice_ends_with_the_same_bytes(
    cluster: Cluster, calomlp: Run, tmp_path: Path
) -> None:
    data, options = SAMPLE_DATA / "electrons.root", "--epochs 400 --hidden 32,32 --patience 400"
    text = script("--signal=B:USR1@120", **{"'showers-*.root'": f"{data} {options}", "--mem=8G": "--mem=2G"})
    assert "--cpus-per-task=2" in text
    job = cluster.submit(text, tmp_path)
    for number in (1, 2):
        cluster.wait_for(lambda: cluster.state(job) == {"RUNNING"}, "running training", 200)
        log = next(tmp_path.glob(f"job-{job}-*.log"))
        # Slurm empties the log of a job that it starts again
        cluster.wait_for(lambda: "epoch" in log.read_text(), f"epoch after start {number}", 200)  # noqa: B023
        cluster.run("scancel", "--signal=USR1", "--batch", job)
        cluster.wait_for(lambda: cluster.state(job) != {"RUNNING"}, "requeued job", 100)
        assert (tmp_path / "model.safetensors.checkpoint").exists()
        assert not (tmp_path / "model.safetensors").exists()
        cluster.run("scontrol", "update", f"jobid={job}", "starttime=now")  # it would wait for two minutes
    cluster.wait(job)
    again = tmp_path / "again"
    again.mkdir()
    done = calomlp("train", data, *options.split(), "-o", again / "model.safetensors")
    assert done.returncode == 0, done.stderr
    one, other = (json_free(folder / "model.safetensors") for folder in (tmp_path, again))
    assert one == other


def json_free(path: Path) -> bytes:
    """Return the weights of a model without its header, which has the command."""
    content = path.read_bytes()
    return content[8 + int.from_bytes(content[:8], "little") :]


def test_reports_are_merged_after_the_array_that_makes_them(cluster: Cluster, calomlp: Run, tmp_path: Path) -> None:
    done = calomlp("train", SAMPLE_DATA / "electrons.root", "--epochs", "2", "-o", "model.safetensors")
    assert done.returncode == 0, done.stderr
    for i in range(4):
        done = calomlp("simulate", "siw-ecal", "-n", "1500", "--seed", str(i), "-o", f"testbeam-{i}.root")
        assert done.returncode == 0, done.stderr
    array = script("calomlp evaluate model.safetensors testbeam", **{"0-15": "0-3", "--mem=2G": "--mem=1G"})
    first = cluster.submit(array, tmp_path)
    merge = "#!/bin/bash\n#SBATCH --mem=1G\ncalomlp evaluate --merge part-*.json -o report.json\n"
    (tmp_path / "merge.sh").write_text(merge)
    second = cluster.run(
        *("sbatch", "--parsable", f"--dependency=afterok:{first}", "-o", "merge.log", "merge.sh"), cwd=tmp_path
    ).strip()
    cluster.wait(second)
    whole = calomlp("evaluate", "model.safetensors", "testbeam-*.root", "-o", "whole.json")
    assert whole.returncode == 0, whole.stderr
    merged, once = (json.loads((tmp_path / name).read_text()) for name in ("report.json", "whole.json"))
    assert merged["curves"] == once["curves"]
