"""The same transitions before another background: do codes stay, and which part of the picture do they decode?"""

import numpy as np

from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.data.twins import check_twins
from flexlam.lam.model import LatentActionModel

_NUM_TRANSITIONS = 512
_SAME = 2  # brightness levels up to which a pixel of both counts as the same


class TwinTest:
    """Test transitions and their twins.

    Raises:
        DataError: the stores are no twins.
    """

    def __init__(
        self, model: LatentActionModel, store: FrameStore, twin: FrameStore, index: TransitionIndex, rows: np.ndarray
    ) -> None:
        check_twins(store, twin)
        chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), _NUM_TRANSITIONS)).astype(int)]
        self.model = model
        self.batch = index.batch(store, chosen, with_actions=False)
        other = index.of_twin(twin).batch(twin, chosen, with_actions=False)
        self.codes, self.others = (model.encode(b.obs, b.next_obs) for b in (self.batch, other))
        difference = (self.batch.next_obs.int() - other.next_obs.int()).abs().amax(-1, keepdim=True)
        self.exogenous = difference > _SAME  # (N, H, W, 1)

    def measure(self, k: int) -> dict[str, float]:
        """Of the first k slots: how far codes of twins agree, and the error over copying in either region.

        `twin_agreement` is the share of equal codes, `twin_agreement_chance` that of unrelated transitions;
        `twin_score` the share of the codes' variance that the background makes, 0 where codes of twins are equal.
        """
        scores: dict[str, float] = {}
        if k:
            one, other = self.codes, self.others
            shift = len(one.indices) // 2
            same = one.indices[:, :k] == other.indices[:, :k]
            chance = one.indices[:, :k] == other.indices[:, :k].roll(shift, 0)
            z, twin_z = one.latents[:, :k].double(), other.latents[:, :k].double()
            between = float((z - twin_z.roll(shift, 0)).square().sum())
            scores["twin_agreement"] = float(same.double().mean())
            scores["twin_agreement_chance"] = float(chance.double().mean())
            scores["twin_score"] = float((z - twin_z).square().sum()) / between if between > 0 else 0.0
        decoded = self.model.decode(self.batch.obs, self.codes, prefix_length=k).cpu()
        wanted = self.batch.next_obs
        errors, copied = ((frames.float() - wanted.float()).square() for frames in (decoded, self.batch.obs))
        for name, region in (("exogenous", self.exogenous), ("endogenous", ~self.exogenous)):
            weights = region.expand_as(errors).float()
            below = float((copied * weights).sum())
            scores[f"{name}_error"] = float((errors * weights).sum()) / below if below > 0 else float("nan")
        return scores
