"""Procgen's shared library, called through its C interface: neither gym nor gym3 is needed, which want an older NumPy.

Needs `pip install --no-deps procgen-mirror==0.10.7` (Linux on x86-64, Python 3.11 or 3.12).
"""

import ctypes
import os
import struct
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from flexlam.core.errors import ConfigError, SuiteError

SIZE = 64
"""Width and height of a frame."""
MOST_LEVELS = 2**31 - 2
"""Levels are numbered from 0 to one less."""

_INSTALL = "pip install --no-deps procgen-mirror==0.10.7 (Linux on x86-64, Python 3.11 or 3.12)"
_LIBENV_VERSION = 1
_UINT8, _INT32 = 1, 2
_EASY = 0
_NUM_ACTIONS = 15
_MOST_BYTES = 2**20  # of a state
_PLAYER = 0
_ENTITY_WORDS = 31


class _Option(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char * 128),
        ("dtype", ctypes.c_int),
        ("count", ctypes.c_int),
        ("data", ctypes.c_void_p),
    )


class _Options(ctypes.Structure):
    _fields_ = (("items", ctypes.POINTER(_Option)), ("count", ctypes.c_int))


class _Buffers(ctypes.Structure):
    _fields_ = (
        ("observations", ctypes.POINTER(ctypes.c_void_p)),
        ("reward", ctypes.c_void_p),
        ("first", ctypes.c_void_p),
        ("info", ctypes.POINTER(ctypes.c_void_p)),
        ("actions", ctypes.POINTER(ctypes.c_void_p)),
    )


@dataclass(frozen=True)
class GameState:
    """What a running game knows, in cells of its world; y points upward."""

    timeout: int
    """Decisions after which an episode is cut."""
    agent: np.ndarray
    """x, y, and velocities of the agent, (4,) float32."""
    grid: np.ndarray
    """Kinds of the cells, (height, width) int32; row 0 is the lowest."""


