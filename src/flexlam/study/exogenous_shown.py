"""Tables and figures of the study of remedies."""

from collections.abc import Callable

from matplotlib.axes import Axes

from flexlam.report.table import Table
from flexlam.study.claims import mean_effect
from flexlam.study.exogenous_errors import REPORTED, Errors
from flexlam.study.figures import panels, points
from flexlam.study.found import Values
from flexlam.study.pieces.remedies import METHODS

Of = Callable[[str, str], Values]
"""World and method -> a value by LAM seed."""


def remedies_table(errors: Errors, world: str) -> Table:
    """A row for each method."""
    short, full = errors.short, errors.full(world)
    header = [f"{what}, k = {k}" for k in (short, full) for what in ("action", "leakage")]
    cells = ("action_linear_nmse", "action_given_state_nmse", "swap_score", "twin_agreement", "psnr")
    rows = tuple(
        (
            method,
            *(_mean(values(world, method, k)) for k in (short, full) for values in (errors.action, errors.leak)),
            *(errors.found.cell(key, world=world, method=method, k=full, role=REPORTED) for key in cells),
        )
        for method in errors.methods(world)
    )
    names = ("action, linear probe", "action, given the state", "swap score", "twins' codes alike", "PSNR, dB")
    return Table(("objective", *header, *(f"{name}, k = {full}" for name in names)), (rows,))


def _mean(values: Values) -> str:
    found = mean_effect(values)
    half = "" if found.ci95 is None else f" ({found.ci95[0]:.2f} to {found.ci95[1]:.2f})"
    return f"{found.mean:.3f}{half}"


def remedies_figures(errors: Errors) -> dict[str, str]:
    """Every model as a point, a panel for each world: action error over leakage, and swap score over leakage."""

    def leak(world: str, method: str) -> Values:
        return errors.leak(world, method, errors.full(world))

    def action(world: str, method: str) -> Values:
        return errors.action(world, method, errors.full(world))

    def swap(world: str, method: str) -> Values:
        return errors.of("swap_score", world, method, errors.full(world))

    return {
        "remedies.svg": _clouds(errors, leak, action, "NMSE of the action, k = K"),
        "swap.svg": _clouds(errors, leak, swap, "swap score, k = K"),
    }


def _clouds(errors: Errors, x: Of, y: Of, y_label: str) -> str:
    def draw(axes: Axes, number: int) -> None:
        world = errors.worlds[number]
        shown = errors.methods(world)
        points(axes, {m: _pairs(x(world, m), y(world, m)) if m in shown else [] for m in METHODS})

    return panels(errors.worlds, draw, "leakage, k = K", y_label, width=3.6)


def _pairs(x: Values, y: Values) -> list[tuple[float, float]]:
    return [(x[seed][0], y[seed][0]) for seed in sorted(x)]
