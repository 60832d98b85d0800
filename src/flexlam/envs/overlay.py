"""Exogenous nuisance over any suite: pictures that move by themselves, with their exact state recorded.

An overlay never sees the actions: its state follows a random stream of its own. The state of a frame and the overlay's
settings determine what is drawn, so the same game frame can be drawn again under another state (paired transitions).
Where a suite tells which pixels are its foreground, overlays are backdrops: they are drawn behind it.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import ClassVar, Protocol, Self

import numpy as np
from pydantic import Field

from flexlam.core import catalog
from flexlam.core.action import ActionSpec
from flexlam.core.config import ComponentConfig
from flexlam.core.errors import ConfigError, DataError
from flexlam.core.extras import EXOGENOUS_INNOVATION, EXOGENOUS_STATE
from flexlam.core.seeding import numpy_generator
from flexlam.envs.base import Environment, Reference, Step, Suite


class OverlayConfig(ComponentConfig):
    """Settings of one overlay."""

    kind: ClassVar[str] = "overlay"


class Overlay(Protocol):
    """Draws on frames (H, W, 3) uint8 what its state, a float32 vector, says."""

    state_size: int
    innovation_size: int
    """How many numbers are drawn for each decision."""

    def start(self, generator: np.random.Generator, frame_shape: tuple[int, int, int]) -> np.ndarray:
        """State (state_size,) of the first frame of an episode."""

    def advance(
        self, state: np.ndarray, generator: np.random.Generator, frame_shape: tuple[int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """State one decision later, and its innovation (innovation_size,): the standard normal numbers drawn for it.

        The present state and the innovation settle the next state.
        """

    def apply(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        """A new frame with the overlay drawn on it; the same inputs give the same pixels."""


class DriftingTexture:
    """Smooth coloured noise that is added to the frame and drifts in a slowly changing direction.

    State: offset x, y in pixels, velocity x, y in pixels per decision.
    """

    class Config(OverlayConfig):
        """Settings."""

        name: str = "texture"
        strength: float = Field(default=0.25, ge=0, le=1)
        """Standard deviation of the added noise as a share of half the brightness range."""
        grain: float = Field(8.0, gt=1)
        """Size of the blotches in pixels."""
        speed: float = Field(default=2.0, ge=0)
        """Typical drift in pixels per decision."""
        tile: int = Field(default=64, ge=8)
        """The texture repeats after so many pixels."""
        pattern_seed: int = 0
        """Which texture."""

    state_size = 4
    innovation_size = 2

    def __init__(self, config: Config) -> None:
        self.config = config

    def start(self, generator: np.random.Generator, frame_shape: tuple[int, int, int]) -> np.ndarray:
        """(4,) state of the first frame."""
        place = generator.uniform(0, self.config.tile, 2)
        return np.concatenate([place, self.config.speed * generator.standard_normal(2)]).astype(np.float32)

    def advance(
        self, state: np.ndarray, generator: np.random.Generator, frame_shape: tuple[int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(4,) state one decision later, and (2,) innovation of the velocity."""
        velocity, innovation = _drift(state[2:], self.config.speed, memory=0.95, generator=generator)
        moved = np.concatenate([(state[:2] + velocity) % self.config.tile, velocity]).astype(np.float32)
        return moved, innovation

    def apply(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        """The frame with the texture added."""
        check_drawing(frame, state, self.state_size)
        height, width, _ = frame.shape
        (x, part_x), (y, part_y) = ((int(v), np.float32(v) - int(v)) for v in state[:2])
        rows = (np.arange(height + 1) + y) % self.config.tile
        columns = (np.arange(width + 1) + x) % self.config.tile
        texture = self._texture[rows][:, columns]  # (H + 1, W + 1, 3)
        texture = texture[:-1] + part_y * (texture[1:] - texture[:-1])
        texture = texture[:, :-1] + part_x * (texture[:, 1:] - texture[:, :-1])
        return np.clip(frame + texture, 0, 255).astype(np.uint8)

    @cached_property
    def _texture(self) -> np.ndarray:
        """(tile, tile, 3) float32, periodic, zero mean."""
        noise = np.random.default_rng(self.config.pattern_seed).standard_normal((self.config.tile,) * 2 + (3,))
        frequency = np.fft.fftfreq(self.config.tile)
        squared = frequency[:, None] ** 2 + frequency**2
        blur = np.exp(-squared * (2 * self.config.grain) ** 2)
        smooth = np.fft.ifft2(np.fft.fft2(noise, axes=(0, 1)) * blur[..., None], axes=(0, 1)).real
        smooth = (smooth - smooth.mean((0, 1))) / smooth.std((0, 1))
        return (127.5 * self.config.strength * smooth).astype(np.float32)


class Flicker:
    """Brightness and tint that wander. State: log2 gain of red, green and blue."""

    class Config(OverlayConfig):
        """Settings."""

        name: str = "flicker"
        strength: float = Field(default=0.3, ge=0, le=2)
        """Standard deviation of the common gain in stops (factors of two)."""
        tint: float = Field(default=0.1, ge=0, le=2)
        """Standard deviation of each channel's own gain in stops."""
        memory: float = Field(default=0.7, ge=0, lt=1)
        """Correlation between successive decisions."""

    state_size = innovation_size = 4

    def __init__(self, config: Config) -> None:
        self.config = config

    def start(self, generator: np.random.Generator, frame_shape: tuple[int, int, int]) -> np.ndarray:
        """(4,) state of the first frame: common gain, then red, green, blue."""
        return (self._scale * generator.standard_normal(4)).astype(np.float32)

    def advance(
        self, state: np.ndarray, generator: np.random.Generator, frame_shape: tuple[int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(4,) state one decision later, and its (4,) innovation."""
        return _drift(state, self._scale, self.config.memory, generator)

    def apply(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        """The frame with its channels scaled."""
        check_drawing(frame, state, self.state_size)
        gain = np.exp2(state[0] + state[1:])
        return np.clip(frame * gain, 0, 255).astype(np.uint8)

    @property
    def _scale(self) -> np.ndarray:
        return np.array([self.config.strength] + [self.config.tint] * 3, np.float32)


class MovingSprites:
    """Coloured discs that fly about and bounce off the edges.

    State: for each sprite, centre x, y in pixels and velocity x, y in pixels per decision.
    """

    class Config(OverlayConfig):
        """Settings."""

        name: str = "sprites"
        num_sprites: int = Field(default=3, ge=1)
        """How many."""
        radius: float = Field(6.0, gt=0)
        """Pixels."""
        speed: float = Field(default=2.5, ge=0)
        """Typical speed in pixels per decision."""
        strength: float = Field(default=1.0, ge=0, le=1)
        """Opacity."""
        pattern_seed: int = 0
        """Which colours."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.state_size, self.innovation_size = 4 * config.num_sprites, 2 * config.num_sprites
        colours = np.random.default_rng(config.pattern_seed).uniform(0, 255, (config.num_sprites, 3))
        self._colours = colours.astype(np.float32)

    def start(self, generator: np.random.Generator, frame_shape: tuple[int, int, int]) -> np.ndarray:
        """(4 * num_sprites,) state of the first frame."""
        height, width, _ = frame_shape
        place = generator.uniform(0, 1, (self.config.num_sprites, 2)) * (width, height)
        velocity = self.config.speed * generator.standard_normal((self.config.num_sprites, 2))
        return np.concatenate([place, velocity], axis=1).astype(np.float32).ravel()

    def advance(
        self, state: np.ndarray, generator: np.random.Generator, frame_shape: tuple[int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(4 * num_sprites,) state one decision later, and (2 * num_sprites,) innovation of the velocities."""
        height, width, _ = frame_shape
        sprites = state.reshape(-1, 4)
        velocity, innovation = _drift(sprites[:, 2:], self.config.speed, memory=0.97, generator=generator)
        place = sprites[:, :2] + velocity
        edge = np.array([width, height], np.float32)
        outside = (place < 0) | (place > edge)
        place = np.clip(np.where(place < 0, -place, np.where(place > edge, 2 * edge - place, place)), 0, edge)
        moved = np.concatenate([place, np.where(outside, -velocity, velocity)], axis=1).astype(np.float32).ravel()
        return moved, innovation.ravel()

    def apply(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        """The frame with the sprites in front."""
        check_drawing(frame, state, self.state_size)
        drawn = frame.copy()
        height, width, _ = frame.shape
        reach = self.config.radius + 1
        for (x, y, _, _), colour in zip(state.reshape(-1, 4).tolist(), self._colours, strict=True):
            top, left = max(int(y - reach), 0), max(int(x - reach), 0)
            rows = np.arange(top, min(int(y + reach) + 1, height), dtype=np.float32)
            columns = np.arange(left, min(int(x + reach) + 1, width), dtype=np.float32)
            distance = np.sqrt((rows[:, None] + 0.5 - y) ** 2 + (columns + 0.5 - x) ** 2)
            cover = self.config.strength * np.clip(self.config.radius + 0.5 - distance, 0, 1)[..., None]
            patch = drawn[top : top + len(rows), left : left + len(columns)]
            patch[:] = np.clip(patch + cover * (colour - patch), 0, 255).astype(np.uint8)
        return drawn


class OverlaySuite:
    """A suite whose frames carry overlays, behind the foreground where the suite tells it.

    `Step.extras` holds their states and innovations, one overlay after another, under the names of core/extras.py.

    Raises:
        ConfigError: the suite has overlays already, or none are given.
    """

    def __init__(self, suite: Suite, overlays: Sequence[Overlay], seed: int = 0) -> None:
        if isinstance(suite, OverlaySuite):
            raise ConfigError("The suite has overlays already. Give all of them to one OverlaySuite.")
        if not overlays:
            raise ConfigError("No overlay was given. Use the suite itself, or name one: flexlam list overlay")
        self.suite = suite
        self.overlays = tuple(overlays)
        self.seed = seed
        self.tasks = suite.tasks
        self.action_spec = suite.action_spec
        self.frame_shape = suite.frame_shape
        self.fps = suite.fps
        self.has_expert = suite.has_expert
        self.games_apart = suite.games_apart

    def make(self, task: str) -> "OverlayEnvironment":
        """Start the game of a task."""
        return OverlayEnvironment(self.suite.make(task), self)

    def reference(self, task: str) -> Reference | None:
        """The suite's own: overlays change neither rewards nor the expert, who does not look at frames."""
        return self.suite.reference(task)

    def apply(self, frame: np.ndarray, state: np.ndarray, foreground: np.ndarray | None = None) -> np.ndarray:
        """Draw all overlays at a recorded state on a clean frame, behind its foreground (H, W) bool if there is one."""
        return apply(self.overlays, frame, state, foreground)


class OverlayEnvironment:
    """One running game with overlays on its frames."""

    def __init__(self, environment: Environment, suite: OverlaySuite) -> None:
        self.action_spec: ActionSpec = environment.action_spec
        self._environment = environment
        self._suite = suite
        self._generator = np.random.default_rng(0)
        self._states: list[np.ndarray] = []
        self._innovations: list[np.ndarray] = []

    def reset(self, seed: int) -> Step:
        """Start an episode; the overlays' stream depends on this seed and the suite's, not on the actions."""
        step = self._environment.reset(seed)
        self._generator = numpy_generator(self._suite.seed, "overlay", seed)
        shape = self._suite.frame_shape
        self._states = [overlay.start(self._generator, shape) for overlay in self._suite.overlays]
        self._innovations = [np.zeros(overlay.innovation_size, np.float32) for overlay in self._suite.overlays]
        return self._draw(step)

    def step(self, action: np.ndarray) -> Step:
        """Execute an action in the game and move the overlays on."""
        step = self._environment.step(action)
        if not (step.terminated or step.truncated):  # the frame after the end is the last one again
            shape = self._suite.frame_shape
            for number, overlay in enumerate(self._suite.overlays):
                moved = overlay.advance(self._states[number], self._generator, shape)
                self._states[number], self._innovations[number] = moved
        return self._draw(step)

    def expert_action(self) -> np.ndarray:
        """What the scripted expert of the game would do now."""
        return self._environment.expert_action()

    def legal_actions(self) -> np.ndarray:
        """(sum of num_choices,) bool: the choices that do something in this task."""
        return self._environment.legal_actions()

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        """A random action (A,) float32 of the game."""
        return self._environment.sample_action(generator)

    def close(self) -> None:
        """End the game; calling it twice does no harm."""
        self._environment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _draw(self, step: Step) -> Step:
        state = np.concatenate(self._states)
        told = {EXOGENOUS_STATE: state, EXOGENOUS_INNOVATION: np.concatenate(self._innovations)}
        obs = apply(self._suite.overlays, step.obs, state, step.foreground)
        return replace(step, obs=obs, extras={**step.extras, **told})


def apply(
    overlays: Sequence[Overlay], frame: np.ndarray, state: np.ndarray, foreground: np.ndarray | None = None
) -> np.ndarray:
    """Draw overlays, in order, on a clean frame (H, W, 3) uint8 at their joint state (sum of sizes,) float32.

    Pixels of the foreground (H, W) bool stay as they are.

    Raises:
        DataError: the frame, the state or the foreground has another shape.
    """
    clean = frame
    total = sum(overlay.state_size for overlay in overlays)
    check_drawing(frame, state, total)
    start = 0
    for overlay in overlays:
        frame = overlay.apply(frame, state[start : start + overlay.state_size])
        start += overlay.state_size
    if foreground is None:
        return frame
    if foreground.shape != clean.shape[:2] or foreground.dtype != bool:
        raise DataError(
            f"The foreground is {foreground.dtype} {foreground.shape}; expected bool {clean.shape[:2]}, as the frame."
        )
    return np.where(foreground[..., None], clean, frame)


def _drift(
    value: np.ndarray, scale: float | np.ndarray, memory: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One step of a process that forgets, with standard deviation `scale` in the long run; and its innovation."""
    innovation = generator.standard_normal(value.shape)
    noise = scale * np.sqrt(1 - memory**2) * innovation
    return (memory * value + noise).astype(np.float32), innovation.astype(np.float32)


def check_drawing(frame: np.ndarray, state: np.ndarray, size: int) -> None:
    """Refuse what cannot be drawn.

    Raises:
        DataError: the frame is no (H, W, 3) uint8, or the state no (size,).
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        raise DataError(f"Overlays draw on (H, W, 3) uint8 frames; got {frame.shape} {frame.dtype}.")
    if state.shape != (size,):
        raise DataError(f"The overlay state has shape {state.shape}; expected ({size},) for these overlays.")


def with_overlays(suite: Suite, overlays: Sequence[OverlayConfig], seed: int) -> Suite:
    """The suite with overlays drawn over its frames, or as it is where there are none."""
    if not overlays:
        return suite
    return OverlaySuite(suite, [catalog.lookup("overlay", overlay.name)(overlay) for overlay in overlays], seed)
