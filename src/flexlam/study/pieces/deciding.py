"""Latent policies where two ways are equally good: success, which way was taken, and what a decision costs."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from flexlam.acting.agent import Agent, DrawRule
from flexlam.acting.recording import RecordingConfig, make_suite
from flexlam.acting.rollout import Arena, PlayedEpisode
from flexlam.core.extras import ROUTE
from flexlam.core.machine import choose_device
from flexlam.core.seeding import derive_seed, numpy_generator
from flexlam.data.labels import LabelBudget, choose_labels
from flexlam.envs.base import Suite
from flexlam.envs.two_routes import DECISIVE
from flexlam.evaluate.misalignment import MisalignmentConfig, measure_misalignment
from flexlam.lam.model import LatentActionModel
from flexlam.metrics.distances import energy_distance
from flexlam.nn.patches import frames_to_images, thumbnails
from flexlam.policy.base import Policy
from flexlam.policy.model import load_policy
from flexlam.study.config import DecidingConfig, PaceConfig, StudyConfig
from flexlam.study.graph import Step, write_rows
from flexlam.study.pieces.data import data_step
from flexlam.study.pieces.models import lam_step, policy_step, tuned_policy_step
from flexlam.study.showing import longest_episode
from flexlam.training.labelled import encode_labelled, require_actions
from flexlam.training.lam import LamRunConfig
from flexlam.training.latent_source import with_latents
from flexlam.training.loop import LoopConfig
from flexlam.training.pairs import SplitPairs, load_pairs
from flexlam.training.policy import PolicyRunConfig
from flexlam.training.predictions import predict_latents
from flexlam.training.runs import open_lam
from flexlam.training.translator import fit_translator
from flexlam.training.tuned_policy import TunedPolicyConfig
from flexlam.translator.model import load_translator, save_translator
from flexlam.translator.serving import Translator


def tried_policy(
    config: StudyConfig,
    run: LamRunConfig,
    policy: PolicyRunConfig,
    deciding: DecidingConfig,
    seed: int,
    about: dict[str, Any],
    fine_tuning: LoopConfig | None = None,
) -> Step:
    """A latent action model, a policy on its latents, and how that acts: in the world of the study of LAFP.

    The policy stays as it is, or is fine-tuned with its decoder on the decoder's labels.
    """
    recording = config.lafp.recording
    data = data_step(config, recording)
    lam = lam_step(data, run, seed, about)
    trained = policy_step(data, lam, policy, seed, about)
    about = {**about, "seed": seed}
    tried = deciding_step(data, lam, trained, recording, deciding, seed, about)
    if fine_tuning is None:
        return tried
    tuning = TunedPolicyConfig(
        labels=LabelBudget(fraction=deciding.label_fraction),
        num_steps=deciding.latents.num_steps,
        training=fine_tuning,
    )
    tuned = tuned_policy_step(data, lam, trained, tried, tuning, seed, about)
    return Step("deciding-tuned", _decide_tuned, tried.settings, (data, lam, tuned), about)


def deciding_step(
    data: Step,
    lam: Step,
    policy: Step,
    recording: RecordingConfig,
    config: DecidingConfig,
    seed: int,
    about: dict[str, Any],
) -> Step:
    """Fit a policy's action decoder to few labels, and act with it on episodes that every method of a seed shares.

    A row a (k, number of Euler steps): `success`; `up`, the share of successful episodes that went up; `action_loss` of
    the decoder on the policy's own latents beside `encoded_action_loss`; at the choice, `covered` (1 if drawn latents
    decode to decisive actions of both directions) and `decisive` (their share); and `distance`, the energy distance of
    drawn from encoded latents in standardised coordinates.
    """
    settings = {
        "deciding": config.model_dump(mode="json"),
        "recording": recording.model_dump(mode="json"),
        "seed": seed,
    }
    return Step("deciding", _decide, settings, (data, lam, policy), about)


def pace_step(contenders: Sequence[Step], config: PaceConfig, about: dict[str, Any]) -> Step:
    """CPU-milliseconds of a decision in steps of `deciding_step` on one model, at each of their (k, number of steps).

    One environment, one thread, one draw a decision; a row names the policy's kind.
    """
    data, lam, _ = contenders[0].parents
    parents = [step for contender in contenders for step in (contender.parents[2], contender)]
    return Step("pace", _time, config.model_dump(mode="json"), (data, lam, *parents), about)


def _decide(step: Step, folder: Path, parents: list[Path]) -> None:
    config, seed = DecidingConfig.parse(step.settings["deciding"]), step.settings["seed"]
    model, pairs = _open(parents[0], parents[1])
    policy = load_policy(parents[2] / "run", model.hash, model.device)
    translator = fit_decoder(model, pairs, policy, config, seed)
    save_translator(translator, folder / "translator", model.hash or "")
    write_rows(folder, _acted(step, model, pairs, policy, translator))


def _decide_tuned(step: Step, folder: Path, parents: list[Path]) -> None:
    """The same rows, of a policy with the decoder that was tuned with it."""
    model, pairs = _open(parents[0], parents[1])
    policy = load_policy(parents[2] / "run", model.hash, model.device)
    translator = load_translator(parents[2] / "run", model.hash)
    write_rows(folder, _acted(step, model, pairs, policy, translator))


def _acted(
    step: Step, model: LatentActionModel, pairs: SplitPairs, policy: Policy, translator: Translator
) -> list[dict[str, Any]]:
    """A row a (k, number of Euler steps)."""
    config, seed = DecidingConfig.parse(step.settings["deciding"]), step.settings["seed"]
    suite, (task,) = make_suite(RecordingConfig.parse(step.settings["recording"])), step.settings["recording"]["tasks"]
    approach, rows = approach_choice(suite, task, seed), []
    with Arena(suite, task, min(config.num_environments, config.num_episodes), num_steppers=1) as arena:
        for k in config.prefix_lengths or (model.num_slots,):
            for num_steps in config.num_steps:
                rule = DrawRule(num_samples=1, num_steps=num_steps)
                actors = partial(Agent, model, policy, translator, k, rule)
                episodes = arena.play(lambda slots, make=actors: make(slots), config.num_episodes, seed)  # type: ignore[misc]
                drawn = choices(model, policy, translator, approach, k, num_steps, config.num_choices, seed)
                beside = _beside_data(model, pairs, policy, translator, k, num_steps, config, seed)
                rows.append({"k": k, "num_steps": num_steps, **ways(episodes), **at_choice(drawn), **beside})
    return rows


def fit_decoder(
    model: LatentActionModel, pairs: SplitPairs, policy: Policy, config: DecidingConfig, seed: int
) -> Translator:
    """The action decoder of a policy; the labels are the same for every policy on these data."""
    rows = choose_labels(pairs.train, pairs.store, LabelBudget(fraction=config.label_fraction), seed).rows
    encoded = encode_labelled(model, pairs.store, pairs.train, rows)
    labels = with_latents(config.latents, model, policy, pairs.store, pairs.train, rows, encoded, seed)
    spec, fit_seed = require_actions(pairs.store), derive_seed(seed, "fit")
    fitted: Translator = fit_translator(config.translator, spec, model, labels, config.fit, fit_seed).model
    return fitted


def ways(episodes: Sequence[PlayedEpisode]) -> dict[str, float | None]:
    """Shares of the episodes that succeeded, that left the choice behind, and of the successful ones that went up."""
    succeeded = np.array([episode.episode_return > 0 for episode in episodes])
    route = np.array([float(episode.last_extras[ROUTE][0]) for episode in episodes])
    up = float((route[succeeded] < 0).mean()) if succeeded.any() else None
    return {"success": float(succeeded.mean()), "left": float((route != 0).mean()), "up": up}


def approach_choice(suite: Suite, task: str, seed: int) -> np.ndarray:
    """Frames (T, H, W, C) of an expert up to its decisive action, in an episode that nothing else meets."""
    with suite.make(task) as game:
        frames = [game.reset(derive_seed(seed, "choice", task)).obs]
        while abs(game.expert_action()[1]) < DECISIVE:
            frames.append(game.step(game.expert_action()).obs)
    return np.stack(frames)


@torch.inference_mode()
def choices(
    model: LatentActionModel,
    policy: Policy,
    translator: Translator,
    frames: np.ndarray,
    k: int,
    num_steps: int,
    num_samples: int,
    seed: int,
) -> Float[np.ndarray, "S A"]:
    """Actions, each decoded from one draw, at the last of these frames (T, H, W, C); one if nothing is drawn."""
    images = frames_to_images(torch.from_numpy(frames).to(model.device))
    decider = policy.decider(1, num_samples if policy.draws else 1, num_steps)
    active, codes, seen = np.ones(1, bool), images.new_zeros(1, model.num_slots).long(), images[:0]
    for number, image in enumerate(images):
        if number and policy.reads_codes:
            codes = model.encode_images(images[number - 1 : number], image[None])[1]
        seen = decider.observe(image[None], codes, active)
    numbers = policy.random_numbers(numpy_generator(seed, "choices"), num_samples)[None]
    drawn = decider.draw(seen, k, torch.from_numpy(numbers).float().to(model.device) if policy.draws else None)
    latents = decider.latents(drawn, model.quantizer)[0].flatten(0, 1).cpu()
    nothing = torch.full((len(latents), translator.codec.spec.num_dims), float("nan"))
    obs = thumbnails(images[-1:]).cpu().expand(len(latents), -1)
    actions: np.ndarray = translator.cpu().codec.predict(translator(latents, nothing, k, obs)).numpy()
    return actions


def at_choice(actions: np.ndarray) -> dict[str, float]:
    """Whether actions (S, 2) lead out of the choice by both ways (1 or 0), and the share of those that lead out."""
    down = actions[:, 1]
    covered = bool((down >= DECISIVE).any() and (down <= -DECISIVE).any())
    return {"covered": float(covered), "decisive": float((np.abs(down) >= DECISIVE).mean())}


@torch.inference_mode()
def _beside_data(
    model: LatentActionModel,
    pairs: SplitPairs,
    policy: Policy,
    translator: Translator,
    k: int,
    num_steps: int,
    config: DecidingConfig,
    seed: int,
) -> dict[str, float]:
    """Losses of the decoder, and how far drawn latents lie from encoded ones, on validation transitions."""
    asked = MisalignmentConfig(
        prefix_lengths=(k,), num_transitions=config.num_transitions, num_steps=num_steps, seed=seed
    )
    (row,) = measure_misalignment(model, pairs, asked, policy, translator)["rows"]
    order = numpy_generator(seed, "distance").permutation(len(pairs.validation))
    rows = np.sort(order[: config.num_transitions])
    data = encode_labelled(model, pairs.store, pairs.validation, rows).latents[:, :k].flatten(1)
    drawn = predict_latents(model, policy, pairs.store, pairs.validation, rows, 1, seed, num_steps, k)
    std = data.std(0).clamp_min(1e-6)
    return {
        "action_loss": row["action_loss"],
        "encoded_action_loss": row["encoded_action_loss"],
        "distance": energy_distance(drawn[:, 0, :k].flatten(1) / std, data / std),
    }


def _time(step: Step, folder: Path, parents: list[Path]) -> None:
    config = PaceConfig.parse(step.settings)
    model, pairs = _open(parents[0], parents[1])
    cells, deciders = [], list[Callable[[np.ndarray], object]]()
    for number, contender in enumerate(step.parents[3::2]):
        policy = load_policy(parents[2 + 2 * number] / "run", model.hash, model.device)
        translator = load_translator(parents[3 + 2 * number] / "translator", model.hash)
        tried = DecidingConfig.parse(contender.settings["deciding"])
        for k in tried.prefix_lengths or (model.num_slots,):
            for num_steps in tried.num_steps:
                agent = Agent(model, policy, translator, k, DrawRule(num_samples=1, num_steps=num_steps))
                agent.reset(seed=0)
                deciders.append(agent.act)
                cells.append({"policy": policy.kind, "k": k, "num_steps": num_steps})
    seconds = cpu_seconds(deciders, longest_episode(pairs), config)
    write_rows(folder, [{**cell, "ms": 1e3 * taken} for cell, taken in zip(cells, seconds, strict=True)])


def cpu_seconds(
    deciders: Sequence[Callable[[np.ndarray], object]], frames: np.ndarray, config: PaceConfig
) -> list[float]:
    """CPU-seconds of a decision on frames (T, H, W, C): they take turns, the median of the rounds after the first."""
    taken = np.zeros((config.num_rounds + 1, len(deciders)))
    for number in range(len(taken)):
        for place in np.roll(np.arange(len(deciders)), number).tolist():
            episode = cycle(frames)
            began = time.process_time()
            for _ in range(config.num_decisions):
                deciders[place](next(episode))
            taken[number, place] = (time.process_time() - began) / config.num_decisions
    medians: list[float] = np.median(taken[1:], axis=0).tolist()
    return medians


def _open(data: Path, lam: Path) -> tuple[LatentActionModel, SplitPairs]:
    lam_run, model = open_lam(lam / "run", choose_device("auto"))
    return model, load_pairs(data / "store", lam_run.pairs, model.frame_shape)