class ProcgenGame:
    """One game at one level, easy mode; it goes on with the same level by itself when an episode ends.

    Raises:
        ConfigError: procgen-mirror is not installed.
        SuiteError: its library cannot be loaded.
    """

    def __init__(self, name: str, level: int) -> None:
        assert 0 <= level < MOST_LEVELS
        self._library, assets = _load()
        self.frame = np.zeros((SIZE, SIZE, 3), np.uint8)
        """What is shown now; written over by `act`."""
        self._reward, self._first, self._action = (np.zeros(1, kind) for kind in (np.float32, np.uint8, np.int32))
        self._level_before, self._complete, self._level = (np.zeros(1, kind) for kind in (np.int32, np.uint8, np.int32))
        self._bytes = ctypes.create_string_buffer(_MOST_BYTES)
        settings: dict[str, str | bool | int] = {
            "env_name": name,
            "num_levels": 1,
            "start_level": level,
            "num_actions": _NUM_ACTIONS,
            "rand_seed": 0,
            "num_threads": 0,
            "resource_root": assets,
            "distribution_mode": _EASY,
            "center_agent": True,
            "use_backgrounds": True,
            "use_generated_assets": False,
            "use_monochrome_assets": False,
            "restrict_themes": False,
            "paint_vel_info": False,
            "use_sequential_levels": False,
            "render_human": False,
            "debug_mode": 0,
        }
        data = [_as_data(value) for value in settings.values()]
        options = (_Option * len(settings))(
            *(_Option(key.encode(), *entry) for key, entry in zip(settings, data, strict=True))
        )
        self._handle: int | None = self._library.libenv_make(1, _Options(options, len(settings)))
        # The library writes into these for as long as the game lasts.
        self._buffers = _Buffers(
            _pointers(self.frame),
            self._reward.ctypes.data,
            self._first.ctypes.data,
            _pointers(self._level_before, self._complete, self._level),
            _pointers(self._action),
        )
        self._library.libenv_set_buffers(self._handle, ctypes.byref(self._buffers))
        self._library.libenv_observe(self._handle)

    def act(self, choice: int) -> tuple[float, bool, bool]:
        """Execute one choice: its reward, whether the episode is over, and whether the level was solved."""
        self._action[0] = choice
        self._library.libenv_act(self._handle)
        self._library.libenv_observe(self._handle)
        return float(self._reward[0]), bool(self._first[0]), bool(self._complete[0])

    def state(self) -> GameState:
        """What the game knows now."""
        length = self._library.get_state(self._handle, 0, self._bytes, _MOST_BYTES)
        return parse_state(memoryview(self._bytes)[:length])

    def close(self) -> None:
        """End the game; calling it twice does no harm."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._library.libenv_close(handle)


def parse_state(data: memoryview) -> GameState:
    """Read the bytes of `get_state`, in the order in which Procgen writes them.

    Raises:
        SuiteError: this is a state of another version.
    """
    reader = _Reader(data)
    try:
        if reader.integer() != 0:
            raise SuiteError(f"This is a state of another version of Procgen. Install: {_INSTALL}")
        reader.skip_text()  # the game's name
        reader.skip(17)  # options and levels
        reader.skip_generator()
        reader.skip_generator()
        reader.skip(4)  # reward, ends, action
        timeout = reader.integer()
        reader.skip(11)  # levels, last reward, time, number of cells
        entities = [reader.words(_ENTITY_WORDS) for _ in range(reader.integer())]
        reader.skip(19)  # background, motion, camera
        reader.skip_generator()
        reader.skip(9)  # size of the world, view
        width, height, count = reader.integer(), reader.integer(), reader.integer()
        grid = reader.words(count).reshape(height, width)
        agent = next(entity for entity in entities if entity[6] == _PLAYER)
    except (struct.error, ValueError, StopIteration) as error:
        raise SuiteError(f"Procgen's state cannot be read: {error}. Install: {_INSTALL}") from error
    return GameState(timeout, agent[:4].view(np.float32), grid)


class _Reader:
    """Reads words of four bytes and texts, one after another."""

    def __init__(self, data: memoryview) -> None:
        self._data, self._place = data, 0

    def integer(self) -> int:
        (value,) = struct.unpack_from("<i", self._data, self._place)
        self._place += 4
        return int(value)

    def words(self, count: int) -> np.ndarray:
        found = np.frombuffer(self._data, "<i4", count, self._place).copy()
        self._place += 4 * count
        return found

    def skip(self, num_words: int) -> None:
        self._place += 4 * num_words

    def skip_text(self) -> None:
        length = self.integer()
        self._place += length

    def skip_generator(self) -> None:
        self.skip(1)
        self.skip_text()


def _as_data(value: str | bool | int) -> tuple[int, int, Any]:
    """Kind, length and address of a setting; the address keeps what it points to alive."""
    if isinstance(value, str):
        text = value.encode()
        return _UINT8, len(text), ctypes.cast(ctypes.create_string_buffer(text), ctypes.c_void_p)
    if isinstance(value, bool):
        return _UINT8, 1, ctypes.cast(ctypes.pointer(ctypes.c_uint8(value)), ctypes.c_void_p)
    return _INT32, 1, ctypes.cast(ctypes.pointer(ctypes.c_int32(value)), ctypes.c_void_p)


def _pointers(*arrays: np.ndarray) -> Any:
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))


@cache
def _load() -> tuple[Any, str]:
    """The library, and the folder of its pictures."""
    spec = find_spec("procgen")  # found, not imported: the package itself wants gym
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"The suite 'procgen' needs the package 'procgen', which is not installed. Install it with: {_INSTALL}"
        )
    folder = Path(spec.submodule_search_locations[0]) / "data"
    try:
        library = ctypes.CDLL(str(folder / "prebuilt" / "libenv.so"))
    except OSError as error:
        raise SuiteError(
            f"Procgen's library cannot be loaded: {error}. On Debian and Ubuntu: apt-get install libgl1 libglib2.0-0"
        ) from error
    if library.libenv_version() != _LIBENV_VERSION:
        raise SuiteError(f"This Procgen has another interface than expected. Install: {_INSTALL}")
    handle, integer = ctypes.c_void_p, ctypes.c_int
    library.libenv_make.restype, library.libenv_make.argtypes = handle, (integer, _Options)
    library.libenv_set_buffers.argtypes = (handle, ctypes.POINTER(_Buffers))
    for name in ("libenv_observe", "libenv_act", "libenv_close"):
        getattr(library, name).argtypes = (handle,)
    library.get_state.argtypes = (handle, integer, ctypes.c_char_p, integer)
    return library, str(folder / "assets") + os.sep
