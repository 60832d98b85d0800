"""Tables and figures of the theory study."""

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes

from flexlam.report.table import Table
from flexlam.study.config import TheoryConfig
from flexlam.study.figures import curves, panels, points
from flexlam.study.found import Found
from flexlam.study.pieces.linear import (
    CROSS,
    ENDOGENOUS,
    FIXED,
    IDLE,
    KINDS,
    MIXED,
    OBJECTIVES,
    RECONSTRUCTION,
    RIDGE,
    ROBUST,
    SAMPLED,
    SMALLEST,
    SUPERVISED,
    VARIANCE,
    translated_lengths,
)
from flexlam.theory.additive import LABEL_FRACTIONS, LATENT_DIMS, NOISE_SDS

_DRAWN = (CROSS, RECONSTRUCTION, SUPERVISED, ROBUST, MIXED)
_SHOWN = {"action_given_obs": "action NMSE", "leakage": "leakage of η"}


def tables(theory: TheoryConfig, found: Found) -> dict[str, Table]:
    """Everything, by title."""
    shown = {}
    sds, dims = theory.innovation_sds, theory.latent_dims
    size = {"part": "innovation"}
    for quantity, name in _SHOWN.items():
        title = f"{name} with d_z = d_a = {theory.world.action_dim}, over the exogenous innovation"
        shown[title] = _by_objective(found, quantity, "exogenous_sd", sds, "σ_η", size)
    for quantity, name in _SHOWN.items():
        title = f"{name} over d_z, exogenous innovation {theory.world.exogenous_sd:g}"
        smallest = _by_objective(found, quantity, "latent_dim", dims, "d_z", {"part": "latents", "minimiser": SMALLEST})
        idle = _by_objective(
            found, quantity, "latent_dim", dims, "d_z", {"part": "latents", "minimiser": IDLE}, (CROSS,)
        )
        ((row,),) = idle.groups
        shown[title] = Table(smallest.header, (*smallest.groups, ((f"{row[0]}, {IDLE}", *row[1:]),)))
    for kind in KINDS:
        where = {"part": "correlation", "kind": kind, "twins": "conditional"}
        for quantity, name in {"action_given_obs": "action NMSE", "excess_leakage": "leakage above that of a"}.items():
            title = f"{name} where {_KINDS[kind]} (overlapping subspaces, sensor noise)"
            shown[title] = _by_objective(found, quantity, "correlation", theory.correlations, "correlation", where)
    shown["Twins drawn independently of s and a: action NMSE of cross-exogenous"] = _grid(
        found, "action_given_obs", {_KINDS[kind]: {"kind": kind} for kind in KINDS}, "correlation", theory.correlations,
        "correlation", {"part": "correlation", "twins": "independent", "method": CROSS},
    )  # fmt: skip
    shown[f"Action supervision with d_z = d_a, exogenous innovation {theory.world.exogenous_sd:g}"] = _grid(
        found, "", {name: {"quantity": quantity} for quantity, name in _SHOWN.items()}, "label_fraction",
        theory.label_fractions, "labelled", {"part": "labels"},
    )  # fmt: skip
    return {**shown, **_slot_tables(theory, found), **_other_tables(theory, found)}


_KINDS = {"innovation": "the action goes with η", "policy": "the action goes with ξ"}


def _by_objective(
    found: Found,
    quantity: str,
    key: str,
    values: Sequence[float],
    label: str,
    where: dict[str, Any],
    names: Sequence[str] = tuple(OBJECTIVES),
) -> Table:
    return _grid(found, quantity, {name: {"method": name} for name in names}, key, values, label, where)


def _grid(
    found: Found,
    quantity: str,
    rows: dict[str, dict[str, Any]],
    key: str,
    values: Sequence[float],
    label: str,
    where: dict[str, Any],
) -> Table:
    """One row a selection; where a row names its own quantity, that is shown."""

    def cell(selection: dict[str, Any], value: float) -> str:
        chosen = {name: entry for name, entry in selection.items() if name != "quantity"}
        return found.cell(selection.get("quantity", quantity), **{**where, **chosen, key: value})

    header = ("", *(f"{label} = {value:g}" for value in values))
    return Table(header, (tuple((name, *(cell(row, value) for value in values)) for name, row in rows.items()),))


def _slot_tables(theory: TheoryConfig, found: Found) -> dict[str, Table]:
    shown = {}
    for quantity, name in {"action_given_obs": "action NMSE", "reconstruction": "error of o', share without z"}.items():
        rows = {
            f"{order}, σ_η = {sd:g}": {"order": order, "exogenous_sd": sd}
            for sd in theory.innovation_sds
            for order in (VARIANCE, ENDOGENOUS)
        }
        title = f"First k of {max(theory.latent_dims)} ordered slots: {name}"
        shown[title] = _grid(found, quantity, rows, "k", theory.latent_dims, "k", {"part": "prefix"})
    for k in translated_lengths(theory):
        rows = {name: {"translator": name} for name in (SAMPLED, FIXED, RIDGE)}
        where = {"part": "translator", "k": k}
        title = f"Translators from N labels at k = {k}: action NMSE"
        shown[title] = _grid(found, "error", rows, "labels", theory.label_counts, "N", where)
    return shown


