from itertools import pairwise

import numpy as np
import pytest

from flexlam.envs.vizdoom_navigation import Grid, Steering
from flexlam.envs.vizdoom_senses import Walls, crosses, turn


def room_with_a_wall() -> Walls:
    """A room of 400 by 400 with a wall from the bottom that leaves a gap of 100 at the top."""
    box = [(0, 0, 400, 0), (400, 0, 400, 400), (400, 400, 0, 400), (0, 400, 0, 0)]
    lines = np.array([*box, (200, 0, 200, 300)], float)
    return Walls(blocking=lines, opaque=lines)


def test_route_leads_around_walls_and_keeps_clear_of_them() -> None:
    walls = room_with_a_wall()
    route = Grid(walls).route((100, 50), [(300, 50)], [])
    assert route[-1] == (300, 50)
    assert max(y for _, y in route) > 300
    for (x1, y1), (x2, y2) in pairwise(route):
        assert not crosses(walls.blocking, np.array([x1, y1]), np.array([x2, y2])).any()
    length = sum(np.hypot(x2 - x1, y2 - y1) for (x1, y1), (x2, y2) in pairwise(route))
    assert 540 < length < 720


def test_route_goes_to_the_nearest_goal_and_around_what_it_avoids() -> None:
    grid = Grid(room_with_a_wall())
    assert grid.route((100, 50), [(300, 50), (100, 350)], [])[-1] == (100, 350)
    straight = grid.route((100, 50), [(100, 350)], [])
    around = grid.route((100, 50), [(100, 350)], [(104, 200)])
    assert min(np.hypot(x - 104, y - 200) for x, y in straight) < 16
    assert min(np.hypot(x - 104, y - 200) for x, y in around) > 25
    assert grid.route((100, 50), [], []) == []


def test_line_of_sight() -> None:
    walls = room_with_a_wall()
    assert not walls.clear(100, 50, 300, 50)
    assert walls.clear(100, 350, 300, 350)


def test_straight_ways_need_room_for_the_whole_player_and_from_what_is_avoided() -> None:
    grid = Grid(room_with_a_wall())
    targets = [(300.0, 350.0), (300.0, 260.0), (300.0, 50.0), (100.0, 350.0)]
    assert grid.clear((100, 350), targets, []).tolist() == [True, False, False, True]
    assert grid.clear((100, 350), targets, [(200, 330)]).tolist() == [False, False, False, True]


@pytest.mark.parametrize("bearing", [-170.0, -62.0, -11.0, -5.2, 3.1, 9.0, 40.0, 133.0])
def test_steering_reaches_a_narrow_tolerance(bearing: float) -> None:
    steering, held = Steering(), 0
    for _ in range(25):
        choice = steering.turn(bearing, tolerance=1.0)
        if not choice and abs(bearing) <= 1.0:
            break
        bearing -= {"turn_left": 1, "turn_right": -1, "": 0}[choice] * (7.0, 12.3, 14.1)[held]
        held = min(held + 1, 2) if choice else 0
    assert abs(bearing) <= 1.0


def test_turn_takes_the_short_way() -> None:
    assert [turn(v) for v in (190.0, -190.0, 360.0, 180.0, -180.0)] == [-170.0, 170.0, 0.0, 180.0, 180.0]
