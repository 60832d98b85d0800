"""The type checker that the import hook of conftest.py puts on every function of flexlam."""

from collections.abc import Callable
from typing import Any, Self, get_args, runtime_checkable

from beartype import BeartypeConf, beartype

# As type checkers do, let an int stand where a float is expected.
_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """beartype, with two of its limits worked around: `Self` on single functions, and protocols."""
    for name, hint in function.__annotations__.items():
        if hint is Self:
            function.__annotations__[name] = Any
        _make_protocols_checkable(hint)
    return _checked(function)


def _make_protocols_checkable(hint: Any) -> None:
    if getattr(hint, "_is_protocol", False):
        runtime_checkable(hint)
    for part in get_args(hint):
        _make_protocols_checkable(part)
