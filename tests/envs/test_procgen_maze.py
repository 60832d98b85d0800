import numpy as np
import pytest

from flexlam.core.errors import SuiteError
from flexlam.envs.procgen_library import GameState
from flexlam.envs.procgen_maze import shortest_way
from flexlam.envs.procgen_suite import ACTIONS

WALLS = {"#": 51, ".": 100, "C": 2}


def maze(*rows: str, x: int, y: int) -> GameState:
    """The lowest row of the picture is row 0."""
    grid = np.array([[WALLS[cell] for cell in row] for row in reversed(rows)], np.int32)
    return GameState(500, np.array([x + 0.5, y + 0.5, 0, 0], np.float32), grid)


@pytest.mark.parametrize(
    ("x", "y", "choice"),
    [(0, 0, "up"), (0, 1, "up"), (0, 2, "right"), (1, 2, "right"), (2, 2, "down"), (2, 1, "down"), (3, 0, "left")],
)
def test_every_cell_leads_one_step_nearer(x: int, y: int, choice: str) -> None:
    state = maze(
        "...#",
        ".#.#",
        ".#C.",
        x=x,
        y=y,
    )
    assert ACTIONS[shortest_way(state)] == choice


def test_of_two_ways_the_shorter_is_taken() -> None:
    rows = ("......", ".####.", ".C....")
    assert ACTIONS[shortest_way(maze(*rows, x=0, y=2))] == "down"
    assert ACTIONS[shortest_way(maze(*rows, x=5, y=2))] == "down"
    assert ACTIONS[shortest_way(maze(*rows, x=2, y=2))] == "left"


def test_a_walled_in_cheese_is_told() -> None:
    with pytest.raises(SuiteError, match="no way"):
        shortest_way(maze(".#C", x=0, y=0))
