"""Starts the Doom engine so that it cannot outlive the Python process that controls it. Run as a script.

Arguments: the controlling process's id, "online" or "offline", the engine's path, the engine's own arguments.
The engine runs in this file's working folder, so what it writes lands there. Standard library only: it starts with
`python -I -S`, in about 20 ms.
"""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


def main() -> None:
    """Bind the engine's life to its controller, then become the engine."""
    controller, network, engine, *arguments = sys.argv[1:]
    libc = ctypes.CDLL(None)
    if sys.platform == "linux":
        # The engine ignores SIGTERM, so only SIGKILL ends it.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if network == "offline":
            # A bot arena opens a UDP port on every interface; without a network of its own it opens it to nobody.
            # Where the system does not allow this, the port stays the only thing that is opened.
            libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)
    if os.getppid() != int(controller):
        sys.exit("The process that started this game is gone.")
    Path("instance").write_text(arguments[arguments.index("+viz_instance_id") + 1])
    os.execv(engine, [engine, *arguments])


if __name__ == "__main__":
    main()
