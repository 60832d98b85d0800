import hashlib
from collections.abc import Callable
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest

from flexlam.core import catalog
from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, DataError
from flexlam.core.extras import EXOGENOUS_INNOVATION, EXOGENOUS_STATE
from flexlam.envs.base import Reference, Step
from flexlam.envs.overlay import (
    DriftingTexture,
    Flicker,
    MovingSprites,
    Overlay,
    OverlayConfig,
    OverlaySuite,
    apply,
)
from flexlam.envs.waves import Waves

SHAPE = (48, 64, 3)


class Counting:
    """A suite of one task whose frames show the step and the last action."""

    tasks = ("count",)
    action_spec = ActionSpec(num_choices=(4,))
    frame_shape = SHAPE
    fps = 10.0
    has_expert = True
    games_apart = False

    def __init__(self, foreground: np.ndarray | None = None) -> None:
        self.foreground = foreground

    def make(self, task: str) -> "CountingEnvironment":
        return CountingEnvironment(self.foreground)

    def reference(self, task: str) -> Reference:
        return Reference(expert=1.0, expert_stderr=0.0, random=0.0, random_stderr=0.0, num_episodes=1)


class CountingEnvironment:
    action_spec = Counting.action_spec
    closed = False

    def __init__(self, foreground: np.ndarray | None = None) -> None:
        self.foreground = foreground

    def reset(self, seed: int) -> Step:
        self.count = 0
        return self._step(0)

    def step(self, action: np.ndarray) -> Step:
        self.count += 1
        return self._step(int(action[0]))

    def _step(self, choice: int) -> Step:
        over = self.count >= 8
        obs = np.full(SHAPE, 60 + 20 * choice, np.uint8)
        obs[:, :8] = min(self.count, 7) * 10
        return Step(obs, 1.0, over, False, {"count": np.array([self.count])}, self.foreground)

    def expert_action(self) -> np.ndarray:
        return np.array([3.0], np.float32)

    def legal_actions(self) -> np.ndarray:
        return np.ones(4, bool)

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        return np.array([2.0], np.float32)

    def close(self) -> None:
        self.closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


MAKERS: dict[str, Callable[[], Overlay]] = {
    "texture": lambda: DriftingTexture(DriftingTexture.Config()),
    "flicker": lambda: Flicker(Flicker.Config()),
    "sprites": lambda: MovingSprites(MovingSprites.Config()),
    "waves": lambda: Waves(Waves.Config()),
}


def all_overlays() -> list[Overlay]:
    return [make() for make in MAKERS.values()]


def run(suite: OverlaySuite | Counting, seed: int, choices: list[int]) -> list[Step]:
    with suite.make("count") as environment:
        return [
            environment.reset(seed),
            *(environment.step(np.array([choice], np.float32)) for choice in choices),
        ]


@pytest.mark.parametrize("name", MAKERS)
def test_every_overlay_changes_the_frame_and_moves(name: str) -> None:
    steps = run(OverlaySuite(Counting(), [MAKERS[name]()], seed=3), 0, [0] * 5)
    clean = run(Counting(), 0, [0] * 5)
    states = [step.extras[EXOGENOUS_STATE] for step in steps]
    for step, bare in zip(steps, clean, strict=True):
        assert step.obs.dtype == np.uint8
        assert step.obs.shape == SHAPE
        assert (step.obs != bare.obs).mean() > 0.02
    assert all((a != b).any() for a, b in pairwise(states))


def test_drawing_again_from_the_recorded_state_gives_the_same_pixels() -> None:
    suite = OverlaySuite(Counting(), all_overlays(), seed=3)
    choices = [1, 2, 3, 0, 1]
    for step, bare in zip(run(suite, 5, choices), run(Counting(), 5, choices), strict=True):
        state = step.extras[EXOGENOUS_STATE]
        assert state.dtype == np.float32
        untouched = bare.obs.copy()
        np.testing.assert_array_equal(suite.apply(bare.obs, state), step.obs)
        np.testing.assert_array_equal(apply(all_overlays(), bare.obs, state), step.obs)  # only the settings count
        np.testing.assert_array_equal(bare.obs, untouched)


