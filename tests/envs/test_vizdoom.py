import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flexlam.core.errors import ConfigError, DataError, SuiteError
from flexlam.envs.vizdoom import ACTION_NAMES, VizdoomEnvironment, VizdoomSuite

SUITE = VizdoomSuite()
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes through /proc")


def action(name: str) -> np.ndarray:
    return np.array([ACTION_NAMES.index(name)], np.float32)


def children(process: int) -> list[int]:
    """Ids of the processes that a process has started."""
    found = []
    for thread in Path(f"/proc/{process}/task").iterdir():
        found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def gone(process: int, seconds: float = 20.0) -> bool:
    """Whether a process ends within some time (a zombie has ended)."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.02)
    return False


def play(environment: VizdoomEnvironment, seed: int, num_steps: int) -> np.ndarray:
    """(T, H, W, C) frames under random legal actions."""
    generator = np.random.default_rng(seed)
    legal = np.flatnonzero(environment.legal_actions())
    step = environment.reset(seed)
    frames = [step.obs]
    for _ in range(num_steps):
        if step.terminated or step.truncated:
            break
        step = environment.step(generator.choice(legal, 1).astype(np.float32))
        frames.append(step.obs)
    return np.stack(frames)


def test_action_set_has_every_button_alone_and_none_twice() -> None:
    assert len(ACTION_NAMES) == len(set(ACTION_NAMES)) == 18
    buttons = {"forward", "back", "left", "right", "turn_left", "turn_right", "attack"}
    assert {"noop", *buttons} <= set(ACTION_NAMES)
    assert {part for name in ACTION_NAMES for part in name.split("+")} == buttons | {"noop"}
    assert SUITE.action_spec.num_choices == (18,)
    assert SUITE.action_spec.names == ACTION_NAMES


def test_tasks_and_references() -> None:
    assert len(SUITE.tasks) == 12
    assert SUITE.fps == 8.75
    assert SUITE.reference("arena") is None
    for task in set(SUITE.tasks) - {"arena"}:
        reference = SUITE.reference(task)
        assert reference is not None
        assert reference.num_episodes == 50
        assert reference.expert > reference.random
        assert reference.normalise(reference.random) == 0.0
        assert reference.normalise(reference.expert) == 1.0


def test_unknown_task_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'my_way_home'"):
        SUITE.make("my_way_hom")
    with pytest.raises(ConfigError, match=r"Known: .*basic"):
        SUITE.reference("nothing like it")


@pytest.mark.parametrize(
    ("task", "legal"),
    [
        ("take_cover", {"noop", "left", "right"}),
        ("health_gathering", {"noop", "forward", "turn_left", "turn_right", "forward+turn_left", "forward+turn_right"}),
        ("basic", {"noop", "left", "right", "attack", "attack+left", "attack+right"}),
        ("deadly_corridor", set(ACTION_NAMES)),
    ],
)
def test_legal_actions_are_those_whose_buttons_the_scenario_has(task: str, legal: set[str]) -> None:
    with SUITE.make(task) as environment:
        assert {ACTION_NAMES[i] for i in np.flatnonzero(environment.legal_actions())} == legal


def test_buttons_that_a_task_lacks_do_nothing() -> None:
    with SUITE.make("take_cover") as environment:
        ends = []
        for names in (["noop"] * 6, ["attack", "forward", "turn_left"] * 2, ["left"] * 6):
            environment.reset(1)
            ends.append([environment.step(action(name)).obs for name in names][-1])
    np.testing.assert_array_equal(ends[0], ends[1])
    assert (ends[0] != ends[2]).any()


@pytest.mark.parametrize("task", ["basic", "defend_the_line", "health_gathering_supreme", "deathmatch", "arena"])
def test_same_seed_and_actions_give_the_same_frames(task: str) -> None:
    with SUITE.make(task) as environment:
        first = play(environment, 5, 40)
        other = play(environment, 9, 40)
        again = play(environment, 5, 40)
    with SUITE.make(task) as environment:
        fresh = play(environment, 5, 40)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, fresh)
    assert len(first) != len(other) or (first != other).any()
    assert first.shape[1:] == SUITE.frame_shape
    assert first.dtype == np.uint8


def test_seeds_of_63_bits_are_told_apart() -> None:
    with SUITE.make("basic") as environment:
        frames = [environment.reset(seed).obs for seed in (3, 3 + (1 << 40), 3)]
    np.testing.assert_array_equal(frames[0], frames[2])
    assert (frames[0] != frames[1]).any()


def test_time_limit_truncates_and_a_goal_terminates() -> None:
    with SUITE.make("basic") as environment:
        step, count = environment.reset(0), 0
        assert step.reward == 0.0
        last = step.obs
        while not (step.terminated or step.truncated):
            last = step.obs
            step, count = environment.step(action("noop")), count + 1
        assert step.truncated
        assert not step.terminated
        np.testing.assert_array_equal(step.obs, last)
        assert count == 75  # 300 tics, four at a time

        step, total = environment.reset(0), 0.0
        while not (step.terminated or step.truncated):
            step = environment.step(environment.expert_action())
            total += step.reward
        assert step.terminated
        assert total > 40


@pytest.mark.parametrize("task", SUITE.tasks)
def test_experts_keep_to_legal_actions(task: str) -> None:
    with SUITE.make(task) as environment:
        legal = environment.legal_actions()
        step, chosen = environment.reset(2), set()
        for _ in range(40):
            if step.terminated or step.truncated:
                break
            choice = environment.expert_action()
            assert legal[int(choice[0])]
            chosen.add(int(choice[0]))
            step = environment.step(choice)
        assert len(chosen) > 1


def test_misuse_is_refused() -> None:
    environment = SUITE.make("basic")
    with pytest.raises(SuiteError, match=r"Call `reset"):
        environment.step(action("noop"))
    with pytest.raises(SuiteError, match=r"Call `reset"):
        environment.expert_action()
    environment.reset(0)
    for bad in (np.array([18.0]), np.array([0.5]), np.array([np.nan]), np.array([1.0, 2.0])):
        with pytest.raises(DataError, match="action"):
            environment.step(bad.astype(np.float32))
    environment.close()
    environment.close()
    with pytest.raises(SuiteError, match="closed"):
        environment.reset(0)


@NEEDS_PROC
def test_a_killed_game_is_a_suite_error() -> None:
    before = set(children(os.getpid()))
    with SUITE.make("basic") as environment:
        environment.reset(0)
        (engine,) = set(children(os.getpid())) - before
        os.kill(engine, signal.SIGKILL)
        with pytest.raises(SuiteError, match="crashed"):
            environment.step(action("noop"))
        with pytest.raises(SuiteError, match="closed"):
            environment.reset(0)
    assert set(children(os.getpid())) == before


@NEEDS_PROC
def test_closed_when_the_block_is_left_by_an_exception() -> None:
    before = set(children(os.getpid()))
    with pytest.raises(ZeroDivisionError), SUITE.make("basic"):
        assert len(set(children(os.getpid())) - before) == 1
        raise ZeroDivisionError
    assert set(children(os.getpid())) == before


def test_a_missing_engine_is_a_suite_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import vizdoom

    monkeypatch.setattr(vizdoom, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(SuiteError, match="engine"):
        SUITE.make("basic")


@pytest.mark.parametrize("what", ["file size", "shared memory"])
def test_too_little_room_for_the_game_is_a_suite_error(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if what == "file size":
        monkeypatch.setattr("resource.getrlimit", lambda kind: (1000, 1000))
    else:
        monkeypatch.setattr("flexlam.envs.vizdoom_process._SHARED_BYTES", 1 << 60)
    with pytest.raises(SuiteError, match="ulimit" if what == "file size" else "shm-size"):
        SUITE.make("basic")


def test_signal_handlers_are_given_back() -> None:
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with SUITE.make("basic") as environment:
            environment.reset(0)
            os.kill(os.getpid(), signal.SIGTERM)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
            environment.step(action("noop"))  # the game is not disturbed by a handler that goes on
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM] * 2


SCRIPT = """
import os, sys, time
from pathlib import Path
from flexlam.envs.vizdoom import VizdoomSuite
environment = VizdoomSuite().make("basic")
environment.reset(0)
environment.step(environment.expert_action())
(engine,) = [int(c) for t in Path("/proc/self/task").iterdir() for c in (t / "children").read_text().split()]
print(engine, flush=True)
if sys.argv[1] == "wait":
    time.sleep(60)
