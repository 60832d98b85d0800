import json
import math
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parents[2] / "benchmarks" / "bench.py"


def test_quick_bench_gives_finite_positive_figures(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    command = [sys.executable, str(BENCH), "--quick", "--json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())
    assert results["kind"] == "bench" and results["schema_version"] == 1
    rows = {(row["name"].split()[0:2][-1], row["dtype"]): row for row in results["rows"]}
    for row in results["rows"]:
        for key in ("per_cpu_second", "lowest", "highest"):
            assert math.isfinite(row[key]) and row[key] > 0
        assert row["lowest"] <= row["per_cpu_second"] <= row["highest"]
    for dtype in ("fp32", "bf16"):
        training, encoding = rows["training", dtype], rows["encoding", dtype]
        for row in (training, encoding):
            for key in ("share_of_best_ceiling", "share_of_ceiling_like_the_model"):
                assert math.isfinite(row[key]) and row[key] > 0
            assert row["share_of_best_ceiling"] <= row["share_of_ceiling_like_the_model"]
        # Training counts encoder and decoder, forward and backward; encoding the encoder alone.
        flops = [row["gflops_per_second"] / row["per_cpu_second"] for row in (training, encoding)]
        assert flops[0] > 3 * flops[1]
    assert "per CPU-second" in done.stdout and "random pairs" in done.stdout
