"""The whole loop on a world small enough to learn: video, codes, a policy, a few labels, an agent that earns."""

from pathlib import Path
from typing import Any

import pytest
import torch

from flexlam.acting.agent import DrawRule
from flexlam.data.labels import LabelBudget
from flexlam.evaluate import returns
from flexlam.evaluate.contenders import BLIND
from flexlam.evaluate.returns import ReturnsConfig, measure_returns
from flexlam.nn.causal import CausalConfig
from flexlam.policy.autoregressive import SequenceModel
from flexlam.training.lam import train_lam
from flexlam.training.pairs import load_pairs
from flexlam.training.policy import PolicyRunConfig, train_policy
from flexlam.training.runs import open_lam
from recorded_square import record_squares
from square_world import SquareSuite
from tiny import lam_run, loop

POLICY = SequenceModel.Config(
    context_frames=3,
    stride=2,
    patch_size=4,
    transformer=CausalConfig(dim=64, depth=2, num_heads=2, num_key_heads=2, head_dim=32, hidden_dim=128),
)


class LongSquares(SquareSuite):
    """The task with a reference alone."""

    tasks = ("long",)


def learn_and_act(path: Path, seed: int) -> dict[str, Any]:
    """Results of the agent and its controls in 20 episodes of the task, with 200 labels."""
    store = record_squares(path, 12_000, LongSquares(), noise=0.15, seed=seed)
    lam_config = lam_run(500, batch_size=32, evaluate_every=250, checkpoint_every=500, seed=seed)
    train_lam(lam_config, store, path / "lam")
    training = loop(600, batch_size=64, evaluate_every=300, checkpoint_every=600, seed=seed)
    policy_config = PolicyRunConfig(policy=POLICY, first_context_frames=3, training=training)
    train_policy(policy_config, path / "lam", store, path / "policy")
    run, lam = open_lam(path / "lam", torch.device("cpu"))
    policy = SequenceModel.from_pretrained(path / "policy", lam.hash)
    config = ReturnsConfig(
        labels=LabelBudget(count=200),
        rule=DrawRule(num_samples=8, temperature=0.5),
        baselines=("random", *BLIND, "shuffled"),
        num_episodes=20,
        num_environments=20,
        num_workers=1,
        seed=seed,
    )
    return measure_returns(lam, load_pairs(store, run.pairs), config, policy).results["tasks"][0]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [0, 1])
def test_an_agent_earns_more_than_any_control(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured: 21.3 and 13.3 at k = K of at most 30; recordings 24.8, the best control 2.6."""
    monkeypatch.setattr(returns, "open_suite", lambda name: LongSquares())
    result = learn_and_act(tmp_path, seed)
    assert result["rows"][-1]["normalised"] > 0.3, result["rows"]
    assert result["rows"][0]["normalised"] < 0.2, "without codes an agent is blind"
    for control in ("random", "best_blind", "k0", "shuffled"):
        lead = result["comparisons"][control]
        assert lead["difference"] > 5 and lead["in_stderrs"] > 3, (control, lead)
