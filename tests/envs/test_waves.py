import numpy as np
import pytest

from flexlam.core.errors import ConfigError, DataError
from flexlam.envs.waves import Waves

SHAPE = (48, 64, 3)
GREY = np.full(SHAPE, 128, np.uint8)


def walk(waves: Waves, num_steps: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """States (num_steps + 1, S) and innovations (num_steps, I)."""
    generator = np.random.default_rng(seed)
    states, innovations = [waves.start(generator, SHAPE)], []
    for _ in range(num_steps):
        state, innovation = waves.advance(states[-1], generator, SHAPE)
        states.append(state)
        innovations.append(innovation)
    return np.stack(states), np.stack(innovations)


def test_waves_can_dominate_the_picture_and_move_in_every_frame() -> None:
    waves = Waves(Waves.Config())
    states, _ = walk(waves, 20)
    drawn = np.stack([waves.apply(GREY, state) for state in states]).astype(float)
    assert drawn.std(axis=(1, 2)).mean() > 60 and drawn.min() == 0 and drawn.max() == 255
    assert np.abs(np.diff(drawn, axis=0)).mean((1, 2, 3)).min() > 30


def test_the_innovation_and_the_state_before_settle_the_state() -> None:
    config = Waves.Config(speed=0.3, innovation=0.7)
    states, innovations = walk(Waves(config), 50)
    phases = np.arctan2(states[:, 1::2], states[:, ::2])
    turned = phases[1:] - phases[:-1] - 0.7 * innovations
    turned = (turned + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(np.abs(turned), 0.3, atol=1e-5)
    np.testing.assert_allclose(turned, np.broadcast_to(turned[0], turned.shape), atol=1e-5)  # each its own direction
    assert abs(innovations.mean()) < 0.15 and abs(innovations.std() - 1) < 0.15


@pytest.mark.parametrize(("innovation", "share"), [(0.0, 1.0), (0.5, np.exp(-0.25)), (1.5, np.exp(-2.25))])
def test_the_present_foretells_the_stated_share_of_the_next_picture(innovation: float, share: float) -> None:
    states, _ = walk(Waves(Waves.Config(innovation=innovation)), 4000 if innovation else 200)
    present, following = (part.reshape(-1, 9, 2).astype(float) for part in (states[:-1], states[1:]))
    explained = 0.0
    for wave in range(9):
        solution = np.linalg.lstsq(present[:, wave], following[:, wave], rcond=None)[0]
        rest = following[:, wave] - present[:, wave] @ solution
        explained += (1 - (rest**2).mean() / (following[:, wave] ** 2).mean()) / 9
    assert explained == pytest.approx(share, abs=0.03)


def test_what_is_added_is_a_wave_of_the_stated_amplitude() -> None:
    waves = Waves(Waves.Config(num_waves=1, strength=0.5, wavelength=10.0))
    state = np.array([1, 0, 1, 0, 1, 0], np.float32)
    added = waves.apply(GREY, state).astype(int) - 128
    assert added[0, 0].tolist() == [63, 63, 63]  # 128 + 63.75 is cut to a whole number
    assert -64 <= added.min() <= -62 and added.max() <= 63
    opposite = waves.apply(GREY, -state).astype(int) - 128
    assert np.abs(added + opposite).max() <= 1


def test_colours_are_independent() -> None:
    waves = Waves(Waves.Config())
    state = walk(waves, 1)[0][0]
    other = state.copy()
    other[:6] = -other[:6]  # red alone
    first, second = waves.apply(GREY, state), waves.apply(GREY, other)
    np.testing.assert_array_equal(first[..., 1:], second[..., 1:])
    assert (first[..., 0] != second[..., 0]).mean() > 0.9


def test_what_cannot_be_drawn_is_refused() -> None:
    waves = Waves(Waves.Config())
    with pytest.raises(DataError, match="state has shape"):
        waves.apply(GREY, np.zeros(3, np.float32))
    with pytest.raises(ConfigError, match="innovation"):
        Waves.Config.parse({"innovation": -1})
