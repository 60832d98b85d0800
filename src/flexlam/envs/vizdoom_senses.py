"""What a scripted expert knows: the exact positions of the player and of everything else, and the walls."""

import math
import re
import struct
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Thing(NamedTuple):
    """An object of the game; map units, units per tic."""

    id: int
    name: str
    x: float
    y: float
    vx: float
    vy: float


class Senses:
    """One moment of a game. Lists are read from the engine's answer when first asked for."""

    def __init__(self, game: Any, state: Any, walls: "Walls") -> None:
        self._game = game
        self._state = state
        self.walls = walls
        """The map's lines; none of them moves in these scenarios."""

    @cached_property
    def x(self) -> float:
        """Position east, map units."""
        return self._variable("POSITION_X")

    @cached_property
    def y(self) -> float:
        """Position north, map units."""
        return self._variable("POSITION_Y")

    @cached_property
    def angle(self) -> float:
        """Where the player looks, degrees counter-clockwise from east."""
        return self._variable("ANGLE")

    @cached_property
    def velocity(self) -> tuple[float, float]:
        """(vx, vy) in units per tic."""
        return self._variable("VELOCITY_X"), self._variable("VELOCITY_Y")

    @cached_property
    def health(self) -> float:
        """Health points."""
        return self._variable("HEALTH")

    @cached_property
    def ammo(self) -> float:
        """Shots left in the weapon at hand."""
        return self._variable("SELECTED_WEAPON_AMMO")

    @cached_property
    def weapon(self) -> int:
        """Slot of the weapon at hand."""
        return int(self._variable("SELECTED_WEAPON"))

    @cached_property
    def ready(self) -> bool:
        """Whether a shot would be fired now."""
        return self._variable("ATTACK_READY") > 0

    @cached_property
    def tic(self) -> int:
        """Tics since the start of the map."""
        return int(self._state.tic)

    def named(self, *names: str) -> list[Thing]:
        """Things of these names; never the player."""
        found = [
            Thing(o.id, o.name, o.position_x, o.position_y, o.velocity_x, o.velocity_y)
            for name, o in self._objects
            if name in names
        ]
        return [thing for thing in found if thing.name != "DoomPlayer" or self.distance(thing) > 1]

    @cached_property
    def _objects(self) -> list[tuple[str, Any]]:
        return [(o.name, o) for o in self._state.objects]

    def distance(self, thing: Thing) -> float:
        """Map units to a thing."""
        return math.hypot(thing.x - self.x, thing.y - self.y)

    def bearing(self, x: float, y: float) -> float:
        """Degrees to turn, in (-180, 180], positive to the left, to face a point."""
        return turn(math.degrees(math.atan2(y - self.y, x - self.x)) - self.angle)

    def sees(self, thing: Thing) -> bool:
        """Whether no wall stands between the player and a thing."""
        return self.walls.clear(self.x, self.y, thing.x, thing.y)

    def _variable(self, name: str) -> float:
        import vizdoom

        return self._game.get_game_variable(getattr(vizdoom.GameVariable, name))


@dataclass(frozen=True, eq=False)
class Walls:
    """The lines of a map, (N, 4) float64 as x1, y1, x2, y2."""

    blocking: np.ndarray
    """Lines that nobody walks through."""
    opaque: np.ndarray
    """Lines that nobody sees or shoots through: those that border one sector only."""

    def clear(self, x1: float, y1: float, x2: float, y2: float) -> bool:
        """Whether a straight line of sight crosses no opaque line."""
        return not crosses(self.opaque, np.array([x1, y1]), np.array([x2, y2])).any()


@cache
def read_walls(path: Path) -> Walls:
    """The lines of the first map of a WAD file in the text format (UDMF), as all bundled scenarios are.

    Read from the file, because the engine's own sector information slows every step down.
    """
    data = path.read_bytes()
    _, num_lumps, directory = struct.unpack_from("<4sii", data)
    lumps = (struct.unpack_from("<ii8s", data, directory + 16 * i) for i in range(num_lumps))
    start, size = next((start, size) for start, size, name in lumps if name.rstrip(b"\0") == b"TEXTMAP")
    text = re.sub(r"//[^\n]*", "", data[start : start + size].decode("latin-1"))
    blocks: dict[str, list[dict[str, str]]] = {"vertex": [], "linedef": []}
    for kind, body in re.findall(r"(\w+)\s*\{([^}]*)\}", text):
        if kind in blocks:
            blocks[kind].append(dict(re.findall(r"(\w+)\s*=\s*([^;]+);", body)))
    points = [(float(block["x"]), float(block["y"])) for block in blocks["vertex"]]
    one_sided, blocking = [], []
    for line in blocks["linedef"]:
        ends = (*points[int(line["v1"])], *points[int(line["v2"])])
        if "sideback" not in line:
            one_sided.append(ends)
        if "sideback" not in line or line.get("blocking") == "true":
            blocking.append(ends)
    return Walls(np.array(blocking).reshape(-1, 4), np.array(one_sided).reshape(-1, 4))


def crosses(lines: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Lines (N, 4), segments from (..., 2) to (..., 2) -> (..., N) bool: which of the lines each segment crosses."""
    x1, y1 = start[..., 0, None], start[..., 1, None]
    x2, y2 = end[..., 0, None], end[..., 1, None]
    ax, ay, bx, by = lines.T
    dx, dy = x2 - x1, y2 - y1
    side_a = dx * (ay - y1) - dy * (ax - x1)
    side_b = dx * (by - y1) - dy * (bx - x1)
    ex, ey = bx - ax, by - ay
    side_1 = ex * (y1 - ay) - ey * (x1 - ax)
    side_2 = ex * (y2 - ay) - ey * (x2 - ax)
    return (side_a * side_b < 0) & (side_1 * side_2 < 0)


def turn(degrees: float) -> float:
    """The same direction in (-180, 180]."""
    return 180.0 - (180.0 - degrees) % 360.0
