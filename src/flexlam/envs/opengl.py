"""Packages that draw with MuJoCo: how they are imported, and what is said when there is no OpenGL."""

import os
import sys
from importlib import import_module
from typing import Any

from flexlam.core.errors import ConfigError, SuiteError

_INSTALL = "On Debian and Ubuntu: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri"


def import_drawing(module: str, suite: str, install: str) -> Any:
    """Import a module; which OpenGL it draws with is settled when it is first imported, on Linux EGL.

    Raises:
        ConfigError: a package is missing; `install` brings it.
        SuiteError: there is no OpenGL to draw with.
    """
    if sys.platform == "linux":
        os.environ.setdefault("MUJOCO_GL", "egl")
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"The suite {suite!r} needs the package {error.name!r}, which is not installed. Install it with: {install}"
        ) from error
    except Exception as error:
        raise cannot_draw(error) from error


def cannot_draw(error: Exception) -> SuiteError:
    """What went wrong, and what to install or to choose."""
    said = (str(error) or type(error).__name__).strip().rstrip(".")
    gl = os.environ.get("MUJOCO_GL", "the default")
    return SuiteError(
        f"MuJoCo cannot draw with OpenGL ({gl}): {said}. {_INSTALL}. Another way to draw is chosen by setting "
        "MUJOCO_GL to egl, osmesa or glfw before Python starts."
    )
