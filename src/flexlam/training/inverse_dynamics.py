"""The inverse dynamics baseline: the encoder's architecture from scratch on N labels, and the labels it then gives."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from flexlam.core import catalog
from flexlam.core.machine import choose_precision
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import frames_to_images
from flexlam.training.fit import FitConfig, fit_with_folds, seeded
from flexlam.training.labelled import require_actions
from flexlam.training.pairs import SplitPairs
from flexlam.translator.base import HourglassConfig
from flexlam.translator.inverse_dynamics import InverseDynamicsModel

_CHUNK = 512  # transitions scored at a time

# The settings of alignment's and of the pseudo-labels' fit: few and long steps, because each sees whole frames.
IDM_FIT = FitConfig(learning_rate=1e-3, max_steps=240, evaluate_every=20, patience=3, num_folds=3)


def fit_inverse_dynamics(
    model: LatentActionModel,
    pairs: SplitPairs,
    rows: np.ndarray,
    network: HourglassConfig,
    use_prev_action: bool,
    fit: FitConfig,
    seed: int,
) -> InverseDynamicsModel:
    """Fit to labelled rows of the training transitions; of `model` it takes sizes and device only, no weights.

    The result lies on the CPU.

    Raises:
        DataError: the store holds no actions.
        TrainingError: there are fewer labels than folds.
    """
    require_actions(pairs.store)
    problem = _InverseDynamicsProblem(model, pairs, rows, network, use_prev_action, seed)
    fitted: InverseDynamicsModel = fit_with_folds(problem, len(rows), fit, seed).model
    return fitted.cpu()


@torch.inference_mode()
def inverse_dynamics_scores(
    idm: InverseDynamicsModel,
    store: FrameStore,
    index: TransitionIndex,
    rows: np.ndarray,
    device: torch.device = torch.device("cpu"),  # noqa: B008 - immutable
) -> Float[Tensor, "B O"]:
    """Scores of actions for rows (B,) of an index, in their order, on the CPU; computed on a device."""
    idm, outputs = idm.to(device), []
    for start in range(0, len(rows), _CHUNK):
        batch = index.batch(store, rows[start : start + _CHUNK])
        assert batch.prev_action is not None  # the store had actions to fit to
        images = (frames_to_images(frames.to(device)) for frames in (batch.obs, batch.next_obs))
        outputs.append(idm(*images, batch.prev_action.to(device)).cpu())
    idm.cpu()
    return torch.cat(outputs)


def pseudo_label(
    model: LatentActionModel,
    pairs: SplitPairs,
    rows: np.ndarray,
    seed: int,
    network: HourglassConfig | None = None,
    fit: FitConfig = IDM_FIT,
) -> np.ndarray:
    """The most likely action (R, A) float32 of every training transition, by a model that knows N labelled rows.

    It sees no previous action: of an unlabelled video there is none.

    Raises:
        DataError: the store holds no actions.
        TrainingError: there are fewer labels than folds.
    """
    idm = fit_inverse_dynamics(model, pairs, rows, network or HourglassConfig(), False, fit, seed)
    scores = inverse_dynamics_scores(idm, pairs.store, pairs.train, np.arange(len(pairs.train)), model.device)
    actions: np.ndarray = idm.codec.predict(scores).numpy()
    return actions


class _InverseDynamicsProblem:
    """The model and its labels, for `fit_with_folds`."""

    def __init__(
        self,
        model: LatentActionModel,
        pairs: SplitPairs,
        rows: np.ndarray,
        network: HourglassConfig,
        use_prev_action: bool,
        seed: int,
    ) -> None:
        self.spec = require_actions(pairs.store)
        self.encoder_config, self.sizes = model.config.encoder, (model.frame_shape, model.num_slots, model.latent_dim)
        self.network, self.use_prev_action, self.seed = network, use_prev_action, seed
        batch = pairs.train.batch(pairs.store, rows)
        assert batch.prev_action is not None and batch.action is not None  # require_actions has seen to it
        self.device = model.device
        self.obs, self.next_obs = (frames_to_images(x.to(self.device)) for x in (batch.obs, batch.next_obs))
        self.prev_action, self.action = batch.prev_action.to(self.device), batch.action.to(self.device)
        self.precision = choose_precision("auto", self.device)

    def build(self) -> InverseDynamicsModel:
        """A fresh model; continuous statistics come from all N labels."""
        return seeded(self._build, self.seed, "idm").to(self.device)

    def _build(self) -> InverseDynamicsModel:
        encoder = catalog.lookup("encoder", self.encoder_config.name)(self.encoder_config, *self.sizes)
        _, num_slots, latent_dim = self.sizes
        idm = InverseDynamicsModel(encoder, num_slots * latent_dim, self.spec, self.use_prev_action, self.network)
        idm.codec.fit(self.action.cpu())
        return idm

    def parts(self, model: InverseDynamicsModel) -> Sequence[nn.Module]:
        """One network."""
        return [model]

    def loss(self, model: InverseDynamicsModel, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Loss of some labels."""
        with torch.autocast(self.device.type, self.precision, enabled=self.precision != torch.float32):
            outputs = model(self.obs[rows], self.next_obs[rows], self.prev_action[rows])
        return model.codec.loss(outputs.float(), self.action[rows]).mean()

    def heldout(self, model: InverseDynamicsModel, rows: Tensor) -> Sequence[float]:
        """Held-out loss."""
        return [float(self.loss(model, rows, torch.Generator()))]
