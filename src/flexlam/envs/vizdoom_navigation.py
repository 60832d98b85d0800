"""Walking: shortest ways through a Doom map on a grid, and the buttons that follow them."""

import heapq
import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

import numpy as np

from flexlam.envs.vizdoom_senses import Senses, Walls, crosses

_CELL = 16.0
_MARGIN = 19.0  # a player is 16 wide on each side
_STEPS = [(dx, dy, math.hypot(dx, dy)) for dx in (-1, 0, 1) for dy in (-1, 0, 1) if dx or dy]
_TURNS = (7.0, 12.3, 14.1)  # degrees of the first, second, and every later decision with a turn button held
_AVOID_COST = 30.0
_AVOID_REACH = 42.0
_CURVE = 115.0  # radius of the circle that forward and turn describe
_HALF_WIDTH = 17.5  # a little more than a player's, because it slides in curves
_LOOK_AHEAD = (24, 16, 11, 8, 6, 4, 3, 2, 1)


class Steering:
    """Turns by whole decisions, which makes exact angles a puzzle: the longer a button is held, the faster it turns."""

    def __init__(self) -> None:
        self._held = 0

    def turn(self, bearing: float, tolerance: float = 3.6) -> str:
        """The turn button that brings a bearing (degrees, positive left) within the tolerance soonest, or nothing."""
        way = 0
        if abs(bearing) > 45:
            way = 1 if bearing > 0 else -1
        elif abs(bearing) > tolerance:
            first, total, length = _turns(self._held)
            error = np.abs(bearing - total)
            way = int(first[np.argmin(np.where(error <= tolerance, length, 10.0 + error))])
        self._held = min(self._held + 1, len(_TURNS) - 1) if way else 0
        return {0: "", 1: "turn_left", -1: "turn_right"}[way]

    def walk(self, senses: Senses, x: float, y: float) -> str:
        """The choice that leads to a point."""
        bearing = senses.bearing(x, y)
        distance = math.hypot(x - senses.x, y - senses.y)
        turn = self.turn(bearing, tolerance=5.0)
        if abs(bearing) > 90 or distance < 2 * _CURVE * math.sin(math.radians(max(abs(bearing) - 10, 0))):
            return turn or "noop"  # the curve would miss the point
        return f"forward+{turn}" if turn else "forward"


