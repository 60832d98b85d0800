"""The agent does not care which policy it has: flow and regression act as the sequence model does."""

from pathlib import Path

import numpy as np
import pytest
import torch

from flexlam.acting.agent import Agent, DrawRule
from flexlam.acting.rollout import Arena
from flexlam.core.errors import CheckpointError
from flexlam.core.run_folder import RunFolder
from flexlam.core.seeding import seeded_torch
from flexlam.envs.gridworld import GridworldSuite
from flexlam.lam.model import LatentActionModel
from flexlam.policy.autoregressive import SequenceModel
from flexlam.policy.flow import FlowPolicy
from flexlam.policy.frames import FramePolicy
from flexlam.policy.regression import RegressionPolicy
from flexlam.training.frame_policy import space_of
from flexlam.translator.model import build_translator, save_translator
from flexlam.translator.serving import PrefixSampledTranslator, Translator
from moving_square import DISCRETE, moving_square
from small_spaces import TRUNK
from tiny import ENCODER, REGRESSION


def frame_policy(lam: LatentActionModel, policy_class: type[FramePolicy], **settings: int) -> FramePolicy:
    """Weights drawn at random."""
    config = policy_class.Config(trunk=TRUNK, hidden_dim=32, **settings)
    with seeded_torch(0, "policy"):
        policy = policy_class(config, lam.frame_shape, space_of(lam))
        for parameter in policy.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    policy.lam_hash = lam.hash
    return policy


def speaking(lam: LatentActionModel) -> Translator:
    with seeded_torch(1, "translator"):
        config = PrefixSampledTranslator.Config(use_prev_action=False)
        translator = build_translator(config, DISCRETE, lam.prefix.null_latent, lam.num_slots)
        for parameter in translator.network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return translator


@pytest.fixture(scope="module")
def lam(learned: RunFolder) -> LatentActionModel:
    return LatentActionModel.from_pretrained(learned.path)


@pytest.fixture(scope="module")
def flow(lam: LatentActionModel) -> FramePolicy:
    return frame_policy(lam, FlowPolicy, num_frames=2, frame_stride=3)


def video(seed: int) -> np.ndarray:
    return moving_square(12, seed).frames


def test_many_environments_act_as_each_does_alone(lam: LatentActionModel, flow: FramePolicy) -> None:
    rule = DrawRule(num_samples=3, temperature=1)
    crowd = Agent(lam, flow, speaking(lam), rule=rule, num_environments=5)
    videos = [video(seed) for seed in range(5)]
    for environment in range(5):
        crowd.reset(environment, seed=50 + environment)
    together = []
    for step in range(12):
        if step == 7:  # one begins anew while the others go on
            crowd.reset(2, seed=999)
        actions = crowd.act(np.stack([frames[step] for frames in videos]))
        together.append((actions.copy(), crowd.codes.copy()))
    for environment in (0, 2):
        alone = Agent(lam, flow, speaking(lam), rule=rule)
        alone.reset(seed=50 + environment)
        for step, (actions, codes) in enumerate(together):
            if environment == 2 and step == 7:
                alone.reset(seed=999)
            np.testing.assert_array_equal(alone.act(videos[environment][step]), actions[environment])
            np.testing.assert_array_equal(alone.codes[0], codes[environment])


def test_noise_does_not_hang_on_k_and_codes_tell_what_was_drawn(
    lam: LatentActionModel, flow: FramePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, list[torch.Tensor]] = {}
    generate = FlowPolicy.generate
    for k in (1, lam.num_slots):
        agent = Agent(lam, flow, speaking(lam), k, DrawRule(num_samples=2))
        with monkeypatch.context() as patch:
            patch.setattr(
                FlowPolicy,
                "generate",
                lambda self, features, points, *rest, k=k: (
                    seen.setdefault(k, []).append(points.clone()),
                    generate(self, features, points, *rest),
                )[1],
            )
            agent.reset(seed=4)
            for frame in video(1)[:3]:
                agent.act(frame)
                assert agent.codes.shape == (1, 2, k)
                assert agent.codes.min() >= 0 and agent.codes.max() < lam.quantizer.codebook_size
    for one, whole in zip(*seen.values(), strict=True):
        assert one.shape == (1, 2, lam.num_slots, lam.latent_dim) and torch.equal(one, whole)


def test_a_seed_settles_an_episode_and_the_rule_says_how_many_steps(lam: LatentActionModel, flow: FramePolicy) -> None:
    def play(seed: int, **rule: object) -> list[list[int]]:
        agent = Agent(lam, flow, speaking(lam), rule=DrawRule.parse({"num_samples": 1, **rule}))
        agent.reset(seed=seed)
        return [(agent.act(frame), agent.codes.ravel().tolist())[1] for frame in video(3)]

    assert play(0) == play(0) == play(0, num_steps=3)
    assert play(0) != play(1)
    assert play(0) != play(0, num_steps=1)
    assert play(0, codes="best") == play(1, codes="best")


