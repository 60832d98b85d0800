"""The loss on a policy's own latents, which for a policy that predicts them is that on encoded ones."""

import pytest
import torch

from flexlam.core.run_folder import RunFolder
from flexlam.core.seeding import seeded_torch
from flexlam.data.store import FrameStore
from flexlam.evaluate import misalignment
from flexlam.evaluate.misalignment import MisalignmentConfig, measure_misalignment
from flexlam.lam.model import LatentActionModel
from flexlam.policy.flow import FlowPolicy
from flexlam.training.frame_policy import space_of
from flexlam.training.labelled import encode_labelled
from flexlam.training.pairs import PairConfig, load_pairs
from flexlam.translator.model import build_translator
from flexlam.translator.serving import PrefixSampledTranslator
from moving_square import DISCRETE
from small_spaces import TRUNK


def test_it_is_the_translators_mean_loss_on_draws(
    store: FrameStore, learned: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    lam, pairs = LatentActionModel.from_pretrained(learned.path), load_pairs(store.path, PairConfig())
    with seeded_torch(0, "parts"):
        policy = FlowPolicy(FlowPolicy.Config(trunk=TRUNK, hidden_dim=16), lam.frame_shape, space_of(lam)).eval()
        config = PrefixSampledTranslator.Config(use_prev_action=False)
        translator = build_translator(config, DISCRETE, lam.prefix.null_latent, lam.num_slots).eval()
        for parameter in translator.network.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    settings = MisalignmentConfig(num_transitions=30, num_samples=3, num_steps=2)
    found = measure_misalignment(lam, pairs, settings, policy, translator)
    assert (found["num_transitions"], found["num_samples"], found["num_steps"]) == (30, 3, 2)
    assert [row["k"] for row in found["rows"]] == [1, 2, 4]
    assert all(0 <= row["action_accuracy"] <= 1 and row["action_loss"] > 0 for row in found["rows"])
    assert found["rows"][-1]["action_loss"] != pytest.approx(found["rows"][-1]["encoded_action_loss"], rel=1e-3)

    asked: list[int | None] = []

    def perfect(lam, policy, store, index, rows, num_samples, seed, num_steps, prefix_length):  # type: ignore[no-untyped-def]
        asked.append(prefix_length)
        return encode_labelled(lam, store, index, rows).latents[:, None].repeat(1, num_samples, 1, 1)

    monkeypatch.setattr(misalignment, "predict_latents", perfect)
    for row in measure_misalignment(lam, pairs, settings, policy, translator)["rows"]:
        assert row["action_loss"] == pytest.approx(row["encoded_action_loss"], rel=1e-5)
        assert row["action_accuracy"] == pytest.approx(row["encoded_action_accuracy"])
    assert asked == [1, 2, 4], "a flow is asked for as many slots as are judged"
