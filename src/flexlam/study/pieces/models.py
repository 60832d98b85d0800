"""Models of a study: latent action models, sequence models on their codes, joint alignment; and what they cost."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from flexlam.core import catalog
from flexlam.core.action import ActionSpec
from flexlam.core.seeding import seeded_torch
from flexlam.data.labels import LabelBudget
from flexlam.lam.model import LatentActionModel
from flexlam.study.graph import Step
from flexlam.study.pieces.suites import outline
from flexlam.training.joint import JointConfig, train_joint
from flexlam.training.lam import LamRunConfig, train_lam
from flexlam.training.loop import LoopConfig
from flexlam.training.objectives.base import ObjectiveBatch
from flexlam.training.optimizer import OptimizerConfig
from flexlam.training.policy import PolicyRunConfig, train_policy
from flexlam.training.tuned_policy import TunedPolicyConfig, train_tuned_policy


def lam_step(data: Step, config: LamRunConfig, seed: int, about: dict[str, Any], twin: Step | None = None) -> Step:
    """Train a latent action model; `twin` is the data step of the same games before other backgrounds."""
    training = config.training.model_copy(update={"seed": seed})
    settings = config.model_copy(update={"training": training}).model_dump(mode="json")
    return Step("lam", _train_lam, settings, (data,) if twin is None else (data, twin), about)


def policy_step(data: Step, lam: Step, config: PolicyRunConfig, seed: int, about: dict[str, Any]) -> Step:
    """Train a sequence model on the codes of a latent action model."""
    training = config.training.model_copy(update={"seed": seed})
    settings = config.model_copy(update={"training": training}).model_dump(mode="json")
    return Step("policy", _train_policy, settings, (data, lam), about)


def tuned_policy_step(
    data: Step, lam: Step, policy: Step, decoder: Step, config: TunedPolicyConfig, seed: int, about: dict[str, Any]
) -> Step:
    """Go on training a policy together with the action decoder that another step has fitted for it."""
    training = config.training.model_copy(update={"seed": seed})
    settings = config.model_copy(update={"training": training}).model_dump(mode="json")
    return Step("tuned-policy", _train_tuned_policy, settings, (data, lam, policy, decoder), about)


def joint_step(
    data: Step, lam: Step, config: JointConfig, num_labels: int, seed: int, draw: int, about: dict[str, Any]
) -> Step:
    """Go on training a latent action model with the action loss of N labels."""
    training = config.training.model_copy(update={"seed": seed})
    update = {"training": training, "labels": LabelBudget(count=num_labels), "draw": draw}
    return Step("joint", _train_joint, config.model_copy(update=update).model_dump(mode="json"), (data, lam), about)


def loop(num_steps: int, batch_size: int, optimizer: OptimizerConfig = OptimizerConfig()) -> LoopConfig:  # noqa: B008
    """Training of a study: evaluated and kept twice, followed by no tracker."""
    every = max(1, num_steps // 2)
    return LoopConfig(
        num_steps=num_steps,
        batch_size=batch_size,
        optimizer=optimizer,
        evaluate_every=every,
        checkpoint_every=every,
        trackers=(),
    )


def with_steps(run: LamRunConfig, num_steps: int) -> LamRunConfig:
    """The same run, longer or shorter."""
    return run.model_copy(update={"training": run.training.model_copy(update={"num_steps": num_steps})})


def equal_steps(reference: LamRunConfig, other: LamRunConfig, shape: tuple[int, int, int]) -> int:
    """Training steps with which another model costs as much arithmetic as the reference.

    Equal CPU-seconds, counted and not timed: every machine takes the same number.
    """
    ours, theirs = (_flops(run.lam.model_dump_json(), shape) for run in (reference, other))
    share = ours / theirs
    return max(1, round(reference.training.num_steps * share))


def equal_objective_steps(reference: LamRunConfig, other: LamRunConfig, suite: str) -> int:
    """The same for runs of one model under other objectives, on frames and actions of a suite."""
    seen = outline(suite)
    ours, theirs = (objective_flops(run, seen.frame_shape, seen.action_spec) for run in (reference, other))
    return max(1, round(reference.training.num_steps * ours / theirs))


def objective_flops(run: LamRunConfig, shape: tuple[int, int, int], spec: ActionSpec) -> float:
    """Floating-point operations of a training step for a transition of the batch, with its share of labelled ones."""
    settings = (run.objectives.main, run.objectives.auxiliary)
    with seeded_torch(0, "flops"):
        model = LatentActionModel(run.lam, shape).train()
        built = [catalog.lookup("objective", wanted.name)(wanted, model, spec).train() for wanted in settings]
    height, width, channels = shape
    images, pair = torch.zeros(2, channels, height, width), 2

    def count(work: Callable[[], torch.Tensor]) -> int:
        with FlopCounterMode(display=False) as counter:
            work().backward()
        return int(counter.get_total_flops())

    filled = model.encode_prefixes(images, images, torch.Generator())[0].detach().requires_grad_()
    batch = ObjectiveBatch(images, images, filled, (images, images), filled, torch.zeros(pair, spec.num_dims))
    total = float(count(lambda: model.encode_prefixes(images, images, torch.Generator())[0].sum()))
    for wanted, objective in zip(settings, built, strict=True):
        if objective.needs_labels:
            share = wanted.batch_size / run.training.batch_size
            total += share * count(lambda: model.encode_prefixes(images, images, torch.Generator())[0].sum())
        total += count(lambda o=objective: o.loss(model, batch, torch.Generator()) + 0 * filled.sum())  # type: ignore[misc]
    if not any(objective.trains_decoder for objective in built):
        total += count(lambda: model.decoder.loss(images, images, filled, torch.Generator()))
    return total / pair


@cache
def _flops(config: str, shape: tuple[int, int, int]) -> int:
    return training_flops(LatentActionModel.Config.model_validate_json(config), shape)


def training_flops(config: LatentActionModel.Config, shape: tuple[int, int, int]) -> int:
    """Floating-point operations of a training step for two transitions, forward and backward."""
    model = LatentActionModel(config, shape).train()
    height, width, channels = shape
    images = torch.zeros(2, channels, height, width)
    with FlopCounterMode(display=False) as counter:
        loss, _ = model.loss(images, images, torch.Generator())
        loss.backward()
    return counter.get_total_flops()


def _train_lam(step: Step, folder: Path, parents: list[Path]) -> None:
    run, config = folder / "run", LamRunConfig.parse(step.settings)
    twin = parents[1] / "store" if len(parents) > 1 else None
    train_lam(config, parents[0] / "store", run, resume=(run / "run.json").exists(), twin=twin)


def _train_policy(step: Step, folder: Path, parents: list[Path]) -> None:
    data, lam, run = parents[0] / "store", parents[1] / "run", folder / "run"
    train_policy(PolicyRunConfig.parse(step.settings), lam, data, run, resume=(run / "run.json").exists())


def _train_tuned_policy(step: Step, folder: Path, parents: list[Path]) -> None:
    data, lam, policy, decoder = parents
    start, run = (lam / "run", policy / "run", decoder / "translator"), folder / "run"
    config, resume = TunedPolicyConfig.parse(step.settings), (run / "run.json").exists()
    train_tuned_policy(config, *start, data / "store", run, resume=resume)


def _train_joint(step: Step, folder: Path, parents: list[Path]) -> None:
    data, lam, run = parents[0] / "store", parents[1] / "run", folder / "run"
    train_joint(JointConfig.parse(step.settings), lam, data, run, resume=(run / "run.json").exists())
