"""One running Doom engine that is closed on every way out and leaves nothing behind.

- The engine is a child process that ignores SIGTERM. It starts through `vizdoom_launch`, so on Linux the kernel kills
  it when this process dies, whatever the reason. On a clean exit, an exception or a deadly signal it is closed here.
- ViZDoom takes over SIGINT, SIGTERM and SIGABRT while a game runs and resets them when it ends; they are given back.
- The engine writes into its working folder: a private one under the system's temporary folder. What a killed process
  could not remove is removed by the next game that starts.
"""

import contextlib
import ctypes
import os
import resource
import shlex
import shutil
import signal
import sys
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from flexlam.core.errors import SuiteError
from flexlam.core.files import process_alive

_PREFIX = "flexlam-vizdoom-"
_SHARED_MEMORY = Path("/dev/shm")
_SHARED_BYTES = 11_000_000
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGABRT)
_open_games: "weakref.WeakSet[GameProcess]" = weakref.WeakSet()


class GameProcess:
    """A started `vizdoom.DoomGame`.

    Raises:
        SuiteError: the engine cannot be started.
    """

    def __init__(self, configure: Callable[[Any], None], offline: bool = False) -> None:
        import vizdoom

        engine = Path(vizdoom.__file__).with_name("vizdoom")
        _check_that_it_can_start(engine)
        _close_on_deadly_signals()
        _sweep()
        self.game = vizdoom.DoomGame()
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._end = weakref.finalize(self, _shut, self.game, folder, os.getpid())
        try:
            configure(self.game)
            self.game.set_doom_config_path(str(folder / "vizdoom.ini"))
            self.game.set_vizdoom_path(str(_launcher(folder, str(engine), offline)))
            with _signals_kept():
                self.game.init()
        except Exception as error:
            self.close()
            raise SuiteError(f"The game cannot be started: {error}") from error
        except BaseException:
            self.close()
            raise
        _open_games.add(self)

    @property
    def running(self) -> bool:
        """Whether it can be played."""
        return self._end.alive

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method of the game.

        Raises:
            SuiteError: the engine has crashed or was closed.
        """
        if not self._end.alive:
            raise SuiteError("The game is closed. Make a new one with `suite.make(task)`.")
        try:
            return method(*arguments)
        except Exception as error:
            self.close()
            raise SuiteError(f"The game has crashed ({error}). Make a new one with `suite.make(task)`.") from error

    def close(self) -> None:
        """End the engine and remove its folder; calling it twice does no harm."""
        self._end()


def _check_that_it_can_start(engine: Path) -> None:
    """Refuse what would make the engine end at once: ViZDoom 1.3 answers that with a segmentation fault.

    Raises:
        SuiteError: the engine, or room for the memory it shares with Python, is missing.
    """
    if not os.access(engine, os.X_OK):
        raise SuiteError(f"The game engine {engine} is missing or may not be run. Install vizdoom anew.")
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if largest != resource.RLIM_INFINITY and largest < _SHARED_BYTES:
        raise SuiteError(
            f"Files may not grow beyond {largest} bytes here (ulimit -f), and a game shares {_SHARED_BYTES} bytes of "
            "memory with Python as a file. Raise the limit."
        )
    if _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free < _SHARED_BYTES:
        raise SuiteError(
            f"{_SHARED_MEMORY} has less than {_SHARED_BYTES} bytes left, which a game shares with Python. Close other "
            "games, or give the container more shared memory (docker run --shm-size)."
        )


def _shut(game: Any, folder: Path, owner: int) -> None:
    if os.getpid() != owner:  # a forked child must not end its parent's game
        return
    with _signals_kept(), contextlib.suppress(Exception):
        game.close()
    shutil.rmtree(folder, ignore_errors=True)


def _launcher(folder: Path, engine: str, offline: bool) -> Path:
    """A program that ViZDoom starts in place of the engine; it must be a single file."""
    script = Path(__file__).with_name("vizdoom_launch.py")
    command = [sys.executable, "-I", "-S", str(script), str(os.getpid()), "offline" if offline else "online", engine]
    launcher = folder / "launch.sh"
    launcher.write_text(f'#!/bin/sh\ncd {shlex.quote(str(folder))} && exec {shlex.join(command)} "$@"\n')
    launcher.chmod(0o700)
    return launcher


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Give back the handlers that ViZDoom replaces; works in any thread, unlike `signal.signal`."""
    get, put = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
    get.restype = put.restype = ctypes.c_void_p
    put.argtypes = (ctypes.c_int, ctypes.c_void_p)
    before = {number: get(int(number)) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            put(int(number), handler)


def _close_on_deadly_signals() -> None:
    """Where a signal would end Python on the spot, close the games first.

    Any other handler (KeyboardInterrupt, say) unwinds the stack, and the games are closed on the way or at exit.
    """
    for number in (signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(number) == signal.SIG_DFL:
            with contextlib.suppress(ValueError):  # not the main thread: the kernel still ends the engine
                signal.signal(number, _close_and_die)


def _close_and_die(number: int, frame: FrameType | None) -> None:
    for game in list(_open_games):
        game.close()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _sweep() -> None:
    """Remove what games of processes that were killed have left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not owner.isdigit() or process_alive(int(owner)):
            continue
        with contextlib.suppress(OSError):
            instance = (folder / "instance").read_text()
            for shared in _SHARED_MEMORY.glob(f"ViZDoom*{instance}") if instance.isalnum() else ():
                shared.unlink()
        shutil.rmtree(folder, ignore_errors=True)
