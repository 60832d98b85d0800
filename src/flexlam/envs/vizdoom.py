"""First-person tasks in the Doom engine: eleven bundled ViZDoom scenarios and a bot arena behind one action set."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, SuiteError, did_you_mean
from flexlam.envs.base import Reference, Step
from flexlam.envs.vizdoom_experts import Expert, make_expert
from flexlam.envs.vizdoom_process import GameProcess
from flexlam.envs.vizdoom_senses import Senses, read_walls

ACTION_NAMES: tuple[str, ...] = (
    "noop",
    "forward",
    "back",
    "left",
    "right",
    "turn_left",
    "turn_right",
    "attack",
    "forward+turn_left",
    "forward+turn_right",
    "forward+left",
    "forward+right",
    "attack+turn_left",
    "attack+turn_right",
    "attack+left",
    "attack+right",
    "attack+forward",
    "attack+back",
)
"""The 18 choices that every task shares: no button, each of the seven, and pairs of them."""

_CHOICES = frozenset(map(float, range(len(ACTION_NAMES))))
_BUTTONS = {
    "forward": "MOVE_FORWARD",
    "back": "MOVE_BACKWARD",
    "left": "MOVE_LEFT",
    "right": "MOVE_RIGHT",
    "turn_left": "TURN_LEFT",
    "turn_right": "TURN_RIGHT",
    "attack": "ATTACK",
}
_FRAME_SKIP = 4
_SIZE = 64


@dataclass(frozen=True)
class _Task:
    scenario: str
    timeout: int | None = None
    """Tics, where the scenario has no limit of its own or another one."""
    num_bots: int = 0


_TASKS = {
    "basic": _Task("basic"),
    "rocket_basic": _Task("rocket_basic"),
    "deadly_corridor": _Task("deadly_corridor"),
    "defend_the_center": _Task("defend_the_center"),
    "defend_the_line": _Task("defend_the_line", timeout=2100),
    "health_gathering": _Task("health_gathering"),
    "health_gathering_supreme": _Task("health_gathering_supreme"),
    "my_way_home": _Task("my_way_home"),
    "predict_position": _Task("predict_position"),
    "take_cover": _Task("take_cover", timeout=2100),
    "deathmatch": _Task("deathmatch"),
    "arena": _Task("cig", timeout=2100, num_bots=3),
}


class VizdoomSuite:
    """The tasks, all with 64×64 RGB frames and one decision every four tics (35 tics a second).

    Scenarios, rewards and time limits are ViZDoom's own; take_cover and defend_the_line, which have no limit, end
    after 2100 tics. The arena is a deathmatch against three bots: the return is the player's frags.
    """

    tasks: tuple[str, ...] = tuple(_TASKS)
    action_spec = ActionSpec(num_choices=(len(ACTION_NAMES),), names=ACTION_NAMES)
    frame_shape = (_SIZE, _SIZE, 3)
    fps = 35 / _FRAME_SKIP
    has_expert = True
    games_apart = True

    def make(self, task: str) -> "VizdoomEnvironment":
        """Start the game of a task.

        Raises:
            ConfigError: there is no such task.
            SuiteError: the game cannot be started.
        """
        _check_task(task)
        return VizdoomEnvironment(task)

    def reference(self, task: str) -> Reference | None:
        """Expert and random returns from `vizdoom_reference.json`; None for the arena, which is no yardstick."""
        _check_task(task)
        row = _reference_rows().get(task)
        return None if row is None else Reference(**row)


def _check_task(task: str) -> None:
    if task not in _TASKS:
        raise ConfigError(f"There is no ViZDoom task called {task!r}. {did_you_mean(task, _TASKS)}")


@cache
def _reference_rows() -> dict[str, dict[str, Any]]:
    table = files("flexlam.envs").joinpath("vizdoom_reference.json")
    return json.loads(table.read_text())["tasks"] if table.is_file() else {}


class VizdoomEnvironment:
    """One running game."""

    action_spec = VizdoomSuite.action_spec
    _buttons: tuple[str, ...]

    def __init__(self, task: str) -> None:
        self.task = task
        self._task = _TASKS[task]
        self._process: GameProcess | None = self._start(seed=0)
        self._presses = [[float(button in name.split("+")) for button in self._buttons] for name in ACTION_NAMES]
        self._expert: Expert | None = None
        self._senses: Senses | None = None
        self._walls = read_walls(_scenario(self._task.scenario, "wad"))
        self._obs: np.ndarray | None = None
        self._over = True
        self._frags = 0.0

    def reset(self, seed: int) -> Step:
        """Start an episode; the same seed and the same actions give the same frames."""
        if self._process is None:
            raise SuiteError("The game is closed. Make a new one with `suite.make(task)`.")
        seed = (seed ^ (seed >> 32)) & 0xFFFFFFFF
        if self._task.num_bots:
            # Bots carry their state from episode to episode; only a fresh engine repeats them.
            self._process.close()
            self._process = self._start(seed)
        else:
            self._process.call(self._process.game.set_seed, seed)
            self._process.call(self._process.game.new_episode)
        self._expert = make_expert(self.task)
        self._over = False
        self._frags = 0.0
        return self._observe(0.0)

    def step(self, action: np.ndarray) -> Step:
        """Press the buttons of a choice for four tics; buttons that the task lacks do nothing.

        Raises:
            SuiteError: the game has crashed, or the episode is over.
            DataError: the action does not fit the spec.
        """
        if action.shape != (1,) or action[0] not in _CHOICES:
            self.action_spec.check(action, "step")
        if self._process is None or self._over:
            raise SuiteError("The episode is over (or the game is closed). Call `reset(seed)` first.")
        game = self._process.game
        reward = self._process.call(game.make_action, self._presses[int(action[0])], _FRAME_SKIP)
        if self._task.num_bots:
            reward = self._count_frags()
        return self._observe(reward)

    def expert_action(self) -> np.ndarray:
        """What the scripted expert would do now, (1,) float32."""
        if self._expert is None or self._process is None or self._over:
            raise SuiteError("The expert acts inside an episode only. Call `reset(seed)` first.")
        assert self._senses is not None
        choice = self._process.call(self._expert.act, self._senses)
        return np.array([ACTION_NAMES.index(choice)], np.float32)

    def legal_actions(self) -> np.ndarray:
        """(18,) bool: the choices of which the scenario has every button; noop is one of them."""
        return np.array([name == "noop" or set(name.split("+")) <= set(self._buttons) for name in ACTION_NAMES])

    def sample_action(self, generator: np.random.Generator) -> np.ndarray:
        """(1,) float32: a legal choice, uniform."""
        legal = np.flatnonzero(self.legal_actions())
        return np.array([legal[generator.integers(len(legal))]], np.float32)

    def close(self) -> None:
        """End the game; calling it twice does no harm."""
        if self._process is not None:
            self._process.close()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _observe(self, reward: float) -> Step:
        assert self._process is not None
        game = self._process.game
        self._over = self._process.call(game.is_episode_finished)
        if not self._over:
            state = self._process.call(game.get_state)
            self._obs = _shrink(state.screen_buffer)
            self._senses = Senses(game, state, self._walls)
        assert self._obs is not None
        timeout = self._over and game.is_episode_timeout_reached() and not game.is_player_dead()
        return Step(self._obs, float(reward), terminated=self._over and not timeout, truncated=timeout)

    def _count_frags(self) -> float:
        import vizdoom

        assert self._process is not None
        game = self._process.game
        if game.is_player_dead() and not game.is_episode_finished():
            self._process.call(game.respawn_player)
        frags = self._process.call(game.get_game_variable, vizdoom.GameVariable.FRAGCOUNT)
        reward, self._frags = frags - self._frags, frags
        return reward

    def _start(self, seed: int) -> GameProcess:
        process = GameProcess(lambda game: self._configure(game, seed), offline=self._task.num_bots > 0)
        for _ in range(self._task.num_bots):
            process.call(process.game.send_game_command, "addbot")
        return process

    def _configure(self, game: Any, seed: int) -> None:
        import vizdoom

        game.load_config(str(_scenario(self._task.scenario, "cfg")))
        available = {button.name for button in game.get_available_buttons()}
        self._buttons = tuple(name for name, button in _BUTTONS.items() if button in available)
        game.set_available_buttons([getattr(vizdoom.Button, _BUTTONS[name]) for name in self._buttons])
        game.set_mode(vizdoom.Mode.PLAYER)
        game.set_window_visible(False)
        game.set_render_hud(False)
        game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_objects_info_enabled(True)
        game.set_seed(seed)
        if self._task.timeout is not None:
            game.set_episode_timeout(self._task.timeout)
        if self._task.num_bots:
            game.add_game_args(f"-host 1 -port {_free_port()} -deathmatch +sv_forcerespawn 1 +sv_spawnfarthest 1")


def _scenario(name: str, kind: str) -> Path:
    import vizdoom

    return Path(vizdoom.scenarios_path) / f"{name}.{kind}"


def _shrink(screen: np.ndarray) -> np.ndarray:
    """(120, 160, 3) -> (64, 64, 3) uint8, the average of the area that each pixel covers."""
    height, width, _ = screen.shape
    image = Image.frombuffer("RGB", (width, height), screen, "raw", "RGB", 0, 1)
    return np.array(image.resize((_SIZE, _SIZE), Image.Resampling.BOX))


def _free_port() -> int:
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
