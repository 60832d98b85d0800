"""Labelled transitions as tensors: latents of the frozen model, previous action, action."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from flexlam.core.action import ActionSpec
from flexlam.core.errors import DataError
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import frames_to_images, thumbnails

_CHUNK = 1024


@dataclass(frozen=True)
class Labelled:
    """Transitions with their actions, on the CPU."""

    latents: Float[Tensor, "N K D"]
    """Quantised, of the full code."""
    prev_action: Float[Tensor, "N A"]
    """NaN where an episode starts."""
    action: Float[Tensor, "N A"]
    obs: Float[Tensor, "N P"]
    """Thumbnails of o_t, for translators that read it."""
    num_draws: int = 1
    """Rows of each label, one behind the other: the same action beside latents that were drawn several times."""

    def __len__(self) -> int:
        return len(self.action)

    @property
    def num_labels(self) -> int:
        """Labels, each counted once."""
        return len(self) // self.num_draws

    def one_draw(self, labels: Int[Tensor, "*batch"], generator: torch.Generator) -> Int[Tensor, "*batch"]:
        """A row of each of these labels, at random where it has several."""
        if self.num_draws == 1:
            return labels
        return self.num_draws * labels + torch.randint(self.num_draws, labels.shape, generator=generator)

    def all_draws(self, labels: Int[Tensor, "B"]) -> Int[Tensor, "R"]:
        """All rows of these labels."""
        return (self.num_draws * labels[:, None] + torch.arange(self.num_draws)).flatten()

    def __getitem__(self, rows: np.ndarray | Tensor) -> "Labelled":
        rows = torch.as_tensor(rows)
        return Labelled(self.latents[rows], self.prev_action[rows], self.action[rows], self.obs[rows])

    @classmethod
    def without_codes(cls, prev_action: Float[Tensor, "N A"], action: Float[Tensor, "N A"]) -> "Labelled":
        """Actions alone."""
        return cls(torch.zeros(len(action), 0, 0), prev_action, action, torch.zeros(len(action), 0))

    def with_shuffled_codes(self, generator: torch.Generator) -> "Labelled":
        """The same actions beside the codes of other transitions."""
        order = torch.randperm(len(self), generator=generator)
        return replace(self, latents=self.latents[order])


def require_actions(store: FrameStore) -> ActionSpec:
    """The action spec of a store.

    Raises:
        DataError: the store holds no actions.
    """
    if store.action_spec is None:
        raise DataError(
            f"{store.path} holds no actions, and they are needed here. Record with them (flexlam collect without "
            "--no-actions), or use data that has an action column. A translator alone can be fitted to a few that are "
            "written down: flexlam train translator --label-file."
        )
    return store.action_spec


def encode_labelled(model: LatentActionModel, store: FrameStore, index: TransitionIndex, rows: np.ndarray) -> Labelled:
    """Encode transitions with a frozen model.

    Raises:
        DataError: the store holds no actions.
    """
    require_actions(store)
    latents, prev_actions, actions, obs = [], [], [], []
    for start in range(0, len(rows), _CHUNK):
        batch = index.batch(store, rows[start : start + _CHUNK])
        latents.append(model.encode(batch.obs, batch.next_obs).latents.cpu())
        assert batch.prev_action is not None and batch.action is not None  # require_actions has seen to it
        prev_actions.append(batch.prev_action)
        actions.append(batch.action)
        obs.append(thumbnails(frames_to_images(batch.obs)))
    return Labelled(torch.cat(latents), torch.cat(prev_actions), torch.cat(actions), torch.cat(obs))


def encode_with_actions(
    model: LatentActionModel, store: FrameStore, index: TransitionIndex, rows: np.ndarray, actions: np.ndarray
) -> Labelled:
    """Encode transitions whose actions (N, A) come from elsewhere; no previous action is known.

    Raises:
        DataError: a frame is damaged.
    """
    latents, obs = [], []
    for start in range(0, len(rows), _CHUNK):
        batch = index.batch(store, rows[start : start + _CHUNK], with_actions=False)
        latents.append(model.encode(batch.obs, batch.next_obs).latents.cpu())
        obs.append(thumbnails(frames_to_images(batch.obs)))
    action = torch.from_numpy(actions.astype(np.float32))
    return Labelled(torch.cat(latents), torch.full_like(action, float("nan")), action, torch.cat(obs))