if sys.argv[1] == "raise":
    raise RuntimeError("on purpose")
"""


def start(folder: Path, mode: str) -> "subprocess.Popen[str]":
    """A process of its own that has started a game; it works in one folder and has another for temporary files."""
    for name in ("work", "temporary"):
        (folder / name).mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, mode],
        cwd=folder / "work",
        env=os.environ | {"TMPDIR": str(folder / "temporary")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def left_over(folder: Path) -> list[Path]:
    return [*(folder / "work").iterdir(), *(folder / "temporary").iterdir()]


@NEEDS_PROC
@pytest.mark.parametrize("mode", ["end", "raise", signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_no_game_and_no_file_outlives_the_process(mode: str | signal.Signals, tmp_path: Path) -> None:
    with start(tmp_path, mode if isinstance(mode, str) else "wait") as process:
        assert process.stdout is not None
        engine = int(process.stdout.readline())
        if not isinstance(mode, str):
            process.send_signal(mode)
        code = process.wait(30)
        assert gone(engine)
    assert code == (-mode if not isinstance(mode, str) else {"end": 0, "raise": 1}[mode])
    assert left_over(tmp_path) == []


@NEEDS_PROC
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends orphans on Linux only")
def test_no_game_outlives_a_killed_process_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    with start(tmp_path, "wait") as process:
        assert process.stdout is not None
        engine = int(process.stdout.readline())
        process.kill()
        process.wait(30)
        assert gone(engine)
    (folder,) = left_over(tmp_path)
    instance = (folder / "instance").read_text()
    assert list(Path("/dev/shm").glob(f"ViZDoom*{instance}"))
    with start(tmp_path, "end") as process:
        process.communicate(timeout=60)
    assert left_over(tmp_path) == []
    assert not list(Path("/dev/shm").glob(f"ViZDoom*{instance}"))
