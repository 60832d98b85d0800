"""Does a latent action tell of the action, or of the background? Probes where truth is known, tests where it is not."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from flexlam.bottleneck.health import slot_usage
from flexlam.core.action import ActionSpec
from flexlam.core.config import Config
from flexlam.core.extras import ENDOGENOUS_STATE, EXOGENOUS_INNOVATION, EXOGENOUS_STATE
from flexlam.core.progress import progress
from flexlam.core.seeding import numpy_generator
from flexlam.core.types import Codes
from flexlam.data.store import FrameStore
from flexlam.data.transitions import TransitionIndex
from flexlam.evaluate.prefix_lengths import check_prefix_lengths
from flexlam.evaluate.swaps import SwapTest
from flexlam.evaluate.twins import TwinTest
from flexlam.lam.model import LatentActionModel
from flexlam.metrics.images import psnr
from flexlam.metrics.probes import ProbeScore, Samples, linear_probe, mlp_probe
from flexlam.training.pairs import SplitPairs

_CHUNK = 1024
_NUM_DECODED = 512  # test transitions that are decoded
_MOST_PLACES = 16  # a state's coordinate of so few values is given to a probe as one of them

LEAK = 0.1
"""Share of the coming background's variance that a probe reads, from which on codes are said to tell of it ..."""
STDERRS = 3.0
"""... if it is so many standard errors above nothing."""
READ = 0.5
"""Share of the action's variance from which on codes are said to tell of it."""
SWAPPED = 0.03
"""Share of the error in pasted texture that codes take away, from which on they are said to tell of it."""


class ProbesConfig(Config):
    """Settings of a leakage report."""

    prefix_lengths: tuple[int, ...] = ()
    """The k to report; empty means 0, 1, 2, 4, ... and K."""
    num_fitted: int = Field(default=8000, ge=10)
    """Training transitions that probes are fitted on, at most; a quarter as many of validation episodes choose."""
    num_test: int = Field(default=4000, ge=10)
    """Test transitions that they are scored on, at most."""
    nonlinear: bool = True
    """Whether small networks read codes, too, beside linear maps."""
    num_steps: int = Field(default=600, ge=1)
    """Training steps of a small network at most."""
    num_swaps: int = Field(default=512, ge=8)
    """Test transitions into which other clips are pasted."""
    seed: int = 0
    """Which transitions, and the weights of probes."""


@dataclass(frozen=True, eq=False)
class _Part:
    """Encoded transitions of one set of episodes."""

    index: TransitionIndex
    rows: np.ndarray
    latents: Float[Tensor, "N K D"]
    codes: Int[Tensor, "N K"]

    @property
    def episode(self) -> np.ndarray:
        episode: np.ndarray = self.index.episode[self.rows]
        return episode

    def samples(self, k: int, targets: np.ndarray) -> Samples:
        """The first k slots beside targets."""
        features = self.latents[:, :k].flatten(1).double().numpy()
        return Samples(features, targets, self.episode)


