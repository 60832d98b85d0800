import os
import sys
from types import ModuleType

import pytest

from flexlam.core.errors import ConfigError, SuiteError
from flexlam.envs import opengl
from flexlam.envs.opengl import cannot_draw, import_drawing


@pytest.mark.parametrize(("chosen", "used"), [(None, "egl"), ("osmesa", "osmesa")])
def test_what_draws_is_settled_before_the_import_and_a_choice_is_kept(
    chosen: str | None, used: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def load(name: str) -> ModuleType:
        seen.append((name, os.environ.get("MUJOCO_GL")))
        return ModuleType(name)

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(opengl, "import_module", load)
    monkeypatch.setenv("MUJOCO_GL", chosen or "")
    if chosen is None:
        monkeypatch.delenv("MUJOCO_GL")
    assert import_drawing("some.module", "arms", "pip install arms").__name__ == "some.module"
    assert seen == [("some.module", used)]


def test_a_missing_package_is_named_with_what_brings_it() -> None:
    with pytest.raises(ConfigError, match=r"suite 'arms' needs the package 'no_such_package'.*: pip install arms"):
        import_drawing("no_such_package", "arms", "pip install arms")


def test_what_cannot_draw_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    error = cannot_draw(RuntimeError())
    assert isinstance(error, SuiteError)
    assert "OpenGL (osmesa): RuntimeError. On Debian and Ubuntu: apt-get install libegl1" in str(error)
