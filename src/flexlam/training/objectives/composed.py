"""The main objective and the one beside it, as one loss; which slots learn from which."""

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from flexlam.core import catalog
from flexlam.core.config import Config, component
from flexlam.core.errors import ConfigError
from flexlam.data.labels import choose_labels
from flexlam.data.loader import BatchSampler
from flexlam.data.store import FrameStore
from flexlam.lam.model import LatentActionModel
from flexlam.training.fit import seeded
from flexlam.training.objectives.base import ObjectiveBatch, ObjectiveConfig
from flexlam.training.objectives.nothing import Nothing
from flexlam.training.objectives.reconstruction import Reconstruction
from flexlam.training.pairs import SplitPairs

Images = tuple[Float[Tensor, "B C H W"], Float[Tensor, "B C H W"]]
"""Both frames of transitions."""
LabelledImages = tuple[Float[Tensor, "L C H W"], Float[Tensor, "L C H W"]]
"""Both frames of labelled transitions, of which there may be another number."""


class ObjectivesConfig(Config):
    """What codes have to tell."""

    main: component(ObjectiveConfig) = Reconstruction.Config()  # type: ignore[valid-type]
    """What the whole code has to tell."""
    auxiliary: component(ObjectiveConfig) = Nothing.Config()  # type: ignore[valid-type]
    """What it has to tell beside that."""
    weight: float = Field(default=1.0, gt=0)
    """Weight of the auxiliary loss."""
    num_endogenous: int = Field(default=0, ge=0)
    """The first so many slots learn from the auxiliary objective alone, and it sees only them: they carry what it asks
    for, whatever varies most in the picture. At 0 all slots learn from both."""


class LabelBatches:
    """The labelled transitions of every step."""

    def __init__(self, wanted: ObjectiveConfig, pairs: SplitPairs, seed: int) -> None:
        self._labels = choose_labels(pairs.train, pairs.store, wanted.labels, seed, wanted.draw)  # type: ignore[attr-defined]
        size = min(wanted.batch_size, len(self._labels))  # type: ignore[attr-defined]
        self._sampler = BatchSampler(len(self._labels), size, seed + 1)
        self.actions = torch.from_numpy(self._labels.actions)
        """(N, A), of all labels."""

    def rows_of(self, step: int) -> np.ndarray:
        """Rows (L,) of the training transitions."""
        rows: np.ndarray = self._labels.rows[self._sampler.rows(step)]
        return rows

    def actions_of(self, step: int) -> Float[Tensor, "L A"]:
        """Their actions."""
        return self.actions[self._sampler.rows(step)]


class Composed(nn.Module):
    """What stage 1 minimises.

    Raises:
        ConfigError: the objectives contradict each other, or lack a twin or have one that none of them reads.
        DataError: an objective asks for labels, and the data have no actions or too few transitions.
    """

    def __init__(
        self,
        config: ObjectivesConfig,
        model: LatentActionModel,
        pairs: SplitPairs,
        twin: FrameStore | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.config, spec = config, pairs.store.action_spec
        settings = (config.main, config.auxiliary)
        makers = [catalog.lookup("objective", wanted.name) for wanted in settings]
        _check(config, model, [maker.needs_twin for maker in makers], twin)
        labelled = [wanted for wanted, maker in zip(settings, makers, strict=True) if maker.needs_labels]
        self.labels = LabelBatches(labelled[0], pairs, seed) if labelled else None
        self.main, self.auxiliary = (
            seeded(lambda m=maker, s=wanted: m(s, model, spec), seed, "objective", wanted.name)  # type: ignore[misc]
            for wanted, maker in zip(settings, makers, strict=True)
        )
        if self.labels is not None:
            (self.main if self.main.needs_labels else self.auxiliary).fit(self.labels.actions)

    def loss(
        self,
        model: LatentActionModel,
        batch: Images,
        twin: Images | None,
        labelled: LabelledImages | None,
        action: Float[Tensor, "L A"] | None,
        generator: torch.Generator,
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Loss of a step, and its parts where there are several."""
        obs, next_obs = batch
        if labelled is None:
            filled, aux = model.encode_prefixes(obs, next_obs, generator)
        else:
            both = torch.cat([obs, labelled[0]]), torch.cat([next_obs, labelled[1]])
            filled, aux = model.encode_prefixes(both[0], both[1], generator)
        for_main, for_auxiliary = self._routed(model, filled, aux.latents, aux.prefix_length)
        losses = []
        for objective, latents in ((self.main, for_main), (self.auxiliary, for_auxiliary)):
            seen = ObjectiveBatch(obs, next_obs, latents[: len(obs)], twin, latents[len(obs) :], action)
            losses.append(objective.loss(model, seen, generator))
        main, auxiliary = losses
        total = main + self.config.weight * auxiliary + aux.penalty
        if not (self.main.trains_decoder or self.auxiliary.trains_decoder):
            # Pictures and health want a decoder; the codes learn nothing of it.
            total = total + model.decoder.loss(obs, next_obs, filled[: len(obs)].detach(), generator)
        return total, {"main_loss": main.detach(), "auxiliary_loss": auxiliary.detach()}

    def _routed(
        self,
        model: LatentActionModel,
        filled: Float[Tensor, "B K D"],
        latents: Float[Tensor, "B K D"],
        prefix_length: Tensor,
    ) -> tuple[Float[Tensor, "B K D"], Float[Tensor, "B K D"]]:
        """Latents for the main objective, which teaches the first slots nothing, and for the other."""
        first = self.config.num_endogenous
        if not first:
            return filled, filled
        fixed = torch.cat([latents[:, :first].detach(), latents[:, first:]], dim=1)
        return model.prefix(fixed, prefix_length)[0], model.prefix(latents, prefix_length.clamp_max(first))[0]


def _check(config: ObjectivesConfig, model: LatentActionModel, need_twin: list[bool], twin: FrameStore | None) -> None:
    """Refuse what cannot be trained, and settings that would be passed over."""
    main, beside, first = config.main.name, config.auxiliary.name, config.num_endogenous
    if main == "none":
        raise ConfigError('The main objective is "none", so nothing would be learned. Give another objectives.main.')
    if main == beside:
        raise ConfigError(f"Both objectives are {main!r}. Give another objectives.auxiliary, or none.")
    if any(need_twin) and twin is None:
        raise ConfigError(
            f"The objective {(main if need_twin[0] else beside)!r} compares each transition with the same one before "
            "another background, and no such recording was given. Record the data once more with another overlay_seed, "
            "convert it, and give the store (--twin STORE)."
        )
    if twin is not None and not any(need_twin):
        raise ConfigError(
            f"A twin was given ({twin.path}), and no objective reads it. Leave it out, or choose one that does "
            "(cross-exogenous)."
        )
    if first and beside == "none":
        raise ConfigError(
            f"objectives.num_endogenous is {first}, and there is no auxiliary objective for these slots to learn from. "
            "Give one, for example action-supervision."
        )
    if first >= model.num_slots:
        raise ConfigError(
            f"objectives.num_endogenous is {first}; of {model.num_slots} slots at least one has to be left for the "
            "main objective."
        )
