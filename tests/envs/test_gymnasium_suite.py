import re
import shlex
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from command_line import run_command
from flexlam.core.errors import ConfigError, DataError, SuiteError
from flexlam.core.extras import EXOGENOUS_STATE
from flexlam.data.readers import open_dataset
from flexlam.envs import gymnasium_suite
from flexlam.envs.base import Suite, open_suite
from flexlam.envs.gymnasium_suite import GymnasiumSuite, shrink
from flexlam.envs.overlay import Flicker, OverlaySuite
from flexlam.envs.vizdoom import VizdoomSuite

PAGE = Path(__file__).parents[2] / "docs" / "gymnasium.md"


class Toy(gymnasium.Env):
    """Observes a picture that counts the steps; what it was told to do is the reward."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - Gymnasium's own way
    action_space: spaces.Space = spaces.Discrete(3, start=5)

    def __init__(self, shape: tuple[int, ...] = (8, 12, 3), length: int = 4, render_mode: str | None = None) -> None:
        self.observation_space = spaces.Box(0, 255, shape, np.uint8)
        self.length, self.render_mode = length, render_mode
        self.picture = np.zeros(shape, np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0
        self.picture[:] = 0
        return self.picture, {"seed": seed}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        self.picture[:] = self.count  # in place, as emulators do
        return self.picture, float(np.sum(action)), False, self.count == self.length, {}


class Plain(Toy):
    """Observes a number and cannot draw."""

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__()
        self.observation_space = spaces.Discrete(2)


class Painter(Plain):
    """Draws with pygame and keeps its font from frame to frame."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 12}  # noqa: RUF012
    font: Any = None

    def render(self) -> np.ndarray:
        import pygame

        if self.font is None:
            pygame.init()
            self.font = pygame.font.Font(None, 20)
        surface = pygame.Surface((80, 40))
        surface.blit(self.font.render(str(self.count), True, (255, 255, 255)), (4, 4))
        return pygame.surfarray.array3d(surface).transpose(1, 0, 2)

    def close(self) -> None:
        import pygame

        pygame.display.quit()
        pygame.quit()


class Unusable(Painter):
    """Promises pictures and draws floats."""

    def render(self) -> np.ndarray:
        return np.zeros((8, 8, 3), np.float32)


class Crashing(Toy):
    """Falls over at the first step."""

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        raise RuntimeError("the wheel came off")


@pytest.fixture(autouse=True, scope="module")
def toys() -> Iterator[None]:
    entries: dict[str, Any] = {
        "Toy-v0": Toy,
        "ToyGrey-v0": lambda **kw: Toy((64, 64, 1), **kw),
        "ToyPlain-v0": Plain,
        "ToyPainter-v0": Painter,
        "ToyUnusable-v0": Unusable,
        "ToyCrashing-v0": Crashing,
    }
    for name, entry in entries.items():
        gymnasium.register(name, entry)
    yield
    for name in entries:
        gymnasium.registry.pop(name)


def play(suite: Suite, seed: int, num_steps: int = 20) -> np.ndarray:
    """(T, H, W, C) frames under random actions."""
    generator = np.random.default_rng(seed)
    with suite.make(suite.tasks[0]) as environment:
        frames = [environment.reset(seed).obs]
        for _ in range(num_steps):
            step = environment.step(environment.sample_action(generator))
            frames.append(step.obs)
            if step.terminated or step.truncated:
                break
    return np.stack(frames)


def test_names_open_suites() -> None:
    assert isinstance(open_suite("vizdoom"), VizdoomSuite)
    suite = open_suite("gymnasium:CartPole-v1")
    assert suite.tasks == ("CartPole-v1",)
    assert (suite.frame_shape, suite.fps, suite.has_expert) == ((64, 64, 3), 50.0, False)
    assert suite.action_spec.num_choices == (2,)
    assert suite.reference("CartPole-v1") is None
    with pytest.raises(ConfigError, match="Did you mean 'gymnasium'"):
        open_suite("gymnasum:CartPole-v1")
    with pytest.raises(ConfigError, match="takes no ID"):
        open_suite("vizdoom:basic")
    for nothing in ("gymnasium", "gymnasium:"):
        with pytest.raises(ConfigError, match="Give its ID"):
            open_suite(nothing)
    with pytest.raises(ConfigError, match="no Gymnasium ID"):
        open_suite("gymnasium:a:b:c")


