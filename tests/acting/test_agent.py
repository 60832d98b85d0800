"""The agent: the same decisions alone and in a crowd, the same for a seed, and clear words for what does not fit."""

import numpy as np
import pytest
import torch

from flexlam.acting.agent import Agent, DrawRule
from flexlam.core.action import ActionSpec
from flexlam.core.errors import CheckpointError, ConfigError, DataError
from flexlam.core.run_folder import RunFolder
from flexlam.core.seeding import seeded_torch
from flexlam.lam.model import LatentActionModel
from flexlam.nn.causal import CausalConfig
from flexlam.nn.patches import frames_to_images, thumbnails
from flexlam.policy.autoregressive import SequenceModel
from flexlam.translator.model import build_translator, save_translator
from flexlam.translator.serving import PerPrefixTranslator, PrefixSampledTranslator, Translator
from moving_square import DISCRETE, moving_square
from square_world import SquareGame

TRANSFORMER = CausalConfig(dim=16, depth=1, num_heads=2, num_key_heads=1, head_dim=8, hidden_dim=16)
POLICY = SequenceModel.Config(context_frames=7, stride=4, patch_size=8, transformer=TRANSFORMER)


@pytest.fixture(scope="module")
def lam(learned: RunFolder) -> LatentActionModel:
    return LatentActionModel.from_pretrained(learned.path)


@pytest.fixture(scope="module")
def policy(lam: LatentActionModel) -> SequenceModel:
    """Weights drawn at random: what it predicts depends on all that it is given."""
    with seeded_torch(0, "policy"):
        model = SequenceModel(POLICY, lam.frame_shape, lam.num_slots, lam.quantizer.codebook_size)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.4)
    model.lam_hash = lam.hash
    return model.eval()


def speaking(
    lam: LatentActionModel, use_prev_action: bool = False, spec: ActionSpec = DISCRETE, use_obs: bool = False
) -> Translator:
    config = PrefixSampledTranslator.Config(use_prev_action=use_prev_action, use_obs=use_obs)
    with seeded_torch(1, "translator"):
        translator = build_translator(config, spec, lam.prefix.null_latent, lam.num_slots)
        for parameter in translator.network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return translator


def video(seed: int, length: int = 24) -> np.ndarray:
    return moving_square(length, seed).frames


def test_many_environments_act_as_each_does_alone(lam: LatentActionModel, policy: SequenceModel) -> None:
    crowd = Agent(lam, policy, speaking(lam), num_environments=16, rule=DrawRule(num_samples=3, temperature=1))
    videos = [video(seed) for seed in range(16)]
    for environment in range(16):
        crowd.reset(environment, seed=100 + environment)
    together = []
    for step in range(24):
        if step == 9:  # one begins anew while the others go on
            crowd.reset(3, seed=999)
        actions = crowd.act(np.stack([frames[step] for frames in videos]))
        together.append((actions.copy(), crowd.codes.copy()))
    for environment in (0, 3, 15):
        alone = Agent(lam, policy, speaking(lam), rule=DrawRule(num_samples=3, temperature=1))
        alone.reset(seed=100 + environment)
        for step, (actions, codes) in enumerate(together):
            if environment == 3 and step == 9:
                alone.reset(seed=999)
            np.testing.assert_array_equal(alone.act(videos[environment][step]), actions[environment])
            np.testing.assert_array_equal(alone.codes[0], codes[environment])
    assert len({int(action[0]) for actions, _ in together for action in actions}) > 1


def test_one_seed_gives_the_same_actions_and_another_one_others(lam: LatentActionModel, policy: SequenceModel) -> None:
    frames = video(5)

    def act(seed: int) -> list[int]:
        agent = Agent(lam, policy, speaking(lam), rule=DrawRule(num_samples=1, temperature=1))
        agent.reset(seed=seed)
        return [int(agent.act(frame)[0]) for frame in frames]

    assert act(0) == act(0)
    assert act(0) != act(1)


def test_shorter_prefixes_predict_the_first_of_the_same_codes(lam: LatentActionModel, policy: SequenceModel) -> None:
    """One model serves every k: the history holds whole codes, and k shortens the newest prediction alone."""
    frames, found = video(2), {}
    for k in range(lam.num_slots + 1):
        agent = Agent(lam, policy, speaking(lam), k, DrawRule(num_samples=2))
        agent.reset(seed=7)
        rows = []
        for frame in frames:
            agent.act(frame)
            rows.append(agent.codes[0])
        found[k] = np.stack(rows)  # (T, S, k)
    assert found[0].shape[-1] == 0 and found[lam.num_slots].shape[-1] == lam.num_slots
    for k in range(1, lam.num_slots):
        np.testing.assert_array_equal(found[k], found[lam.num_slots][..., :k])


def test_best_codes_take_no_random_numbers(lam: LatentActionModel, policy: SequenceModel) -> None:
    frames = video(3)
    codes = []
    for seed in (0, 1):
        agent = Agent(lam, policy, speaking(lam), rule=DrawRule(codes="best"))
        agent.reset(seed=seed)
        codes.append([(agent.act(frame), agent.codes.tolist())[1] for frame in frames])
    assert codes[0] == codes[1]
    assert np.shape(codes[0][0]) == (1, 1, lam.num_slots)


