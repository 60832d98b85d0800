"""Sinusoids that drift and jump: a background that can dominate the picture and is largely new in every frame."""

import numpy as np
from pydantic import Field

from flexlam.envs.overlay import OverlayConfig, check_drawing

_COLOURS = 3


class Waves:
    """A sum of plane waves in each colour channel, added to the frame; each wave's phase drifts and jumps.

    State: the cosine and sine of each phase, wave by wave, red, green, then blue; what is added is linear in it, before
    clipping. Innovation: one number a phase; the phase moves by `speed` radians and `innovation` times that number.
    """

    class Config(OverlayConfig):
        """Settings."""

        name: str = "waves"
        strength: float = Field(default=1.0, ge=0, le=1)
        """Amplitude as a share of half the brightness range; at 1 waves over mid-grey reach black and white."""
        num_waves: int = Field(default=3, ge=1)
        """Waves in each colour channel."""
        wavelength: float = Field(default=24.0, gt=2)
        """Typical distance of two crests in pixels; single waves have .7 to 1.4 times that."""
        speed: float = Field(default=0.2, ge=0)
        """Steady drift of each phase in radians per decision, forwards or backwards."""
        innovation: float = Field(default=1.5, ge=0)
        """Standard deviation of the jump of each phase in radians per decision. The present waves foretell the share
        exp(-innovation²) of the variance of the next ones: a tenth at 1.5, all of it at 0."""
        pattern_seed: int = 0
        """Which directions and wavelengths."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.innovation_size = _COLOURS * config.num_waves
        self.state_size = 2 * self.innovation_size
        pattern = np.random.default_rng(config.pattern_seed)
        angle = pattern.uniform(0, 2 * np.pi, self.innovation_size)
        number = 2 * np.pi / (config.wavelength * pattern.uniform(0.7, 1.4, self.innovation_size))
        self._vectors = number * np.stack([np.cos(angle), np.sin(angle)])  # (2, waves), radians a pixel
        self._drift = config.speed * pattern.choice([-1.0, 1.0], self.innovation_size)
        self._bases: dict[tuple[int, int], np.ndarray] = {}

    def start(self, generator: np.random.Generator, frame_shape: tuple[int, int, int]) -> np.ndarray:
        """(6 * num_waves,) state of the first frame: every phase is uniform."""
        return _state(generator.uniform(0, 2 * np.pi, self.innovation_size))

    def advance(
        self, state: np.ndarray, generator: np.random.Generator, frame_shape: tuple[int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(6 * num_waves,) state one decision later, and (3 * num_waves,) innovation of the phases."""
        innovation = generator.standard_normal(self.innovation_size)
        cosine, sine = state.astype(np.float64).reshape(-1, 2).T
        phases = np.arctan2(sine, cosine) + self._drift + self.config.innovation * innovation
        return _state(phases), innovation.astype(np.float32)

    def apply(self, frame: np.ndarray, state: np.ndarray) -> np.ndarray:
        """The frame with the waves added."""
        check_drawing(frame, state, self.state_size)
        bases = self._of_size(frame.shape[0], frame.shape[1])  # (3, pixels, 2 * num_waves)
        waves = np.matmul(bases, state.reshape(_COLOURS, -1, 1))[..., 0].T.reshape(frame.shape)
        return np.clip(frame + waves, 0, 255).astype(np.uint8)

    def _of_size(self, height: int, width: int) -> np.ndarray:
        """What each number of the state adds to a frame of that size, (3, height * width, 2 * num_waves) float32."""
        if (height, width) not in self._bases:
            rows, columns = np.divmod(np.arange(height * width), width)
            angles = np.outer(columns, self._vectors[0]) + np.outer(rows, self._vectors[1])  # (pixels, waves)
            both = np.stack([np.cos(angles), -np.sin(angles)], axis=-1)  # cos(a + b) = cos a cos b - sin a sin b
            both = both.reshape(height * width, _COLOURS, -1).transpose(1, 0, 2)
            scale = 127.5 * self.config.strength / np.sqrt(self.config.num_waves)
            self._bases[height, width] = np.ascontiguousarray(scale * both, np.float32)
        return self._bases[height, width]


def _state(phases: np.ndarray) -> np.ndarray:
    return np.stack([np.cos(phases), np.sin(phases)], axis=1).astype(np.float32).ravel()
