"""The world that every test of a command starts from, and how a refusal is checked."""

from collections.abc import Callable

import pytest

from command_line import LAM_SETTINGS, World, run_command, write_dataset


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = World(tmp_path_factory.mktemp("world"))
    write_dataset(world.dataset)
    write_dataset(world.silent, spec=None)
    world.make("store", "data", "convert", world.dataset)
    world.make("silent_store", "data", "convert", world.silent)
    world.make("small_store", "data", "convert", world.dataset, "--frame-size", 32, 32)
    world.make("lam", "train", "lam", "vizdoom-tiny", "--data", world.store, *LAM_SETTINGS)
    world.make("other", "train", "lam", "vizdoom-tiny", "--data", world.store, *LAM_SETTINGS, "--training.seed", 1)
    parents = ("vizdoom-tiny", "--lam", world.lam, "--data", world.store)
    world.make("translator", "train", "translator", *parents)
    world.make("policy", "train", "policy", *parents, *LAM_SETTINGS)
    return world


@pytest.fixture
def refused(world: World) -> Callable[..., str]:
    """refused("train", "lam", ..., tells=("what",)): exit code 2, every word told, no traceback, nothing written."""

    def check(*arguments: object, tells: tuple[str, ...], code: int = 2) -> str:
        before = world.snapshot()
        said = run_command(*arguments)
        message = " ".join(said.err.split())
        assert said.code == code, message or said.out
        assert "Traceback" not in message
        for words in tells:
            assert words in message, f"{words!r} is not told by: {message}"
        assert world.snapshot() == before
        return message

    return check
