from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flexlam.core.errors import ConfigError, DataError
from flexlam.data.store import FrameStore
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import frames_to_images
from flexlam.training.fit import seeded
from flexlam.training.lam import LamRunConfig, train_lam
from flexlam.training.objectives.base import ObjectiveBatch
from flexlam.training.objectives.composed import Composed, ObjectivesConfig
from flexlam.training.pairs import PairConfig, SplitPairs, load_pairs
from moving_square import square_store
from tiny import FLOW, lam_run

LABELS = {"name": "action-supervision", "labels": {"count": 20}, "batch_size": 8}
FEATURES = {"name": "features", "patch_size": 4, "dim": 16, "depth": 1}


@dataclass
class Recorded:
    """Stands in for an objective; keeps what it was shown and returns a sum of the latents."""

    scale: float = 1.0
    trains_decoder: bool = True
    needs_labels: bool = False
    seen: ObjectiveBatch | None = None

    def loss(self, model: LatentActionModel, batch: ObjectiveBatch, generator: torch.Generator | None = None) -> Tensor:
        self.seen = batch
        return self.scale * batch.latents.sum()


@pytest.fixture(scope="module")
def pairs(store: FrameStore) -> SplitPairs:
    return load_pairs(store.path, PairConfig())


def make_model(**changes: object) -> LatentActionModel:
    """Random everywhere: what it decodes depends on all that it is given."""
    torch.manual_seed(0)
    config = lam_run().lam.model_copy(update=changes)
    model = LatentActionModel(config, (16, 16, 3)).train()
    for parameter in model.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def composed(pairs: SplitPairs, model: LatentActionModel, twin: FrameStore | None = None, seed: int = 0, **values):
    return Composed(ObjectivesConfig.parse(values), model, pairs, twin, seed).train()


def stub(made: Composed, **stubs: Recorded) -> tuple[Recorded, ...]:
    """Put stand-ins in the place of objectives."""
    for name, stand_in in stubs.items():
        del made._modules[name]
        object.__setattr__(made, name, stand_in)
    return tuple(stubs.values())


