"""What the page pictures: decoded prefixes, predicted transitions, an agent at play."""

import numpy as np
import torch

from flexlam.bottleneck.prefix import reported_prefix_lengths
from flexlam.core.action import ActionSpec
from flexlam.core.seeding import numpy_generator
from flexlam.core.types import Transitions
from flexlam.data.store import FrameStore
from flexlam.evaluate.returns import Acted
from flexlam.lam.model import LatentActionModel
from flexlam.policy.autoregressive import SequenceModel
from flexlam.report.clips import RolloutClip
from flexlam.report.leakage import MoveElsewhere
from flexlam.report.predictions import PredictedTransition
from flexlam.report.sweeps import PrefixSweep
from flexlam.training.labelled import require_actions
from flexlam.training.pairs import SplitPairs
from flexlam.training.predictions import predict_codes
from flexlam.translator.serving import Translator

_NUM_SWEEPS = 3  # pictured transitions of each task
_CLIP_STEPS = 120


def prefix_sweeps(lam: LatentActionModel, pairs: SplitPairs, seed: int) -> list[PrefixSweep]:
    """Some test transitions of each task, decoded at every k."""
    sweeps = []
    for task, _, batch in _pictured(pairs, seed):
        codes = lam.encode(batch.obs, batch.next_obs)
        decoded = {k: lam.decode(batch.obs, codes, k).cpu().numpy() for k in reported_prefix_lengths(lam.num_slots)}
        sweeps += [
            PrefixSweep(task, obs.numpy(), next_obs.numpy(), {k: frames[i] for k, frames in decoded.items()})
            for i, (obs, next_obs) in enumerate(zip(batch.obs, batch.next_obs, strict=True))
        ]
    return sweeps


def predicted_transitions(
    lam: LatentActionModel, policy: SequenceModel, pairs: SplitPairs, seed: int
) -> list[PredictedTransition]:
    """The same transitions, decoded from codes that were predicted before the next frame was seen (FlexLAM, Fig. 9)."""
    predictions = []
    for task, rows, batch in _pictured(pairs, seed):
        drawn = predict_codes(lam, policy, pairs.store, pairs.test, rows, num_samples=1, seed=seed)[:, 0]
        encoded = lam.decode(batch.obs, lam.encode(batch.obs, batch.next_obs)).cpu().numpy()
        lengths = reported_prefix_lengths(lam.num_slots)[1:]
        decoded = {k: lam.decode(batch.obs, drawn[:, :k]).cpu().numpy() for k in lengths}
        predictions += [
            PredictedTransition(task, obs.numpy(), next_obs.numpy(), encoded[i], {k: f[i] for k, f in decoded.items()})
            for i, (obs, next_obs) in enumerate(zip(batch.obs, batch.next_obs, strict=True))
        ]
    return predictions


def moves_elsewhere(
    lam: LatentActionModel, pairs: SplitPairs, twin: FrameStore | None, seed: int
) -> list[MoveElsewhere]:
    """The same transitions, decoded from their own codes and from those of the same moves before another background.

    Without a twin the other background is a clip of another transition, pasted over the left half of both frames.
    """
    moves = []
    for task, rows, batch in _pictured(pairs, seed):
        if twin is not None:
            other = pairs.test.of_twin(twin).batch(twin, rows, with_actions=False)
        else:
            half = torch.arange(batch.obs.shape[2])[:, None] < batch.obs.shape[2] // 2
            clip = (frames.roll(1, 0) for frames in (batch.obs, batch.next_obs))
            pasted = (torch.where(half, c, x) for c, x in zip(clip, (batch.obs, batch.next_obs), strict=True))
            other = Transitions(*pasted)
        codes = (lam.encode(x.obs, x.next_obs) for x in (batch, other))
        own, others = (lam.decode(batch.obs, c).cpu().numpy() for c in codes)
        moves += [
            MoveElsewhere(task, obs.numpy(), next_obs.numpy(), own[i], others[i])
            for i, (obs, next_obs) in enumerate(zip(batch.obs, batch.next_obs, strict=True))
        ]
    return moves


def rollout_clips(acted: Acted, pairs: SplitPairs) -> list[RolloutClip]:
    """The shown episode of each task, with the codes that were kept as its notes."""
    spec = require_actions(pairs.store)
    clips = []
    for task, episode in acted.shown.items():
        codes = np.stack([np.asarray(codes) for codes in episode.notes])  # (T, k)
        k = codes.shape[1]
        clips.append(
            RolloutClip(
                task,
                "agent, all slots" if k == acted.translator.num_slots else f"agent, k = {k}",
                np.stack(episode.frames),
                codes if k else None,
                [action_name(action, spec) for action in episode.actions],
                episode.episode_return,
                pairs.store.fps,
            )
        )
    return clips


@torch.inference_mode()
def read_clips(lam: LatentActionModel, pairs: SplitPairs, translator: Translator | None) -> list[RolloutClip]:
    """Of each task the beginning of a test episode, with its codes and what a translator of codes reads in them."""
    clips = []
    for number, task in enumerate(pairs.test.tasks):
        rows = np.flatnonzero(pairs.test.task == number)
        if not len(rows):
            continue
        rows = rows[pairs.test.episode[rows] == pairs.test.episode[rows[0]]][:_CLIP_STEPS]
        batch = pairs.test.batch(pairs.store, rows, with_actions=False)
        codes = lam.encode(batch.obs, batch.next_obs)
        actions = [""] * len(rows)
        if translator is not None:
            none = torch.full((len(rows), translator.codec.spec.num_dims), float("nan"))
            outputs = translator(codes.latents.cpu(), none, lam.num_slots, torch.zeros(len(rows), 0))
            actions = [
                action_name(action, translator.codec.spec) for action in translator.codec.predict(outputs).numpy()
            ]
        name = pairs.store.episodes.names[pairs.test.episode[rows[0]]]
        clips.append(
            RolloutClip(task, name, batch.obs.numpy(), codes.indices.cpu().numpy(), actions, None, pairs.store.fps)
        )
    return clips


def longest_episode(pairs: SplitPairs) -> np.ndarray:
    """Frames (T, H, W, C) of the longest test episode."""
    episode = np.bincount(pairs.test.episode).argmax()
    rows = pairs.test.episode == episode
    return pairs.store.frames(np.append(pairs.test.first[rows], pairs.test.second[rows][-1]))


def action_name(action: np.ndarray, spec: ActionSpec) -> str:
    """An action (A,) in words: the name of a single choice, else its numbers."""
    if len(spec.num_choices) == 1 and not spec.num_continuous and spec.names:
        return spec.names[int(action[0])]
    return ", ".join(
        f"{value:g}" if dim < len(spec.num_choices) else f"{value:.2f}" for dim, value in enumerate(action)
    )


def _pictured(pairs: SplitPairs, seed: int) -> list[tuple[str, np.ndarray, Transitions]]:
    """Of each task, some rows of the test pairs: drawn at random, then those that change most."""
    pictured = []
    for number, task in enumerate(pairs.test.tasks):
        rows = np.flatnonzero(pairs.test.task == number)
        rows = numpy_generator(seed, "sweeps", task).permutation(rows)[: 8 * _NUM_SWEEPS]
        batch = pairs.test.batch(pairs.store, rows, with_actions=False)
        change = (batch.next_obs.float() - batch.obs.float()).square().mean((1, 2, 3))
        chosen = change.topk(min(_NUM_SWEEPS, len(rows))).indices
        pictured.append((task, rows[chosen.numpy()], Transitions(batch.obs[chosen], batch.next_obs[chosen])))
    return pictured
