import struct
from pathlib import Path

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, SuiteError
from flexlam.envs import procgen_library
from flexlam.envs.procgen_library import ProcgenGame, parse_state


def text(value: bytes) -> bytes:
    return struct.pack("<i", len(value)) + value


def words(*values: float) -> bytes:
    return b"".join(struct.pack("<i" if isinstance(value, int) else "<f", value) for value in values)


def entity(kind: int, *place: float) -> bytes:
    return words(*place, 0.4, 0.4, kind) + words(*[0] * 24)


def state_bytes(version: int = 0) -> bytes:
    """A state as Procgen writes it: 2 columns, 3 rows, an enemy and the agent."""
    generator = words(1) + text(b"12 345 6")  # no multiple of four bytes
    return b"".join(
        [
            words(version) + text(b"maze") + words(*[0] * 17) + generator * 2,
            words(0.0, 0, 0, 4) + words(500) + words(*[0] * 11),
            words(2) + entity(7, 9.5, 9.5, 0.0, 0.0) + entity(0, 1.5, 2.5, 0.25, -1.0),
            words(*[0] * 19) + generator + words(*[0] * 9),
            words(2, 3, 6) + words(51, 100, 51, 100, 2, 100) + words(1, 2),
        ]
    )


def test_a_state_tells_the_time_limit_the_agent_and_the_cells() -> None:
    state = parse_state(memoryview(state_bytes()))
    assert state.timeout == 500
    assert state.agent.dtype == np.float32 and state.agent.tolist() == [1.5, 2.5, 0.25, -1.0]
    assert state.grid.tolist() == [[51, 100], [51, 100], [2, 100]]


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(SuiteError, match=r"another version.*procgen-mirror==0\.10\.7"):
        parse_state(memoryview(state_bytes(version=1)))
    with pytest.raises(SuiteError, match="cannot be read"):
        parse_state(memoryview(state_bytes()[:-20]))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procgen_library, "find_spec", lambda name: None)
    procgen_library._load.cache_clear()
    with pytest.raises(ConfigError, match=r"needs the package 'procgen'.*--no-deps procgen-mirror==0\.10\.7"):
        ProcgenGame("maze", 0)


def test_a_library_that_cannot_be_loaded_is_told_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Spec:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(procgen_library, "find_spec", lambda name: Spec)
    procgen_library._load.cache_clear()
    with pytest.raises(SuiteError, match=r"cannot be loaded.*apt-get install libgl1"):
        ProcgenGame("maze", 0)