def test_regression_leaves_nothing_to_chance_and_is_asked_once(lam: LatentActionModel) -> None:
    policy = frame_policy(lam, RegressionPolicy)
    codes = []
    for seed in (0, 1):
        agent = Agent(lam, policy, speaking(lam), rule=DrawRule(num_samples=8))
        agent.reset(seed=seed)
        codes.append([(agent.act(frame), agent.codes.copy())[1] for frame in video(2)[:4]])
    assert codes[0][0].shape == (1, 1, lam.num_slots)
    np.testing.assert_array_equal(*codes)


def test_past_codes_are_not_computed_for_who_does_not_read_them(
    lam: LatentActionModel, flow: FramePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(lam, flow, speaking(lam))
    monkeypatch.setattr(LatentActionModel, "encode_images", lambda *_: pytest.fail("encoded"))
    parts: list[str] = []
    agent.on_part = parts.append
    agent.reset()
    agent.act(video(0)[0])
    assert parts == ["prepare", "encode", "context", "generate", "fill", "translate"]


def test_a_rule_that_nobody_gave_suits_the_policy(lam: LatentActionModel, flow: FramePolicy) -> None:
    for policy in (flow, frame_policy(lam, RegressionPolicy)):
        assert Agent(lam, policy, speaking(lam)).rule == DrawRule(num_samples=1)
    assert DrawRule(num_samples=SequenceModel.usual_samples) == DrawRule(), "a sequence model's is as it was"
    assert Agent(lam, flow, speaking(lam), rule=DrawRule()).rule.num_samples == 8, "what is asked for is done"


def test_a_translator_of_other_latents_is_refused(
    learned: RunFolder, lam: LatentActionModel, flow: FramePolicy, tmp_path: Path
) -> None:
    own = flow.save_pretrained(tmp_path / "policy")
    frame_policy(lam, FlowPolicy).save_pretrained(tmp_path / "other")
    save_translator(speaking(lam), tmp_path / "tuned", lam.hash or "", policy_hash=own)
    save_translator(speaking(lam), tmp_path / "inferred", lam.hash or "")
    for policy, translator in (("policy", "tuned"), ("policy", "inferred"), ("other", "inferred")):
        Agent.load(learned.path, tmp_path / policy, tmp_path / translator, device="cpu")
    with pytest.raises(CheckpointError, match=f"fitted to latents of policy {own}.*flexlam train translator"):
        Agent.load(learned.path, tmp_path / "other", tmp_path / "tuned", device="cpu")


def test_an_agent_is_loaded_with_whichever_policy_lies_there(
    learned: RunFolder, lam: LatentActionModel, flow: FramePolicy, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    flow.save_pretrained(folder / "policy")
    save_translator(speaking(lam), folder / "translator", lam.hash or "")
    loaded = Agent.load(learned.path, folder / "policy", folder / "translator", 2, device="cpu")
    built = Agent(lam, flow, speaking(lam), 2)
    for agent in (loaded, built):
        agent.reset(seed=1)
    for frame in video(6)[:5]:
        np.testing.assert_array_equal(loaded.act(frame), built.act(frame))


def test_a_flow_plays_gridworld() -> None:
    suite = GridworldSuite(frame_size=48)
    with seeded_torch(0, "lam"):
        config = LatentActionModel.Config(num_slots=2, encoder=ENCODER, decoder=REGRESSION)
        grid_lam = LatentActionModel(config, suite.frame_shape).eval()
    policy = frame_policy(grid_lam, FlowPolicy)
    with seeded_torch(1, "translator"):
        config = PrefixSampledTranslator.Config(use_prev_action=False)
        translator = build_translator(config, suite.action_spec, grid_lam.prefix.null_latent, 2)
    with Arena(suite, "grid4", 2, num_steppers=1) as arena:
        actors = lambda slots: Agent(grid_lam, policy, translator, num_environments=slots)  # noqa: E731
        first, again = (arena.play(actors, 2, 0, num_kept=2) for _ in range(2))
    assert [episode.episode_return for episode in first] == [episode.episode_return for episode in again]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(np.stack(one.actions), np.stack(other.actions))


def test_rules_without_steps_of_their_own_are_written_as_before_there_were_flows() -> None:
    rule = DrawRule(num_samples=2)
    assert set(rule.model_dump(mode="json")) == {"num_samples", "codes", "temperature"}
    five = DrawRule(num_steps=5)
    assert five.model_dump(mode="json")["num_steps"] == 5
    assert all(DrawRule.parse(x.model_dump(mode="json")) == x for x in (rule, five))
