"""Scripted experts for the ViZDoom tasks: fixed rules on exact object positions and walls.

The rules were written looking at seeds 0 to 99 only; `vizdoom_reference` measures them on seeds 7000 and up.
An expert answers with the name of a choice; every choice uses buttons of the task's scenario alone.
"""

from typing import Protocol

import numpy as np

from flexlam.envs.vizdoom_combat import Arena, Corridor, Deathmatch, DefendCenter, DefendLine, PredictPosition
from flexlam.envs.vizdoom_navigation import Steering, Walker, grid_of
from flexlam.envs.vizdoom_senses import Senses, Thing

_FRICTION = 0.90625
_THRUST = 0.76  # map units per tic and tic
_BALL_REACH = 22.5  # half the width of a player and of a fireball
_HORIZON = 56  # tics; a fireball needs 48 from wall to wall


class Expert(Protocol):
    """Rules for one episode of one task."""

    def act(self, senses: Senses) -> str:
        """The name of a choice."""


class Basic:
    """Strafe in front of the monster and shoot."""

    shot_delay = 4.0
    reach = 24.0

    def __init__(self) -> None:
        self._pause = 0

    def act(self, senses: Senses) -> str:
        """The name of a choice."""
        monster = senses.named("Cacodemon")
        if not monster:
            return "noop"
        aside = monster[0].y - senses.y  # the player looks east: positive is left
        speed = senses.velocity[1]
        move = _strafe(aside - _coast(speed, 100.0), tolerance=10.0)
        self._pause -= 1
        if abs(aside - _coast(speed, self.shot_delay)) < self.reach and self._pause < 0:
            self._pause = 3
            return f"attack+{move}" if move else "attack"
        return move or "noop"


class RocketBasic(Basic):
    """The same with a slow rocket, which needs no exact hit."""

    shot_delay = 8.0
    reach = 30.0


class HealthGathering:
    """Walk to the medikit that is reached first."""

    def __init__(self) -> None:
        self._steering = Steering()

    def act(self, senses: Senses) -> str:
        """The name of a choice."""
        kits = senses.named("Medikit")
        if not kits:
            return "turn_left"
        kit = min(kits, key=lambda thing: _effort(senses, thing))
        return self._steering.walk(senses, kit.x, kit.y)


class HealthGatheringSupreme:
    """Walk to the medikit that is reached first, around walls and poison."""

    def __init__(self) -> None:
        self._walker = Walker()
        self._age = 0

    def act(self, senses: Senses) -> str:
        """The name of a choice."""
        kits = senses.named("CustomMedikit")
        places = [(kit.x, kit.y) for kit in kits]
        self._age += 1
        if self._walker.goal not in places or self._age > 8:
            self._age = 0
            poison = [(bad.x, bad.y) for bad in senses.named("Poison")]
            near = sorted(kits, key=lambda thing: _effort(senses, thing))[:4]
            straight = [(kit.x, kit.y) for kit in near]
            clear = grid_of(senses.walls).clear((senses.x, senses.y), straight, poison) if straight else np.zeros(0)
            if clear.any():
                self._walker.head_for(straight[int(clear.argmax())], poison)
            else:
                self._walker.plan(senses, places, poison)
        return self._walker.act(senses)


def _effort(senses: Senses, thing: Thing) -> float:
    """Map units to walk, and what could be walked while turning."""
    return senses.distance(thing) + 2.0 * abs(senses.bearing(thing.x, thing.y))


class MyWayHome:
    """Walk to the armour."""

    def __init__(self) -> None:
        self._walker = Walker()

    def act(self, senses: Senses) -> str:
        """The name of a choice."""
        if self._walker.goal is None:
            self._walker.plan(senses, [(thing.x, thing.y) for thing in senses.named("GreenArmor")], [])
        return self._walker.act(senses)


class TakeCover:
    """Try out short plans against the flight of every fireball and take the one that is hit last."""

    def __init__(self) -> None:
        self._ways, self._response = _plans()
        self._tics = np.arange(1, _HORIZON + 1)
        self._slide = (1 - _FRICTION**self._tics) / (1 - _FRICTION)

    def act(self, senses: Senses) -> str:
        """The name of a choice."""
        lines = senses.walls.blocking
        low, high = lines[:, [1, 3]].min() + 16, lines[:, [1, 3]].max() - 16
        paths = np.clip(senses.y + senses.velocity[1] * self._slide + self._response, low, high)  # (P, T)
        first = np.full(len(paths), float(_HORIZON))
        room = np.full(len(paths), 30.0)
        for ball in senses.named("DoomImpBall"):
            near = np.abs(ball.x + ball.vx * self._tics - senses.x) < _BALL_REACH
            if near.any():
                gap = np.abs(ball.y + ball.vy * self._tics[near] - paths[:, near])  # (P, tics near)
                hit = gap < _BALL_REACH
                first = np.minimum(first, np.where(hit.any(1), self._tics[near][hit.argmax(1)], _HORIZON))
                room = np.minimum(room, gap.min(1))
        score = 1000.0 * first + room - 0.3 * np.abs(paths[:, -1] - (low + high) / 2)
        return self._ways[int(score.argmax())]


def _plans() -> tuple[list[str], np.ndarray]:
    """First choices of P plans (hold a way, then the same, none or the other way) and their shifts (P, T)."""
    ways, shifts = [], []
    for first in (0, 1, -1):
        for hold in (4, 8, 12, 20, 32, _HORIZON):
            for second in (0, 1, -1):
                for hold_second in (8, 24):
                    ways.append({0: "noop", 1: "left", -1: "right"}[first])
                    push = np.zeros(_HORIZON)
                    push[:hold] = first
                    push[hold : hold + hold_second] = second
                    shifts.append(_shift(push))
    return ways, np.array(shifts)


def _shift(push: np.ndarray) -> np.ndarray:
    """(T,) how far a body at rest has moved after each tic under a strafe button pressed (-1, 0, 1) per tic."""
    place = speed = 0.0
    shift = np.empty(len(push))
    for tic, way in enumerate(push):
        speed += way * _THRUST
        place += speed
        speed *= _FRICTION
        shift[tic] = place
    return shift


def _coast(speed: float, tics: float) -> float:
    """How far a body slides in so many tics."""
    return speed * (1 - _FRICTION**tics) / (1 - _FRICTION)


def _strafe(aside: float, tolerance: float) -> str:
    return "" if abs(aside) <= tolerance else "left" if aside > 0 else "right"


_EXPERTS: dict[str, type[Expert]] = {
    "basic": Basic,
    "defend_the_center": DefendCenter,
    "defend_the_line": DefendLine,
    "health_gathering": HealthGathering,
    "health_gathering_supreme": HealthGatheringSupreme,
    "my_way_home": MyWayHome,
    "take_cover": TakeCover,
    "deadly_corridor": Corridor,
    "deathmatch": Deathmatch,
    "arena": Arena,
    "predict_position": PredictPosition,
    "rocket_basic": RocketBasic,
}


def make_expert(task: str) -> Expert:
    """A fresh expert for an episode of a task."""
    return _EXPERTS[task]()
