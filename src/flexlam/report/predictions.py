"""What the sequence model expects: codes predicted before the next frame was seen, decoded (FlexLAM, figure 9)."""

from dataclasses import dataclass

import numpy as np

from flexlam.report.sweeps import Picture


@dataclass(frozen=True)
class PredictedTransition:
    """One transition, decoded from its own codes and from predicted ones; frames are (H, W, C) uint8."""

    task: str
    obs: np.ndarray
    next_obs: np.ndarray
    encoded: np.ndarray
    """Decoded from the codes of the real transition."""
    predicted: dict[int, np.ndarray]
    """Prefix length k -> decoded from k codes that the sequence model predicted before seeing `next_obs`."""

    def pictures(self) -> list[Picture]:
        """The frame of the real codes, then one a prefix length of predicted ones."""
        encoded = Picture("encoded", "decoded from the codes of the real transition", self.encoded, apart=True)
        predicted = [
            Picture(f"k = {k}", f"decoded from {k} predicted codes", frame)
            for k, frame in sorted(self.predicted.items())
        ]
        return [encoded, *predicted] if predicted else []
