"""Memory while a large source streams through `flexlam data convert`: flat, whatever the size of the source?

    python benchmarks/memory.py [--gigabytes 20] [--formats video npz parquet] [--folder DIR]

Each format is converted twice, at a tenth of the size and at the whole. What counts is the largest sum, over the
process and its children, of memory that is not of files (RssAnon in /proc/PID/status; Linux). The source lies below
--folder and is removed afterwards.
"""

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib.format import write_array_header_1_0
from PIL import Image

from flexlam.core.machine import describe_machine
from flexlam.report.table import Table

SIZE = 512
FRAME = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
GIGABYTE = 1e9


def write_video(folder: Path, num_bytes: float) -> None:
    """Uncompressed video, a gigabyte a file."""
    per_file = max(2, int(min(num_bytes, GIGABYTE) / FRAME.nbytes))
    for number in range(max(1, round(num_bytes / GIGABYTE))):
        with av.open(str(folder / f"{number:03d}.avi"), "w") as container:
            stream = container.add_stream("rawvideo", rate=Fraction(30))
            stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "bgr24"
            frame = av.VideoFrame.from_ndarray(FRAME, format="bgr24")
            for step in range(per_file):
                frame.pts, frame.time_base = step, Fraction(1, 30)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


def write_npz(folder: Path, num_bytes: float) -> None:
    """One trajectory in one file, not compressed."""
    count = int(num_bytes / FRAME.nbytes)
    description = {"descr": "|u1", "fortran_order": False, "shape": (count, *FRAME.shape)}
    with zipfile.ZipFile(folder / "trajectory.npz", "w") as archive:
        with archive.open("video.npy", "w", force_zip64=True) as member:
            write_array_header_1_0(member, description)
            for _ in range(count):
                member.write(FRAME.tobytes())
        actions = io.BytesIO()
        np.save(actions, np.arange(count) % 4)
        archive.writestr("actions.npy", actions.getvalue())


def write_parquet(folder: Path, num_bytes: float) -> None:
    """A row a step, pictures as png without compression, row groups of 100 steps, episodes of 250, one file."""
    buffer = io.BytesIO()
    Image.fromarray(FRAME).save(buffer, "png", compress_level=0)
    picture, count = buffer.getvalue(), int(num_bytes / FRAME.nbytes)
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    names = {"observation": image, "action": pa.int64(), "reward": pa.float32()}
    schema = pa.schema([*names.items(), ("terminated", pa.bool_()), ("truncated", pa.bool_())])
    with pq.ParquetWriter(folder / "train-00000.parquet", schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, count, 100):
            steps = range(start, min(start + 100, count))
            columns = [[{"bytes": picture, "path": None} for _ in steps], [s % 4 for s in steps], [0.0] * len(steps)]
            columns += [[s % 250 == 249 for s in steps], [False] * len(steps)]
            writer.write_table(pa.table(dict(zip(schema.names, columns, strict=True)), schema=schema))


FORMATS: dict[str, Callable[[Path, float], None]] = {
    "video": write_video,
    "npz": write_npz,
    "parquet": write_parquet,
}


def anonymous_bytes(process: int) -> int:
    """Memory of a process and of all its children that is not of files."""
    total, waiting = 0, [process]
    while waiting:
        here = waiting.pop()
        try:
            status = Path(f"/proc/{here}/status").read_text()
            children = Path(f"/proc/{here}/task/{here}/children").read_text().split()
        except OSError:
            continue
        lines = dict(line.split(":", 1) for line in status.splitlines())
        total += int(lines.get("RssAnon", "0 kB").split()[0]) * 1024
        waiting += map(int, children)
    return total


def peak_of(command: list[str]) -> tuple[float, float]:
    """Largest memory in GB, and seconds, of a command."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.append(process.communicate()[0]))
    reader.start()
    peak = 0
    while reader.is_alive():
        peak = max(peak, anonymous_bytes(process.pid))
        reader.join(0.05)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{said[0]}")
    return peak / GIGABYTE, time.monotonic() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    rows = []
    for name in options.formats:
        peaks = []
        for gigabytes in (options.gigabytes / 10, options.gigabytes):
            with tempfile.TemporaryDirectory(dir=options.folder) as folder:
                source = Path(folder) / "source"
                source.mkdir()
                FORMATS[name](source, gigabytes * GIGABYTE)
                size = sum(file.stat().st_size for file in source.iterdir()) / GIGABYTE
                command = [sys.executable, "-m", "flexlam", "data", "convert", str(source), "--quiet"]
                peak, seconds = peak_of([*command, "--out", str(Path(folder) / "store")])
                shutil.rmtree(source)
            peaks.append(peak)
            rows.append((name, f"{size:.1f}", f"{peak:.2f}", f"{peak / peaks[0]:.2f}", f"{seconds:.0f}"))
    header = ("source", "GB", "peak memory, GB", "ratio", "seconds")
    print(Table(header, tuple((row,) for row in rows)).to_text())
    print(json.dumps({"machine": describe_machine(), "date": datetime.now(UTC).date().isoformat()}))


if __name__ == "__main__":
    main()