def test_same_frame_under_another_state_differs() -> None:
    suite = OverlaySuite(Counting(), all_overlays())
    first, second = run(suite, 5, [1])
    clean = run(Counting(), 5, [1])[1].obs
    drawn = [suite.apply(clean, step.extras[EXOGENOUS_STATE]) for step in (first, second)]
    assert (drawn[0] != drawn[1]).any()


def test_states_depend_on_the_seeds_and_not_on_the_actions() -> None:
    def states(suite_seed: int, episode_seed: int, choices: list[int]) -> np.ndarray:
        suite = OverlaySuite(Counting(), all_overlays(), seed=suite_seed)
        return np.stack([step.extras[EXOGENOUS_STATE] for step in run(suite, episode_seed, choices)])

    reference = states(0, 1, [0, 0, 0, 0])
    np.testing.assert_array_equal(reference, states(0, 1, [3, 1, 2, 3]))
    assert (reference != states(0, 2, [0, 0, 0, 0])).any()
    assert (reference != states(7, 1, [0, 0, 0, 0])).any()


def test_the_frame_after_the_end_is_the_last_one_again() -> None:
    steps = run(OverlaySuite(Counting(), all_overlays()), 0, [0] * 8)
    assert steps[-1].terminated
    np.testing.assert_array_equal(steps[-1].extras[EXOGENOUS_STATE], steps[-2].extras[EXOGENOUS_STATE])
    np.testing.assert_array_equal(steps[-1].obs, steps[-2].obs)


def test_everything_else_passes_through() -> None:
    suite = OverlaySuite(Counting(), all_overlays())
    assert (suite.tasks, suite.frame_shape, suite.fps) == (("count",), SHAPE, 10.0)
    assert suite.reference("count") == Counting().reference("count")
    with suite.make("count") as environment:
        step = environment.reset(0)
        assert step.extras["count"] == 0
        assert environment.expert_action() == 3
        assert environment.legal_actions().all()
        assert suite.has_expert and environment.sample_action(np.random.default_rng(0)) == 2
        assert environment.step(np.array([1], np.float32)).reward == 1.0
        inner = environment._environment
    assert inner.closed


@pytest.mark.parametrize("name", MAKERS)
def test_settings_are_found_by_name_and_survive_a_round_trip(name: str) -> None:
    config = OverlayConfig.parse({"name": name, "strength": 0.5})
    overlay = catalog.lookup("overlay", name)(config)
    assert type(overlay) is type(MAKERS[name]())
    assert overlay.config.strength == 0.5
    assert OverlayConfig.parse(config.model_dump()) == config


def test_no_strength_means_no_change() -> None:
    frame = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    overlays: list[Overlay] = [
        DriftingTexture(DriftingTexture.Config(strength=0)),
        Flicker(Flicker.Config(strength=0, tint=0)),
        MovingSprites(MovingSprites.Config(strength=0)),
        Waves(Waves.Config(strength=0)),
    ]
    for overlay in overlays:
        state = overlay.start(np.random.default_rng(1), SHAPE)
        np.testing.assert_array_equal(overlay.apply(frame, state), frame)


def test_sprites_stay_in_the_picture_and_the_texture_drifts_as_far_as_its_state_says() -> None:
    generator = np.random.default_rng(0)
    sprites = MovingSprites(MovingSprites.Config(speed=20.0))
    state = sprites.start(generator, SHAPE)
    for _ in range(200):
        state, _ = sprites.advance(state, generator, SHAPE)
        places = state.reshape(-1, 4)[:, :2]
        assert (places >= 0).all()
        assert (places <= (SHAPE[1], SHAPE[0])).all()

    texture = DriftingTexture(DriftingTexture.Config())
    grey = np.full(SHAPE, 128, np.uint8)
    here = texture.apply(grey, np.array([3, 5, 0, 0], np.float32))
    moved = texture.apply(grey, np.array([7, 6, 0, 0], np.float32))
    np.testing.assert_array_equal(moved[:-1, :-4], here[1:, 4:])