@lru_cache(maxsize=len(_TURNS))
def _turns(held: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All sequences of up to five decisions (left, right, neither): first way, degrees in total, length; (S,) each."""
    rows = []
    for length in range(1, 6):
        for ways in product((1, 0, -1), repeat=length):
            count, total = held, 0.0
            for way in ways:
                total += way * _TURNS[count]
                # Changing sides does not slow a turn down, only letting go does.
                count = min(count + 1, len(_TURNS) - 1) if way else 0
            rows.append((ways[0], total, length))
    first, total, length = np.array(rows).T
    return first, total, length


class Grid:
    """Cells of a map in which a player fits."""

    def __init__(self, walls: Walls) -> None:
        lines = walls.blocking
        self._lines = lines
        self._origin = lines.reshape(-1, 2).min(0)
        self._shape = tuple(np.ceil((lines.reshape(-1, 2).max(0) - self._origin) / _CELL).astype(int).tolist())
        cells = np.stack(np.meshgrid(*(np.arange(n) for n in self._shape), indexing="ij"), -1)
        self._centres = self._origin + (cells + 0.5) * _CELL  # (X, Y, 2)
        self._free = _distance_to_lines(self._centres, lines) > _MARGIN
        self._neighbours: dict[tuple[int, int], list[tuple[tuple[int, int], float]]] = {}

    def route(
        self, start: tuple[float, float], goals: list[tuple[float, float]], avoid: list[tuple[float, float]]
    ) -> list[tuple[float, float]]:
        """Points from `start` to the nearest of the goals, which stands last; empty where none can be reached.

        Cells close to a point to `avoid` cost much more, but are not closed.
        """
        if not goals:
            return []
        wanted = {self._cell(goal): goal for goal in goals}
        costly = {cell for point in avoid for cell in self._around(point)}
        first = self._cell(start)
        came: dict[tuple[int, int], tuple[int, int]] = {}
        best = {first: 0.0}
        queue = [(0.0, first)]
        while queue:
            cost, cell = heapq.heappop(queue)
            if cell in wanted:
                return [*self._trace(came, cell), wanted[cell]]
            if cost > best[cell]:
                continue
            for other, length in self._next(cell):
                total = cost + length * (_AVOID_COST if other in costly else 1.0)
                if total < best.get(other, math.inf):
                    best[other] = total
                    came[other] = cell
                    heapq.heappush(queue, (total, other))
        return []

    def clear(
        self, place: tuple[float, float], targets: Sequence[tuple[float, float]], avoid: Sequence[tuple[float, float]]
    ) -> np.ndarray:
        """(P,) bool: to which of P targets a player's whole width passes straight, also by the points to avoid."""
        start, ends = np.array(place), np.array(targets)  # (2,), (P, 2)
        way = ends - start
        length = np.maximum(np.linalg.norm(way, axis=1, keepdims=True), 1.0)
        aside = np.stack([-way[:, 1], way[:, 0]], axis=1) * (_HALF_WIDTH / length)
        sides = np.stack([-aside, np.zeros_like(aside), aside])  # (3, P, 2)
        clear = np.logical_not(crosses(self._lines, start + sides, ends + sides).any(axis=(0, 2)))
        if avoid:
            points = np.array(avoid)[:, None] - start  # (A, 1, 2)
            share = np.clip((points * way).sum(-1) / length[:, 0] ** 2, 0, 1)  # (A, P)
            clear &= (np.linalg.norm(points - share[..., None] * way, axis=-1) >= _AVOID_REACH).all(0)
        return clear

    def _trace(self, came: dict[tuple[int, int], tuple[int, int]], cell: tuple[int, int]) -> list[tuple[float, float]]:
        cells = [cell]
        while cells[-1] in came:
            cells.append(came[cells[-1]])
        return [(float(x), float(y)) for x, y in (self._centres[c] for c in reversed(cells))]

    def _next(self, cell: tuple[int, int]) -> list[tuple[tuple[int, int], float]]:
        if cell not in self._neighbours:
            x, y = cell
            self._neighbours[cell] = [
                ((x + dx, y + dy), length)
                for dx, dy, length in _STEPS
                if self._is_free(x + dx, y + dy) and self._is_free(x, y + dy) and self._is_free(x + dx, y)
            ]
        return self._neighbours[cell]

    def _is_free(self, x: int, y: int) -> bool:
        return 0 <= x < self._shape[0] and 0 <= y < self._shape[1] and bool(self._free[x, y])

    def _around(self, point: tuple[float, float]) -> list[tuple[int, int]]:
        x, y = ((np.array(point) - self._origin) // _CELL).astype(int).tolist()
        reach = range(-2, 3)
        return [(x + dx, y + dy) for dx in reach for dy in reach]

    def _cell(self, point: tuple[float, float]) -> tuple[int, int]:
        """The nearest free cell."""
        x, y = ((np.array(point) - self._origin) // _CELL).astype(int).tolist()
        if self._is_free(x, y):
            return x, y
        far = np.hypot(self._centres[..., 0] - point[0], self._centres[..., 1] - point[1])
        far[~self._free] = np.inf
        column, row = np.unravel_index(far.argmin(), far.shape)
        return int(column), int(row)


@lru_cache(maxsize=32)
def grid_of(walls: Walls) -> Grid:
    """The grid of a map, made once."""
    return Grid(walls)


class Walker:
    """Follows a route, cutting corners where the way is clear."""

    def __init__(self) -> None:
        self._steering = Steering()
        self._route: list[tuple[float, float]] = []
        self._avoid: list[tuple[float, float]] = []
        self._trail: list[tuple[float, float]] = []
        self._careful = 0

    @property
    def goal(self) -> tuple[float, float] | None:
        """Where the present route ends."""
        return self._route[-1] if self._route else None

    def plan(self, senses: Senses, goals: list[tuple[float, float]], avoid: list[tuple[float, float]]) -> None:
        """Take the shortest way to one of the goals."""
        self._avoid = avoid
        self._route = grid_of(senses.walls).route((senses.x, senses.y), goals, avoid)

    def head_for(self, goal: tuple[float, float], avoid: list[tuple[float, float]]) -> None:
        """Walk straight to a point."""
        self._avoid = avoid
        self._route = [goal]

    def act(self, senses: Senses) -> str:
        """The next choice on the route; noop when there is none."""
        if not self._route:
            return "noop"
        if self._is_stuck(senses):
            self.plan(senses, [self._route[-1]], self._avoid)
        grid = grid_of(senses.walls)
        window = np.array(self._route[:24])
        passed = int(np.hypot(window[:, 0] - senses.x, window[:, 1] - senses.y).argmin())
        self._route = self._route[min(passed + 1, len(self._route) - 1) :]
        ahead = [i for i in (_LOOK_AHEAD[-3:] if self._careful > 0 else _LOOK_AHEAD) if i < len(self._route)]
        if ahead:
            clear = grid.clear((senses.x, senses.y), [self._route[i] for i in ahead], self._avoid)
            if clear.any():
                self._route = self._route[ahead[int(clear.argmax())] :]
        self._careful -= 1
        return self._steering.walk(senses, *self._route[0])

    def _is_stuck(self, senses: Senses) -> bool:
        """Whether the last decisions have led nowhere; then corners are not cut for a while."""
        self._trail = [*self._trail[-15:], (senses.x, senses.y)]
        places = np.array(self._trail)
        if len(places) < 16 or np.ptp(places, axis=0).max() > 60:
            return False
        self._trail = []
        self._careful = 40
        return True


def _distance_to_lines(points: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """(X, Y, 2), (N, 4) -> (X, Y) distance to the nearest line."""
    nearest = np.full(points.shape[:-1], np.inf)
    for x1, y1, x2, y2 in lines.tolist():
        along = np.array([x2 - x1, y2 - y1])
        start = points - (x1, y1)
        share = np.clip(start @ along / max(along @ along, 1e-9), 0, 1)
        nearest = np.minimum(nearest, np.linalg.norm(start - share[..., None] * along, axis=-1))
    return nearest
