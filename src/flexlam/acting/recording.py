"""Record a suite as a LeRobot dataset, from settings."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from flexlam.acting.collect import Behaviour, Expert, Mixed, Random, collect
from flexlam.core.config import Config, component
from flexlam.core.errors import ConfigError
from flexlam.core.files import check_output_folder
from flexlam.data.lerobot_writer import LeRobotWriter
from flexlam.envs.base import Suite, open_suite
from flexlam.envs.overlay import OverlayConfig, with_overlays


class RecordingConfig(Config):
    """Settings of a recording."""

    suite: str = "vizdoom"
    """Name of the suite: vizdoom, gridworld, two-routes, dm_control:TASK, metaworld, procgen (or one of their tasks
    alone, say procgen:maze), or gymnasium:ID for what is registered with Gymnasium."""
    tasks: tuple[str, ...] = ()
    """Tasks to record; empty means all of them."""
    num_frames: int = Field(default=10_000, ge=2)
    """Frames of each task."""
    behaviour: Literal["expert", "random", "mixed"] = "mixed"
    """expert, random (held random actions), or mixed (the expert with bursts of held random actions)."""
    noise: float = Field(default=0.15, ge=0, lt=1)
    """Share of random decisions in the mixed behaviour."""
    seed: int = 0
    """Everything random follows from it; recorded episodes never share a seed with validation or test episodes."""
    overlays: tuple[component(OverlayConfig), ...] = ()  # type: ignore[valid-type]
    """Exogenous nuisance drawn over the frames, or behind the foreground of worlds that tell it, in this order."""
    overlay_seed: int | None = None
    """What the nuisance follows from; None: `seed`. Recordings that differ in this alone are twins: the same games
    under other backgrounds (docs/worlds.md)."""

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Settings of before there were twins keep their hash, and steps of studies their folders."""
        values: dict[str, Any] = handler(self)
        if self.overlay_seed is None:
            values.pop("overlay_seed", None)
        return values


def make_suite(config: RecordingConfig) -> Suite:
    """The suite with its overlays.

    Raises:
        ConfigError: there is no such suite, or a package that it needs is missing.
        SuiteError: the environment that its ID names cannot be used.
    """
    seed = config.seed if config.overlay_seed is None else config.overlay_seed
    return with_overlays(open_suite(config.suite), config.overlays, seed)


def record(
    config: RecordingConfig,
    out: Path,
    with_actions: bool = True,
    overwrite: bool = False,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Write a lossless LeRobot v3.0 dataset; without actions it holds frames and rewards only.

    Raises:
        ConfigError, OutputError: nothing was recorded (a suite without an expert records random actions only, and a
            seed for overlays needs overlays).
        SuiteError: a game crashed; what was recorded before lies in `out`, whole.
    """
    suite = make_suite(config)
    if config.overlay_seed is not None and not config.overlays:
        raise ConfigError(
            f"The overlay seed is {config.overlay_seed}, and there are no overlays. Name some (--overlay waves), "
            "or leave the seed out."
        )
    if config.behaviour != "random" and not suite.has_expert:
        raise ConfigError(
            f"The behaviour {config.behaviour!r} needs a scripted expert, and {config.suite!r} has none. "
            "Use --behaviour random."
        )
    check_output_folder(out, overwrite)
    spec = suite.action_spec if with_actions else None
    with LeRobotWriter(out, suite.fps, suite.frame_shape, spec) as writer, _telling_what_is_kept(writer, out):
        collect(
            suite,
            config.tasks or suite.tasks,
            config.num_frames,
            _behaviour(config),
            config.seed,
            writer,
            with_actions=with_actions,
            progress=progress,
        )


def _behaviour(config: RecordingConfig) -> Behaviour:
    if config.behaviour == "mixed":
        return Mixed(config.noise)
    return Expert() if config.behaviour == "expert" else Random()


@contextmanager
def _telling_what_is_kept(writer: LeRobotWriter, out: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        kept = f"{writer.num_episodes} episodes, {writer.num_frames:,} frames" if writer.num_episodes else "nothing"
        raise KeyboardInterrupt(f"kept {kept} in {out}; start anew with --overwrite for the rest") from None
