"""The scripted expert of Procgen's maze: the shortest way to the cheese."""

from collections import deque

import numpy as np

from flexlam.core.errors import SuiteError
from flexlam.envs.procgen_library import GameState

_WALL, _CHEESE = 51, 2
_MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1))


def shortest_way(state: GameState) -> int:
    """The choice that goes one cell along a shortest way from the agent to the cheese.

    Raises:
        SuiteError: there is no way.
    """
    height, width = state.grid.shape
    x, y = (int(value) for value in state.agent[:2])
    goals = np.argwhere(state.grid == _CHEESE)[:, ::-1]
    towards: dict[tuple[int, int], tuple[int, int]] = {(int(gx), int(gy)): (0, 0) for gx, gy in goals}
    waiting = deque(towards)
    while waiting and (x, y) not in towards:
        here = waiting.popleft()
        for right, up in _MOVES:
            cell = here[0] - right, here[1] - up
            inside = 0 <= cell[0] < width and 0 <= cell[1] < height
            if inside and cell not in towards and state.grid[cell[1], cell[0]] != _WALL:
                towards[cell] = (right, up)
                waiting.append(cell)
    if (x, y) not in towards:
        raise SuiteError("There is no way from the mouse to the cheese.")
    right, up = towards[x, y]
    return 3 * (right + 1) + up + 1