def test_pixels_and_states_of_recordings_stay_what_they_were() -> None:
    """Committed results depend on the streams and the drawing of these overlays: no change may move them by a bit."""
    digest = hashlib.sha256()
    old = [MAKERS[name]() for name in ("texture", "flicker", "sprites")]
    for step in run(OverlaySuite(Counting(), old, seed=3), 5, [1, 2, 3, 0, 1, 2]):
        digest.update(step.obs.tobytes() + step.extras[EXOGENOUS_STATE].tobytes())
    assert digest.hexdigest() == "c1244a03f159ababad297668b6dc4ec8786c41b9cdc0caa03e5e69405b32ae62"


def test_overlays_are_drawn_behind_the_foreground_and_nowhere_else_differ() -> None:
    foreground = np.zeros(SHAPE[:2], bool)
    foreground[10:30, 20:50] = True
    suite, choices = OverlaySuite(Counting(foreground), all_overlays(), seed=3), [1, 2, 3]
    steps, over, clean = (run(s, 5, choices) for s in (suite, OverlaySuite(Counting(), all_overlays(), 3), Counting()))
    for step, everywhere, bare in zip(steps, over, clean, strict=True):
        assert everywhere.foreground is None
        np.testing.assert_array_equal(step.obs[foreground], bare.obs[foreground])
        np.testing.assert_array_equal(step.obs[~foreground], everywhere.obs[~foreground])
        np.testing.assert_array_equal(step.foreground, foreground)
        again = suite.apply(bare.obs, step.extras[EXOGENOUS_STATE], foreground)
        np.testing.assert_array_equal(again, step.obs)


@pytest.mark.parametrize("name", MAKERS)
def test_the_state_before_and_the_innovation_settle_the_state(name: str) -> None:
    class Replay(np.random.Generator):
        """Its only normal numbers are given."""

        def __init__(self, numbers: np.ndarray) -> None:
            super().__init__(np.random.PCG64(0))
            self.numbers = numbers

        def standard_normal(self, shape: Any) -> np.ndarray:  # type: ignore[override]
            return self.numbers.reshape(shape)

    overlay = MAKERS[name]()
    steps = run(OverlaySuite(Counting(), [overlay], seed=3), 0, [0] * 6)
    told = [step.extras[EXOGENOUS_INNOVATION] for step in steps]
    assert all(innovation.shape == (overlay.innovation_size,) for innovation in told)
    assert told[0].dtype == np.float32 and not told[0].any() and all(innovation.all() for innovation in told[1:])
    for before, after in pairwise(steps):
        replay = Replay(after.extras[EXOGENOUS_INNOVATION])
        state, innovation = overlay.advance(before.extras[EXOGENOUS_STATE], replay, SHAPE)
        np.testing.assert_allclose(state, after.extras[EXOGENOUS_STATE], atol=1e-4)
        np.testing.assert_array_equal(innovation, after.extras[EXOGENOUS_INNOVATION])


def test_misuse_is_refused() -> None:
    suite = OverlaySuite(Counting(), all_overlays())
    with pytest.raises(ConfigError, match="already"):
        OverlaySuite(suite, all_overlays())
    with pytest.raises(ConfigError, match="No overlay"):
        OverlaySuite(Counting(), [])
    frame = np.zeros(SHAPE, np.uint8)
    with pytest.raises(DataError, match="shape"):
        suite.apply(frame, np.zeros(3, np.float32))
    with pytest.raises(DataError, match="uint8"):
        suite.apply(frame.astype(np.float32), np.zeros(20, np.float32))
    with pytest.raises(DataError, match="foreground is bool"):
        apply([Flicker(Flicker.Config())], frame, np.zeros(4, np.float32), np.ones((2, 2), bool))
    with pytest.raises(ConfigError, match="strength"):
        Flicker.Config.parse({"strength": -1})