def measure_probes(
    model: LatentActionModel, pairs: SplitPairs, config: ProbesConfig, twin: FrameStore | None = None
) -> dict[str, Any]:
    """Rows (one a k) of what was read and how codes react, and a verdict.

    Probes are fitted on training episodes, their penalty or stopping step is chosen on validation episodes, and test
    episodes score them. What the store does not tell (actions, states) is not measured. With a twin (the same games
    before another background) codes of both are compared, and decoding errors are told apart by region.

    Raises:
        ConfigError: a k that the model cannot serve.
        DataError: the twin is none, or a target does not vary.
    """
    lengths = check_prefix_lengths(config.prefix_lengths, model.num_slots)
    parts = {
        name: _encode(model, pairs.store, index, most, config.seed)
        for name, index, most in (
            ("train", pairs.train, config.num_fitted),
            ("validation", pairs.validation, max(10, config.num_fitted // 4)),
            ("test", pairs.test, config.num_test),
        )
    }
    targets = {name: _targets(pairs.store, part) for name, part in parts.items()}
    _with_innovation(targets)
    swaps = SwapTest(model, pairs.store, pairs.test, config.num_swaps, config.seed)
    twins = None if twin is None else TwinTest(model, pairs.store, twin, pairs.test, parts["test"].rows)
    decoded = _Decoding(model, pairs.store, parts["test"])
    rows = []
    with progress(len(lengths), "Probes", "prefix length") as bar:
        for k in lengths:
            usage = slot_usage(parts["test"].codes[:, :k]) if k else ()
            row: dict[str, Any] = {"k": k, "bits": k * model.bits_per_slot, "bits_used": sum(s.bits for s in usage)}
            for target in targets["test"]:
                row |= _probe(target, k, parts, {name: t[target] for name, t in targets.items()}, config)
            if {"action", "endogenous_state"} <= targets["test"].keys() and config.nonlinear:
                row |= _probe_given_state(k, parts, targets, config)
            row |= swaps.measure(k) | decoded.measure(k)
            if twins is not None:
                row |= twins.measure(k)
            if "action" in targets["test"]:
                row |= _cycle(k, parts, {name: t["action"] for name, t in targets.items()}, decoded)
            rows.append(row)
            bar.update()
    verdict, reason = judge_leakage(rows[-1])
    about = {"verdict": verdict, "reason": reason, "num_test": len(parts["test"].rows), "twin": twin is not None}
    return {"rows": rows, "chance": _chance(pairs.store.action_spec, targets), **about}


def judge_leakage(row: Mapping[str, Any]) -> tuple[str, str]:
    """A verdict on the codes of one k, and why: by probes where truth is known, by the swap test elsewhere."""
    innovation, action = (_read(row, name) for name in ("exogenous_innovation", "action"))
    if innovation is None:
        score = row["swap_score"]
        told = f"codes take away {score:.1%} of the decoding error in moving texture that is pasted over the picture"
        return ("tells of anything that moves" if score >= SWAPPED else "hardly tells of pasted motion"), told
    leak, stderr = innovation
    leaks = leak >= LEAK and leak >= STDERRS * stderr
    told = f"{leak:.0%} of what is new in the background can be read from the codes"
    if action is None:
        return ("tells of the background" if leaks else "does not tell of the background"), told
    told += f", and {action[0]:.0%} of the action"
    if action[0] >= READ:
        return ("tells of the action and of the background" if leaks else "tells of the action"), told
    return ("tells of the background, not of the action" if leaks else "tells of neither"), told


def _read(row: Mapping[str, Any], target: str) -> tuple[float, float] | None:
    """Share of a target's variance that the better probe reads, and its standard error."""
    found = [
        (1 - row[f"{target}_{kind}_nmse"], row[f"{target}_{kind}_nmse_stderr"])
        for kind in ("linear", "mlp")
        if f"{target}_{kind}_nmse" in row
    ]
    return max(found) if found else None


def _encode(model: LatentActionModel, store: FrameStore, index: TransitionIndex, most: int, seed: int) -> _Part:
    rows = np.sort(numpy_generator(seed, "probes").permutation(len(index))[:most])
    latents, codes = [], []
    for start in range(0, len(rows), _CHUNK):
        batch = index.batch(store, rows[start : start + _CHUNK], with_actions=False)
        found = model.encode(batch.obs, batch.next_obs)
        latents.append(found.latents.cpu())
        codes.append(found.indices.cpu())
    return _Part(index, rows, torch.cat(latents), torch.cat(codes))


def _targets(store: FrameStore, part: _Part) -> dict[str, np.ndarray]:
    """What could be read, (N, T) float64 each; an action's choices are one-hot."""
    first, second = part.index.first[part.rows], part.index.second[part.rows]
    found: dict[str, np.ndarray] = {}
    spec = store.action_spec
    if store.actions is not None and spec is not None:
        actions = store.actions[first]
        choices = [np.eye(count)[actions[:, dim].astype(int)] for dim, count in enumerate(spec.num_choices)]
        found["action"] = np.hstack([*choices, actions[:, len(spec.num_choices) :]])
    if ENDOGENOUS_STATE in store.extras:
        state = store.extras[ENDOGENOUS_STATE]
        found["endogenous_state"] = state[first].astype(float)
        found["endogenous_change"] = (state[second] - state[first]).astype(float)
    if EXOGENOUS_STATE in store.extras:
        found["exogenous_state"] = store.extras[EXOGENOUS_STATE][first].astype(float)
        found["exogenous_next"] = store.extras[EXOGENOUS_STATE][second].astype(float)
    if EXOGENOUS_INNOVATION in store.extras and (part.index.step[part.rows] + 1 == _step_after(part)).all():
        found["exogenous_innovation"] = store.extras[EXOGENOUS_INNOVATION][second].astype(float)
    return found


def _step_after(part: _Part) -> np.ndarray:
    """Steps of the second frames."""
    steps: np.ndarray = part.index.step[part.rows] + part.index.second[part.rows] - part.index.first[part.rows]
    return steps


def _with_innovation(targets: Mapping[str, dict[str, np.ndarray]]) -> None:
    """Exchange the next exogenous state for what the present one does not foretell.

    That is the noise that led to it where it was recorded (and one step was taken), else the rest of a linear
    regression.
    """
    if "exogenous_next" not in targets["train"]:
        return
    following = {name: of_part.pop("exogenous_next") for name, of_part in targets.items()}
    if all("exogenous_innovation" in of_part for of_part in targets.values()):
        return
    inputs = {
        name: np.c_[of_part["exogenous_state"], np.ones(len(following[name]))] for name, of_part in targets.items()
    }
    weights = np.linalg.lstsq(inputs["train"], following["train"], rcond=1e-6)[0]
    for name, of_part in targets.items():
        of_part["exogenous_innovation"] = following[name] - inputs[name] @ weights


def _probe(
    target: str, k: int, parts: Mapping[str, _Part], targets: Mapping[str, np.ndarray], config: ProbesConfig
) -> dict[str, float]:
    """Scores of a target."""
    train, validation, test = (parts[name].samples(k, targets[name]) for name in ("train", "validation", "test"))
    choices = target == "action" and _is_one_hot(targets["train"])
    scores = {"linear": linear_probe(train, validation, test, choices)}
    if config.nonlinear:
        scores["mlp"] = mlp_probe(train, validation, test, choices, config.seed, config.num_steps)
    return {key: value for kind, score in scores.items() for key, value in _as_row(f"{target}_{kind}", score).items()}


def _probe_given_state(
    k: int, parts: Mapping[str, _Part], targets: Mapping[str, Mapping[str, np.ndarray]], config: ProbesConfig
) -> dict[str, float]:
    """The action read from code and endogenous state together: a code may say where the agent comes to, no more."""
    states = {name: of_part["endogenous_state"] for name, of_part in targets.items()}
    values = [np.unique(column) for column in states["train"].T]
    samples = {}
    for name, part in parts.items():
        plain = part.samples(k, targets[name]["action"])
        columns = [
            (column[:, None] == known) if len(known) <= _MOST_PLACES else column[:, None]
            for column, known in zip(states[name].T, values, strict=True)
        ]
        samples[name] = Samples(np.hstack([plain.features, *columns]), plain.targets, plain.episode)
    choices = _is_one_hot(targets["train"]["action"])
    score = mlp_probe(samples["train"], samples["validation"], samples["test"], choices, config.seed, config.num_steps)
    return _as_row("action_given_state", score)


def _as_row(name: str, score: ProbeScore) -> dict[str, float]:
    row = {f"{name}_nmse": score.nmse, f"{name}_nmse_stderr": score.stderr}
    return row if score.accuracy is None else {**row, f"{name}_accuracy": score.accuracy}


def _is_one_hot(values: np.ndarray) -> bool:
    """Whether each row is a single choice; two choices at once, or numbers, have no single answer."""
    return bool(((values == 0) | (values == 1)).all() and (values.sum(1) == 1).all())


class _Decoding:
    """Test transitions decoded from their own codes, and from those of others."""

    def __init__(self, model: LatentActionModel, store: FrameStore, part: _Part) -> None:
        self.model = model
        self.rows = np.linspace(0, len(part.rows) - 1, min(len(part.rows), _NUM_DECODED)).astype(int)
        batch = part.index.batch(store, part.rows[self.rows], with_actions=False)
        self.obs, self.next_obs = batch.obs, batch.next_obs
        self.latents = part.latents[self.rows]
        self.elsewhere = self._of_others(self.obs)  # rows are in order, and so of other episodes

    def measure(self, k: int) -> dict[str, float]:
        """PSNR with a transition's own code over PSNR with another's (Genie's delta PSNR, one step)."""
        own, other = (
            psnr(self.decode(z, k), self.next_obs).clamp_max(100) for z in (self.latents, self._of_others(self.latents))
        )
        return {"psnr": float(own.mean()), "delta_psnr": float((own - other).mean())}

    def transferred(self, k: int) -> Float[Tensor, "N F"]:
        """Codes read again from what a frame of another episode becomes under a code.

        Source: DiLA's action cycle-transfer, 2605.15725.
        """
        decoded = self.decode(self.latents, k, self.elsewhere)
        return self.model.encode(self.elsewhere, decoded).latents[:, :k].flatten(1).cpu()

    def decode(self, latents: Tensor, k: int, obs: Tensor | None = None) -> Tensor:
        """Next frames (N, H, W, C) uint8."""
        codes = Codes(torch.zeros(latents.shape[:-1], dtype=torch.long), latents)
        frames: Tensor = self.model.decode(self.obs if obs is None else obs, codes, prefix_length=k).cpu()
        return frames

    @staticmethod
    def _of_others(values: Tensor) -> Tensor:
        return values.roll(len(values) // 2, 0)


def _cycle(
    k: int,
    parts: Mapping[str, _Part],
    actions: Mapping[str, np.ndarray],
    decoded: _Decoding,
) -> dict[str, float]:
    """Is the action still read after the code moved another frame? By the linear probe of unmoved codes."""
    train, validation = (parts[name].samples(k, actions[name]) for name in ("train", "validation"))
    rows = decoded.rows
    moved = Samples(decoded.transferred(k).double().numpy(), actions["test"][rows], parts["test"].episode[rows])
    return _as_row("action_cycle", linear_probe(train, validation, moved, _is_one_hot(actions["train"])))


def _chance(spec: ActionSpec | None, targets: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, float]:
    """What guessing the most frequent action of the training rows gets right in the test."""
    if spec is None or "action" not in targets["test"] or not _is_one_hot(targets["train"]["action"]):
        return {}
    usual = targets["train"]["action"].sum(0).argmax()
    return {"action_accuracy": float(targets["test"]["action"][:, usual].mean())}