def test_the_translator_is_given_no_action_first_then_the_agents_own(
    lam: LatentActionModel, policy: SequenceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(lam, policy, speaking(lam, use_prev_action=True), rule=DrawRule(num_samples=1))
    seen: list[float] = []
    forward = agent.translator.forward
    monkeypatch.setattr(
        agent.translator, "forward", lambda z, prev, k, obs: (seen.append(float(prev[0, 0])), forward(z, prev, k))[1]
    )
    agent.reset()
    actions = [float(agent.act(frame)[0]) for frame in video(4)[:6]]
    assert np.isnan(seen[0]) and seen[1:] == actions[:-1]
    agent.reset()
    agent.act(video(4)[0])
    assert np.isnan(seen[-1]), "a new episode has no previous action"


def test_a_translator_that_reads_the_frame_is_given_the_newest_one(
    lam: LatentActionModel, policy: SequenceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(lam, policy, speaking(lam, use_obs=True), rule=DrawRule(num_samples=2))
    seen: list[torch.Tensor] = []
    forward = agent.translator.forward
    monkeypatch.setattr(
        agent.translator, "forward", lambda z, prev, k, obs: (seen.append(obs), forward(z, prev, k, obs))[1]
    )
    agent.reset()
    for frame in video(4)[:3]:
        agent.act(frame)
        newest = thumbnails(frames_to_images(torch.from_numpy(frame)[None]))
        assert torch.equal(seen[-1], newest.expand(2, -1)), "once for each drawn latent action"


def test_parts_are_announced_in_their_order(lam: LatentActionModel, policy: SequenceModel) -> None:
    agent = Agent(lam, policy, speaking(lam))
    parts: list[str] = []
    agent.on_part = parts.append
    agent.reset()
    agent.act(video(0)[0])
    assert parts == ["prepare", "encode", "context", "generate", "fill", "translate"]


def test_a_forgotten_reset_is_told(lam: LatentActionModel, policy: SequenceModel) -> None:
    agent = Agent(lam, policy, speaking(lam), num_environments=2)
    frames = np.stack([video(0)[0]] * 2)
    with pytest.raises(ConfigError, match="reset"):
        agent.act(frames)
    agent.reset(0)
    with pytest.raises(ConfigError, match="reset"):
        agent.act(frames)
    agent.act(frames, active=np.array([True, False]))
    with pytest.raises(DataError, match=r"`active` is int64 \(1,\); expected .* bool \(2,\)"):
        agent.act(frames, active=np.array([0]))
    with pytest.raises(ConfigError, match="0 to 1"):
        agent.reset(2)


@pytest.mark.parametrize(
    "frame", [np.zeros((8, 16, 3), np.uint8), np.zeros((16, 16, 3), np.float32), np.zeros((2, 16, 16, 3), np.uint8)]
)
def test_a_frame_that_does_not_fit_is_refused(lam: LatentActionModel, policy: SequenceModel, frame: np.ndarray) -> None:
    agent = Agent(lam, policy, speaking(lam))
    agent.reset()
    with pytest.raises(DataError, match=r"expected uint8 \(1, 16, 16, 3\)"):
        agent.act(frame)


def test_other_actions_than_the_environments_are_refused(lam: LatentActionModel, policy: SequenceModel) -> None:
    agent = Agent(lam, policy, speaking(lam, spec=ActionSpec(num_choices=(4,))))
    with pytest.raises(DataError, match="translator"):
        agent.begin(0, SquareGame(3), seed=0)


def test_a_policy_of_another_model_is_refused(lam: LatentActionModel, policy: SequenceModel, tmp_path: object) -> None:
    other = LatentActionModel(lam.config, lam.frame_shape)
    other.hash = "another"
    with pytest.raises(CheckpointError, match="another"):
        Agent(other, policy, speaking(lam))


def test_parts_are_loaded_from_their_folders_and_strangers_refused(
    learned: RunFolder, lam: LatentActionModel, policy: SequenceModel, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    policy.save_pretrained(folder / "policy")
    save_translator(speaking(lam), folder / "translator", lam.hash or "")
    loaded = Agent.load(learned.path, folder / "policy", folder / "translator", 2, device="cpu")
    built = Agent(lam, policy, speaking(lam), 2)
    loaded.reset(seed=1)
    built.reset(seed=1)
    for frame in video(6)[:8]:
        np.testing.assert_array_equal(loaded.act(frame), built.act(frame))
    stranger = LatentActionModel(lam.config, lam.frame_shape)
    stranger.save_pretrained(folder / "stranger")
    with pytest.raises(CheckpointError, match="train policy"):
        Agent.load(folder / "stranger", folder / "policy", folder / "translator", device="cpu")


def test_a_k_that_the_translator_does_not_serve_is_refused(lam: LatentActionModel, policy: SequenceModel) -> None:
    config = PerPrefixTranslator.Config(prefix_lengths=(1, 4))
    translator = build_translator(config, DISCRETE, lam.prefix.null_latent, lam.num_slots)
    Agent(lam, policy, translator, 4)
    with pytest.raises(ConfigError, match="serves k = 1, 4"):
        Agent(lam, policy, translator, 2)