def test_the_module_that_registers_an_environment_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy_module.py").write_text(
        "import gymnasium\ngymnasium.register('FromModule-v0', 'gymnasium.envs.classic_control:PendulumEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    suite = open_suite("gymnasium:toy_module:FromModule-v0")
    gymnasium.registry.pop("FromModule-v0")
    del sys.modules["toy_module"]
    assert suite.tasks == ("toy_module:FromModule-v0",)
    assert suite.action_spec.num_continuous == 1


@pytest.mark.parametrize("name", ["CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0"])
def test_the_same_seed_and_actions_give_the_same_frames(name: str) -> None:
    suite = GymnasiumSuite(name)
    first = play(suite, 3)
    assert first.shape[1:] == (64, 64, 3) and first.dtype == np.uint8
    assert (first[1:] != first[:-1]).any()
    np.testing.assert_array_equal(first, play(suite, 3))
    assert (first[0] != play(suite, 4)[0]).any()
    with suite.make(name) as environment:  # an episode before it changes nothing
        environment.reset(9)
        environment.step(environment.sample_action(np.random.default_rng(0)))
        np.testing.assert_array_equal(environment.reset(3).obs, first[0])


def test_image_observations_are_the_frames_and_are_never_drawn() -> None:
    suite = GymnasiumSuite("Toy-v0", frame_size=4)
    assert (suite.frame_shape, suite.fps) == ((4, 4, 3), 30.0)
    with suite.make("Toy-v0") as environment:
        steps = [environment.reset(0)] + [environment.step(np.array([i], np.float32)) for i in (0, 1, 2, 0)]
    assert [int(step.obs.mean()) for step in steps] == [0, 1, 2, 3, 3], "after the end, the last frame again"
    assert [step.reward for step in steps] == [0.0, 5.0, 6.0, 7.0, 5.0]
    assert [step.truncated for step in steps] == [False] * 4 + [True]
    assert not any(step.terminated for step in steps)


def test_frames_of_the_right_size_are_copies() -> None:
    suite = GymnasiumSuite("ToyGrey-v0")
    assert suite.frame_shape == (64, 64, 1)
    with suite.make("ToyGrey-v0") as environment:
        first = environment.reset(0).obs
        environment.step(np.zeros(1, np.float32))
    assert first.max() == 0


def test_shrinking_takes_the_mean_of_each_area() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    means = picture.reshape(3, 2, 3, 3, 3).mean((1, 3))
    np.testing.assert_allclose(shrink(picture, 3), means, atol=1)
    np.testing.assert_array_equal(shrink(picture[..., :1], 3), shrink(picture, 3)[..., :1])


def test_seeds_of_63_bits_become_31_bits() -> None:
    with GymnasiumSuite("Toy-v0").make("Toy-v0") as environment:
        seen = []
        reset = environment._env.unwrapped.reset
        environment._env.unwrapped.reset = lambda **kw: seen.append(kw["seed"]) or reset(**kw)
        for seed in (5, 2**62 + 5, 2**63 - 1):
            environment.reset(seed)
    assert seen[0] == 5 and len(set(seen)) == 3 and max(seen) < 2**31


def test_closing_one_environment_leaves_the_others_their_fonts() -> None:
    suite = GymnasiumSuite("ToyPainter-v0")
    assert suite.fps == 12.0
    with suite.make("ToyPainter-v0") as environment:
        before = environment.reset(0).obs
        assert before.any()
        play(suite, 1, 2)  # opens and closes another one
        np.testing.assert_array_equal(environment.reset(0).obs, before)
        step = environment.step(np.zeros(1, np.float32))
    assert (step.obs != before).any()


def test_the_guard_of_pygame_is_what_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, Gymnasium's own behaviour: the first to close ends pygame for all."""
    suite = GymnasiumSuite("ToyPainter-v0")
    monkeypatch.setattr(gymnasium_suite, "_open_environments", set())
    with suite.make("ToyPainter-v0") as environment:
        environment.reset(0)
        gymnasium_suite._open_environments.clear()
        play(suite, 1, 2)
        with pytest.raises(SuiteError, match=r"has crashed.*font"):
            environment.reset(0)