def _other_tables(theory: TheoryConfig, found: Found) -> dict[str, Table]:
    shown = {}
    for noise, sds in NOISE_SDS.items():
        rows = {
            f"σ = {sd:g}, " + (f"{fraction:.0%} labelled" if fraction else "no labels"): {
                "noise_sd": sd,
                "label_fraction": fraction,
            }
            for sd in sds
            for fraction in ((0.0,) if noise == "iid" else (0.0, *LABEL_FRACTIONS))
        }
        where = {"part": "additive", "noise": noise}
        title = f"The setting of 2506.15691, {noise} noise: action NMSE"
        shown[title] = _grid(found, "action", rows, "latent_dim", LATENT_DIMS, "d_z", where)

    def largest(name: str, quantity: str) -> str:
        every = [value for values in found.values(quantity, part="trained", method=name).values() for value in values]
        return f"{max(every):.1e}" if every else "no gap"

    header = ("objective", "objective, largest excess", "probes, largest difference", "steps at most")
    rows_of = tuple(
        (
            name,
            largest(name, "excess"),
            largest(name, "difference"),
            f"{max(map(max, found.values('steps', part='trained', method=name).values())):,}",
        )
        for name in OBJECTIVES
    )
    shown["Gradient descent beside the closed form"] = Table(header, (rows_of,))
    return shown


def figures(theory: TheoryConfig, found: Found) -> dict[str, str]:
    """File name -> SVG."""
    return {
        "innovation.svg": _over(found, theory.innovation_sds, "exogenous_sd", "exogenous innovation σ_η", "innovation"),
        "latents.svg": _over(found, theory.latent_dims, "latent_dim", "number of latents d_z", "latents", SMALLEST),
        "latents-idle.svg": _over(found, theory.latent_dims, "latent_dim", "number of latents d_z", "latents", IDLE),
        "correlation.svg": _correlation_figure(theory, found),
        "trained.svg": _trained_figure(found),
        "prefix.svg": _prefix_figure(theory, found),
        "translators.svg": _translator_figure(theory, found),
    }


def _draw(axes: Axes, values: Sequence[float], series: dict[str, Callable[[float], list[float]]]) -> None:
    """Curves over values that stand at even distances."""
    places = [float(place) for place in range(len(values))]
    curves(axes, places, {name: [of(value) for value in values] for name, of in series.items()})
    axes.set_xticks(places, [f"{value:g}" for value in values])


def _over(found: Found, values: Sequence[float], key: str, label: str, part: str, minimiser: str | None = None) -> str:
    """Action NMSE and leakage of the objectives, side by side."""
    where = {"part": part} | ({} if minimiser is None else {"minimiser": minimiser})

    def draw(axes: Axes, number: int) -> None:
        quantity = list(_SHOWN)[number]

        def of(name: str) -> Callable[[float], list[float]]:
            return lambda value: found.of_seeds(quantity, **{**where, "method": name, key: value})

        _draw(axes, values, {name: of(name) for name in _DRAWN})

    return panels(list(_SHOWN.values()), draw, label, "share of variance", width=3.6)


def _correlation_figure(theory: TheoryConfig, found: Found) -> str:
    kinds = [(kind, quantity) for kind in KINDS for quantity in ("action_given_obs", "excess_leakage")]

    def draw(axes: Axes, number: int) -> None:
        kind, quantity = kinds[number]

        def of(name: str) -> Callable[[float], list[float]]:
            where = {"part": "correlation", "kind": kind, "twins": "conditional", "method": name}
            return lambda value: found.of_seeds(quantity, correlation=value, **where)

        _draw(axes, theory.correlations, {name: of(name) for name in _DRAWN})

    names = {"action_given_obs": "action NMSE", "excess_leakage": "leakage above that of a"}
    titles = [f"{'a with η' if kind == 'innovation' else 'a with ξ'}: {names[quantity]}" for kind, quantity in kinds]
    return panels(titles, draw, "correlation", "share of variance", width=3.0)


def _trained_figure(found: Found) -> str:
    def draw(axes: Axes, number: int) -> None:
        def of(quantity: str, name: str) -> list[float]:
            every = found.values(quantity, part="trained", method=name)
            return [value for values in every.values() for value in values]

        series = {name: list(zip(of("leakage", name), of("trained_leakage", name), strict=True)) for name in _DRAWN}
        points(axes, series)
        axes.set_ylabel("leakage of η, trained")

    return panels(["every world and d_z"], draw, "leakage of η, closed form", "leakage of η, trained", width=3.6)


def _prefix_figure(theory: TheoryConfig, found: Found) -> str:
    orders = (VARIANCE, ENDOGENOUS)

    def draw(axes: Axes, number: int) -> None:
        def of(sd: float) -> Callable[[float], list[float]]:
            where = {"part": "prefix", "order": orders[number], "exogenous_sd": sd}
            return lambda k: found.of_seeds("action_given_obs", k=k, **where)

        shown = theory.innovation_sds[-4:]
        _draw(axes, theory.latent_dims, {f"σ_η = {sd:g}": of(sd) for sd in shown})

    return panels([f"slots {order}" for order in orders], draw, "retained slots k", "action NMSE", width=3.4)


def _translator_figure(theory: TheoryConfig, found: Found) -> str:
    lengths = translated_lengths(theory)

    def draw(axes: Axes, number: int) -> None:
        def of(name: str) -> Callable[[float], list[float]]:
            where = {"part": "translator", "k": lengths[number], "translator": name}
            return lambda count: found.of_seeds("error", labels=count, **where)

        _draw(axes, theory.label_counts, {name: of(name) for name in (SAMPLED, FIXED, RIDGE)})
        axes.set_yscale("log")

    return panels([f"k = {k}" for k in lengths], draw, "labels N", "action NMSE", width=3.4)
