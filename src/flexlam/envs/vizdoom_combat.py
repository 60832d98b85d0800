"""Scripted experts that shoot: turn to the most urgent target, fire when the shot would hit."""

import math

from flexlam.envs.vizdoom_navigation import Steering, Walker
from flexlam.envs.vizdoom_senses import Senses, Thing

MONSTERS = {
    "Demon": 30.0,
    "DoomImp": 20.0,
    "MarineChainsawVzd": 16.0,
    "ChaingunGuy": 20.0,
    "Zombieman": 20.0,
    "ShotgunGuy": 20.0,
    "HellKnight": 24.0,
    "MarineChainsaw": 16.0,
    "Cacodemon": 31.0,
    "BaronOfHell": 24.0,
}
"""Radius in map units."""
_SMALLEST = 16.0
_TURN_RATE = 3.2  # degrees per tic, on average over a long turn


class Gunner:
    """Aims and fires."""

    def __init__(self, width: float = 0.8, hold: bool = False) -> None:
        self._steering = Steering()
        self._width = width
        self._hold = hold  # shots that follow a held button come faster, but scatter
        self._pressed = False

    def engage(self, senses: Senses, target: Thing, lead_tics: float = 4.0) -> str:
        """The choice that brings the target nearer to being hit."""
        x, y = target.x + lead_tics * target.vx, target.y + lead_tics * target.vy
        distance = math.hypot(x - senses.x, y - senses.y)
        bearing = senses.bearing(x, y)
        tolerance = self._width * math.degrees(math.atan2(MONSTERS.get(target.name, _SMALLEST), distance))
        if abs(bearing) <= tolerance and (self._hold or senses.ready):
            self._pressed = True
            self._steering.turn(0.0)
            return "attack"
        self._pressed = False
        return self._steering.turn(bearing, tolerance) or "noop"


class DefendCenter:
    """Shoot whoever arrives first."""

    def __init__(self) -> None:
        self._gunner = Gunner()

    def act(self, senses: Senses) -> str:
        """The name of a choice."""
        targets = senses.named(*MONSTERS)
        if not targets:
            return "noop"
        return self._gunner.engage(senses, min(targets, key=lambda thing: _urgency(senses, thing)))


class DefendLine:
    """Shoot the demons that come near first, then the imps in the order of their bearing."""

    def __init__(self) -> None:
        self._gunner = Gunner(hold=True)

    def act(self, senses: Senses) -> str:
        """The name of a choice."""
        targets = senses.named("Demon", "DoomImp")
        if not targets:
            return "noop"
        return self._gunner.engage(senses, min(targets, key=lambda thing: self._urgency(senses, thing)))

    def _urgency(self, senses: Senses, thing: Thing) -> float:
        turning = abs(senses.bearing(thing.x, thing.y)) / _TURN_RATE
        if thing.name == "Demon":
            return turning + 0.05 * senses.distance(thing)
        return turning + 20.0


class PredictPosition:
    """Aim the one rocket at where the monster will be."""

    speed = 20.0
    delay = 8.0
    tolerance = 1.5
    monster_speed = 6.0

    def __init__(self) -> None:
        self._steering = Steering()
        self._last: list[tuple[int, float]] = []
        self._fired = False

    def act(self, senses: Senses) -> str:
        """The name of a choice."""
        monster = senses.named("Cacodemon")
        if not monster or self._fired:
            return "noop"
        self._last.append((senses.tic, monster[0].y))
        if len(self._last) < 3:
            return "noop"
        (tic, y), (now, here) = self._last[-min(len(self._last), 7)], self._last[-1]
        pace = (here - y) / (now - tic)
        flight = math.hypot(monster[0].x - senses.x, here - senses.y) / self.speed
        for _ in range(4):
            aim = here + pace * (flight + self.delay)
            flight = math.hypot(monster[0].x - senses.x, aim - senses.y) / self.speed
        if abs(aim) > 590:  # it turns round at the end of its patrol
            aim = math.copysign(2 * 590 - abs(aim), aim)
        bearing = senses.bearing(monster[0].x, aim)
        if abs(bearing) < self.tolerance and senses.ready:
            self._fired = True
            return "attack"
        return self._steering.turn(bearing, self.tolerance) or "noop"


class Corridor:
    """Shoot everybody in sight on the way to the armour."""

    reach = 500.0

    def __init__(self) -> None:
        self._gunner = Gunner(hold=True)
        self._steering = Steering()

    def act(self, senses: Senses) -> str:
        """The name of a choice."""
        target = _nearest_enemy(senses, self.reach)
        if target is not None:
            return self._gunner.engage(senses, target)
        armour = senses.named("GreenArmor")
        return self._steering.walk(senses, armour[0].x, armour[0].y) if armour else "forward"


class Deathmatch:
    """Shoot the nearest enemy in sight; otherwise fetch what is missing (health, a weapon, ammunition)."""

    reach = 900.0
    enemies = tuple(MONSTERS)
    weapons = ("SuperShotgun", "Chaingun", "PlasmaRifle")
    ammunition = ("ShellBox", "ClipBox", "CellPack", "RocketBox", "RocketAmmo")

    def __init__(self) -> None:
        self._gunner = Gunner(hold=True)
        self._walker = Walker()
        self._armed = False
        self._age = 0

    def act(self, senses: Senses) -> str:
        """The name of a choice."""
        target = _nearest_enemy(senses, self.reach, self.enemies)
        if target is not None and senses.ammo != 0:
            return self._gunner.engage(senses, target)
        self._age += 1
        if self._age > 12 or self._walker.goal is None:
            self._age = 0
            self._walker.plan(senses, [(thing.x, thing.y) for thing in self._wanted(senses)], [])
        return self._walker.act(senses)

    def _wanted(self, senses: Senses) -> list[Thing]:
        self._armed = self._armed or senses.weapon > 2
        if senses.health < 60:
            return senses.named("Medikit", "Stimpack")
        if not self._armed:
            return senses.named(*self.weapons)
        return senses.named(*self.ammunition)


class Arena(Deathmatch):
    """The same against players."""

    enemies = ("DoomPlayer",)

    def __init__(self) -> None:
        super().__init__()
        self._armed = True


def _nearest_enemy(senses: Senses, reach: float, names: tuple[str, ...] = tuple(MONSTERS)) -> Thing | None:
    enemies = [thing for thing in senses.named(*names) if senses.distance(thing) < reach and senses.sees(thing)]
    return min(enemies, key=lambda thing: senses.distance(thing) + abs(senses.bearing(thing.x, thing.y)), default=None)


def _urgency(senses: Senses, thing: Thing) -> float:
    """Tics until a thing is at hand, less those that turning to it takes."""
    return senses.distance(thing) / 4.0 + abs(senses.bearing(thing.x, thing.y)) / _TURN_RATE
