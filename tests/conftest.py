"""One thread for every test, and every annotated shape and type of flexlam checked at run time."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

# Threads that wait for each other on shared cores are slower than one.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import pytest  # noqa: E402
import torch  # noqa: E402 - reads them when it loads
from jaxtyping import install_import_hook  # noqa: E402

torch.set_num_threads(1)

# The hook sees only modules that are imported after it.
assert "flexlam" not in sys.modules
sys.path.insert(0, str(Path(__file__).parent))
install_import_hook("flexlam", "shape_checks.check")

# Shells start background jobs with Ctrl-C ignored, and children inherit that; tests of interrupts need it back.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # so it is under nohup
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _no_silence_left_over() -> Iterator[None]:
    """A command's --quiet holds for its process; here the next test shares it."""
    yield
    progress = sys.modules.get("flexlam.core.progress")
    if progress is not None:
        progress.set_quiet(False)