def images(pairs: SplitPairs, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    batch = pairs.train.batch(pairs.store, rows)
    return frames_to_images(batch.obs), frames_to_images(batch.next_obs)


def loss_of(made: Composed, model: LatentActionModel, pairs: SplitPairs) -> tuple[Tensor, dict[str, Tensor]]:
    """Of the first 16 rows and of the labels of step 0."""
    labelled, action = None, None
    if made.labels is not None:
        labelled, action = images(pairs, made.labels.rows_of(0)), made.labels.actions_of(0)
    batch = images(pairs, np.arange(16))
    return made.loss(model, batch, None, labelled, action, torch.Generator().manual_seed(1))


def capture(model: LatentActionModel) -> list[Tensor]:
    """Keeps the quantised latents of the next pass, with their gradient."""
    kept: list[Tensor] = []
    original = model.quantizer.forward

    def forward(*arguments: object) -> tuple[Tensor, ...]:
        latents, *others = original(*arguments)
        latents.retain_grad()
        kept.append(latents)
        return latents, *others

    model.quantizer.forward = forward  # type: ignore[method-assign]
    return kept


# ---- the sum


@pytest.mark.parametrize("quantizer", ["fsq", "vq", "continuous"])
@pytest.mark.parametrize("decoder", [None, FLOW])
def test_by_default_it_is_the_loss_of_the_model_to_the_bit(pairs: SplitPairs, quantizer: str, decoder: object) -> None:
    changes = {} if decoder is None else {"decoder": decoder}
    config = {**lam_run().lam.model_copy(update=changes).model_dump(mode="json"), "quantizer": {"name": quantizer}}
    model, same = (
        seeded(lambda: LatentActionModel(LatentActionModel.Config.parse(config), (16, 16, 3)), 0) for _ in range(2)
    )
    total, parts = loss_of(composed(pairs, model), model, pairs)
    wanted, _ = same.loss(*images(pairs, np.arange(16)), torch.Generator().manual_seed(1))
    assert torch.equal(total, wanted) and parts["auxiliary_loss"] == 0
    total.backward(), wanted.backward()
    for one, other in zip(model.parameters(), same.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.equal(one.grad, other.grad)


def test_the_weight_scales_the_auxiliary_loss(pairs: SplitPairs) -> None:
    found = {}
    for weight in (1.0, 3.0):
        model = make_model()
        found[weight] = loss_of(composed(pairs, model, auxiliary=FEATURES, weight=weight), model, pairs)
    parts = found[1.0][1]
    assert parts["auxiliary_loss"] > 0.1 and parts == found[3.0][1]
    for weight, (total, _) in found.items():
        torch.testing.assert_close(total.detach(), parts["main_loss"] + weight * parts["auxiliary_loss"])


def test_a_penalty_of_the_bottleneck_is_part_of_it(pairs: SplitPairs) -> None:
    model = make_model(quantizer=LatentActionModel.Config.parse({"quantizer": {"name": "vq"}}).quantizer)
    total, parts = loss_of(composed(pairs, model, auxiliary=FEATURES), model, pairs)
    assert total.detach() > parts["main_loss"] + parts["auxiliary_loss"] + 1e-4


# ---- which slots learn from which


@pytest.mark.parametrize("first", [1, 3])
def test_the_first_slots_learn_from_the_auxiliary_objective_alone_and_it_sees_only_them(
    pairs: SplitPairs, first: int
) -> None:
    gradients = {}
    for name, scales in {"main": (1.0, 0.0), "auxiliary": (0.0, 1.0)}.items():
        model = make_model(prefix_sampling="full")
        made = composed(pairs, model, auxiliary=FEATURES, num_endogenous=first)
        main, auxiliary = stub(made, main=Recorded(scales[0]), auxiliary=Recorded(scales[1]))
        kept = capture(model)
        total, _ = loss_of(made, model, pairs)
        total.backward()
        (latents,) = kept
        gradients[name] = latents.grad
        assert torch.equal(main.seen.latents, latents), "the main objective sees the whole code"
        assert torch.equal(auxiliary.seen.latents[:, :first], latents[:, :first])
        null = model.prefix.null_latent.expand_as(latents)
        assert torch.equal(auxiliary.seen.latents[:, first:], null[:, first:])
    assert not gradients["main"][:, :first].any() and (gradients["main"][:, first:] == 1).all()
    assert (gradients["auxiliary"][:, :first] == 1).all() and not gradients["auxiliary"][:, first:].any()


def test_without_slots_of_its_own_all_learn_from_both(pairs: SplitPairs) -> None:
    model = make_model(prefix_sampling="full")
    made = composed(pairs, model, auxiliary=FEATURES)
    main, auxiliary = stub(made, main=Recorded(), auxiliary=Recorded())
    kept = capture(model)
    loss_of(made, model, pairs)[0].backward()
    assert torch.equal(main.seen.latents, auxiliary.seen.latents) and (kept[0].grad == 2).all()


def test_a_shorter_prefix_hides_slots_of_both_kinds(pairs: SplitPairs) -> None:
    model = make_model()
    made = composed(pairs, model, auxiliary=FEATURES, num_endogenous=2)
    main, auxiliary = stub(made, main=Recorded(), auxiliary=Recorded())
    loss_of(made, model, pairs)
    null = model.prefix.null_latent
    kept, kept_first = ((seen.seen.latents != null).any(-1).sum(1) for seen in (main, auxiliary))
    assert kept.min() == 0 and kept.max() > 2, "long and short ones occur"
    assert torch.equal(kept_first, kept.clamp_max(2))


def test_slots_of_their_own_hold_with_real_objectives_and_labels(pairs: SplitPairs) -> None:
    model = make_model(prefix_sampling="full")
    made = composed(pairs, model, auxiliary=LABELS, num_endogenous=1)
    kept = capture(model)
    loss_of(made, model, pairs)[0].backward()
    gradient = kept[0].grad
    assert not gradient[:16, 0].any() and gradient[:16, 1:].any(), "of unlabelled rows"
    assert gradient[16:, 0].any() and not gradient[16:, 1:].any(), "of labelled rows"


# ---- a decoder that no objective trains


def test_a_decoder_that_no_objective_trains_learns_beside_them_and_teaches_the_codes_nothing(
    pairs: SplitPairs,
) -> None:
    gradients = []
    for trained in (True, False):
        model = make_model()
        made = composed(pairs, model, main=FEATURES)
        if not trained:
            stub(made, main=Recorded(0.0, trains_decoder=False), auxiliary=Recorded(0.0, trains_decoder=False))
        for parameter in made.parameters():  # what starts at zero passes no gradient
            if parameter.requires_grad and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
        total, _ = loss_of(made, model, pairs)
        total.backward()
        gradients.append(model)
    features, alone = gradients
    for model in gradients:
        assert all(p.grad is not None and p.grad.any() for p in model.decoder.parameters() if p.requires_grad)
    assert not any(p.grad is not None and p.grad.any() for p in alone.encoder.parameters())
    assert alone.prefix.null_latent.grad is None or not alone.prefix.null_latent.grad.any()
    assert any(p.grad is not None and p.grad.any() for p in features.encoder.parameters())


# ---- labels


def test_labels_are_of_training_episodes_and_follow_from_seed_and_draw(pairs: SplitPairs) -> None:
    def rows(seed: int = 0, **changes: object) -> np.ndarray:
        made = composed(pairs, make_model(), seed=seed, auxiliary=LABELS | changes)
        assert made.labels is not None and made.labels.actions.shape == (20, 1)
        drawn = [made.labels.rows_of(step) for step in range(10)]
        assert all(len(batch) == 8 for batch in drawn)
        for step, batch in enumerate(drawn):
            actions = pairs.store.actions[pairs.train.first[batch]]
            assert np.array_equal(made.labels.actions_of(step), actions), "each transition has its own action"
        return np.concatenate(drawn)

    first, again = rows(), rows()
    assert np.array_equal(first, again) and len(set(first.tolist())) == 20, "all labels are used, and no others"
    training = set(pairs.train.episode.tolist())
    assert set(pairs.train.episode[first].tolist()) <= training
    assert not training & (set(pairs.test.episode.tolist()) | set(pairs.validation.episode.tolist()))
    assert set(rows(seed=1)) != set(first) and set(rows(draw=1)) != set(first)


def test_fewer_labels_than_a_batch_are_all_taken(pairs: SplitPairs) -> None:
    made = composed(pairs, make_model(), auxiliary=LABELS | {"labels": {"count": 5}, "batch_size": 32})
    assert made.labels is not None and len(set(made.labels.rows_of(0).tolist())) == 5


def test_either_objective_may_ask_for_labels(pairs: SplitPairs) -> None:
    model = make_model()
    total, parts = loss_of(composed(pairs, model, main=LABELS), model, pairs)
    assert parts["main_loss"] > 0 and parts["auxiliary_loss"] == 0
    assert total.detach() > parts["main_loss"], "the decoder learns beside it"


# ---- refusals

REFUSALS = [
    ({"main": {"name": "none"}}, ('main objective is "none"', "objectives.main")),
    ({"auxiliary": {"name": "reconstruction"}}, ("Both objectives are 'reconstruction'", "objectives.auxiliary")),
    ({"main": {"name": "cross-exogenous"}}, ("'cross-exogenous'", "overlay_seed", "--twin STORE")),
    ({"auxiliary": {"name": "cross-exogenous"}}, ("'cross-exogenous'", "no such recording", "--twin STORE")),
    ({"num_endogenous": 1}, ("num_endogenous is 1", "no auxiliary objective", "action-supervision")),
    ({"auxiliary": FEATURES, "num_endogenous": 4}, ("num_endogenous is 4", "of 4 slots", "main objective")),
]


@pytest.mark.parametrize(("values", "tells"), REFUSALS)
def test_what_contradicts_itself_is_refused(
    pairs: SplitPairs, store: FrameStore, tmp_path: Path, values: dict[str, object], tells: tuple[str, ...]
) -> None:
    config = lam_run(3).model_copy(update={"objectives": ObjectivesConfig.parse(values)})
    with pytest.raises(ConfigError) as refusal:
        train_lam(config, store.path, tmp_path / "run")
    assert all(words in str(refusal.value) for words in tells), refusal.value
    assert not (tmp_path / "run").exists()


def test_a_twin_that_nothing_reads_is_refused(pairs: SplitPairs) -> None:
    with pytest.raises(ConfigError, match=r"A twin was given.*no objective reads it.*cross-exogenous"):
        composed(pairs, make_model(), twin=pairs.store, auxiliary=FEATURES)


def test_labels_need_actions_and_as_many_transitions(pairs: SplitPairs, tmp_path: Path) -> None:
    silent = square_store(tmp_path, num_episodes=8, length=6, spec=None)
    config = LamRunConfig.parse({**lam_run(3).model_dump(mode="json"), "objectives": {"auxiliary": LABELS}})
    with pytest.raises(DataError, match="has no actions, so there is nothing to label"):
        train_lam(config, silent.path, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(DataError, match="9999 labels were asked for"):
        composed(pairs, make_model(), auxiliary=LABELS | {"labels": {"count": 9999}})


def test_patches_that_do_not_divide_the_frame_are_refused(pairs: SplitPairs) -> None:
    for values in ({"name": "features", "patch_size": 5}, {"name": "optical-flow", "block_size": 5}):
        with pytest.raises(ConfigError, match="16×16"):
            composed(pairs, make_model(), auxiliary=values)
