import re
import subprocess
import sys
from pathlib import Path

from PIL import Image

BENCH = Path(__file__).parents[2] / "benchmarks" / "worlds.py"


def test_quick_run_measures_the_grids_and_draws_them(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCH), "--quick", "--only", "gridworld", "--sheet", str(tmp_path / "sheet.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if re.match(r"\| grid\d", line)]
    assert [row.split(" | ")[0] for row in rows] == ["| grid4", "| grid8"]
    shares = [int(share) for share in re.findall(r", (\d+)%", rows[1])]
    assert len(shares) == 1 and shares[0] < 5, "before waves the agent is a small part of what changes"
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width == 5 * (3 * 67 + 3) and sheet.height == 2 * 67