def test_environments_in_threads_draw_what_they_draw_alone() -> None:
    suite = GymnasiumSuite("CartPole-v1")
    alone = [play(suite, seed, 8) for seed in range(4)]
    together: dict[int, np.ndarray] = {}
    threads = [threading.Thread(target=lambda s=seed: together.update({s: play(suite, s, 8)})) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, frames in enumerate(alone):
        np.testing.assert_array_equal(together[seed], frames)


def test_overlays_draw_over_it() -> None:
    suite = OverlaySuite(GymnasiumSuite("CartPole-v1"), [Flicker(Flicker.Config())])
    assert not suite.has_expert
    with suite.make("CartPole-v1") as environment:
        step = environment.reset(0)
        action = environment.sample_action(np.random.default_rng(0))
        assert step.extras[EXOGENOUS_STATE].shape == (4,) and action.shape == (1,)


def test_use_in_the_wrong_order_is_refused() -> None:
    with GymnasiumSuite("Toy-v0").make("Toy-v0") as environment:
        with pytest.raises(SuiteError, match="reset"):
            environment.step(np.zeros(1, np.float32))
        environment.reset(0)
        with pytest.raises(SuiteError, match=r"no scripted expert.*--behaviour random"):
            environment.expert_action()
        assert environment.legal_actions().tolist() == [True] * 3
        for action in ([3], [-1], [0.5], [np.nan], [0, 0], [[0]], []):
            with pytest.raises(DataError):
                environment.step(np.array(action, np.float32))
        for _ in range(4):
            environment.step(np.zeros(1, np.float32))
        with pytest.raises(SuiteError, match="over"):
            environment.step(np.zeros(1, np.float32))
        environment.close()
        environment.close()
        with pytest.raises(SuiteError, match="closed"):
            environment.reset(0)
    with pytest.raises(ConfigError, match="Known: Toy-v0"):
        GymnasiumSuite("Toy-v0").make("Other-v0")
    with pytest.raises(ConfigError, match="frame size"):
        GymnasiumSuite("Toy-v0", frame_size=0)


def test_a_crash_is_told_and_ends_the_environment() -> None:
    with GymnasiumSuite("ToyCrashing-v0").make("ToyCrashing-v0") as environment:
        environment.reset(0)
        with pytest.raises(SuiteError, match="crashed: the wheel came off"):
            environment.step(np.zeros(1, np.float32))
        with pytest.raises(SuiteError, match="closed"):
            environment.reset(0)


@pytest.mark.parametrize(
    ("name", "tells"),
    [
        ("CartPol-v1", "Did you mean 'CartPole-v1'"),
        ("CartPole-v77", "no Gymnasium environment 'CartPole-v77'"),
        ("ALE2/Pong-v5", "gymnasium:MODULE:ID"),
        ("no_such_module:Toy-v0", "No module named 'no_such_module'.*pip install no_such_module"),
        ("ToyPlain-v0", "no frames.*renders nothing"),
        ("ToyUnusable-v0", "picture is .*float32; expected"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(name: str, tells: str) -> None:
    with pytest.raises(SuiteError, match=tells):
        GymnasiumSuite(name)
    assert len(gymnasium_suite._open_environments) == 0


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(SuiteError, match=r"pygame is not installed.*gymnasium\[classic.control\]"):
        GymnasiumSuite("CartPole-v1")


@pytest.mark.parametrize("behaviour", ["expert", "mixed"])
def test_behaviours_that_need_an_expert_are_refused_before_anything_is_replaced(tmp_path: Path, behaviour: str) -> None:
    (tmp_path / "precious.txt").write_text("keep")
    arguments = ("collect", "vizdoom-tiny", "--suite", "gymnasium:CartPole-v1", "--tasks", "CartPole-v1", "--quiet")
    said = run_command(*arguments, "--behaviour", behaviour, "--out", tmp_path, "--overwrite")
    assert said.code == 2 and "--behaviour random" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def test_the_page_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"^```bash\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for line in block.replace("\\\n", " ").splitlines():
        said = run_command(*shlex.split(line)[1:], *(["--quiet"] if " collect " in line else []))
        assert said.code == 0, said.err or said.out
    info = open_dataset(tmp_path / "cartpole").info
    assert (info.num_frames, info.fps, info.frame_shape, info.tasks) == (400, 50.0, (64, 64, 3), ("CartPole-v1",))
    assert info.action_spec is not None and info.action_spec.num_choices == (2,)
    car = open_dataset(tmp_path / "car")
    assert car.info.action_spec is not None and car.info.action_spec.num_continuous == 1
    actions = car.columns(car.episodes()[0]).actions
    assert actions is not None and np.abs(actions).max() <= 1 and len(np.unique(actions)) > 50
