"""Ray as the engine: the same rows, whatever happens to its workers. Slow: Ray takes seconds to start."""

import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest

from dataset_formats import write_lossless
from moving_square import moving_square

pytestmark = pytest.mark.slow

SCRIPT = """
import sys
from pathlib import Path
from flexlam.export import encoding
from flexlam.export.codes import encode_dataset
if __name__ == "__main__":
    run, data, out = sys.argv[1:]
    config = encoding.EncodeConfig(run=run, data=data, episodes_per_shard=1)
    encode_dataset(config, Path(out), engine="ray", num_workers=2)
"""


def actors() -> list[int]:
    """Process numbers of Ray's workers that encode."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if "ray::MapWorker" in line]


def test_killed_workers_lose_no_row_and_double_none(model, encode, tmp_path):
    pytest.importorskip("ray")
    for number in range(300):
        write_lossless(tmp_path / f"v/{number:03d}.mp4", moving_square(12 + number % 7, number, size=32).frames)
    encode(tmp_path / "v", "local", workers=2)
    command = [sys.executable, "-c", SCRIPT, str(model), str(tmp_path / "v"), str(tmp_path / "out")]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    killed = 0
    with subprocess.Popen(command, env=environment) as job:
        for wanted in (20, 80, 150):
            deadline = time.monotonic() + 240
            while job.poll() is None and len(list((tmp_path / ".out.encoding/codes").glob("*.parquet"))) < wanted:
                assert time.monotonic() < deadline, "Ray encodes nothing"
                time.sleep(0.05)
            for process in actors():
                os.kill(process, signal.SIGKILL)
                killed += 1
        assert job.wait(timeout=300) == 0
    assert killed >= 3, "the workers were gone before they could be killed"
    assert pq.read_table(tmp_path / "out").equals(pq.read_table(tmp_path / "local"))
