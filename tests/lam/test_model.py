from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from flexlam.core.checkpoint import write_bundle
from flexlam.core.errors import CheckpointError, ConfigError, DataError
from flexlam.core.types import Codes
from flexlam.lam import model as model_module
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import frames_to_images


def images(frames: np.ndarray) -> Tensor:
    return frames_to_images(torch.from_numpy(frames))


def with_other_tail(codes: Codes, k: int) -> Codes:
    """The same first k slots, other ones beyond."""
    indices, latents = codes.indices.clone(), codes.latents.clone()
    indices[..., k:], latents[..., k:, :] = indices[..., k:].flip(0), latents[..., k:, :].flip(0)
    return Codes(indices, latents)


@pytest.mark.parametrize("batch", [(), (0,), (5,), (2, 3), (2, 0), (1, 1, 1)])
@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_any_leading_dimensions(any_model: LatentActionModel, batch: tuple[int, ...], library: str) -> None:
    generator = np.random.default_rng(0)
    obs, next_obs = (generator.integers(0, 256, (*batch, 8, 12, 3), dtype=np.uint8) for _ in range(2))
    if library == "torch":
        obs, next_obs = torch.from_numpy(obs), torch.from_numpy(next_obs)
    codes = any_model.encode(obs, next_obs)
    assert codes.indices.shape == (*batch, 4) and codes.indices.dtype == torch.int64
    assert codes.latents.shape == (*batch, 4, any_model.latent_dim) and codes.latents.dtype == torch.float32
    out = any_model.decode(obs, codes)
    assert type(out) is type(obs)
    assert out.shape == obs.shape and out.dtype == obs.dtype


def test_numpy_and_torch_agree(any_model: LatentActionModel, frames: np.ndarray) -> None:
    a = any_model.encode(frames, frames[::-1])
    b = any_model.encode(torch.from_numpy(frames), torch.from_numpy(frames[::-1].copy()))
    assert torch.equal(a.indices, b.indices) and torch.equal(a.latents, b.latents)
    np.testing.assert_array_equal(any_model.decode(frames, a), any_model.decode(torch.from_numpy(frames), b).numpy())


def test_an_example_does_not_depend_on_its_batch(any_model: LatentActionModel, frames: np.ndarray) -> None:
    codes = any_model.encode(frames, frames[::-1])
    whole = any_model.decode(frames, codes).astype(int)
    for i in range(len(frames)):
        alone = any_model.encode(frames[i], frames[::-1][i])
        assert torch.equal(alone.indices, codes.indices[i])
        assert np.abs(any_model.decode(frames[i], alone).astype(int) - whole[i]).max() <= 1


def test_long_batches_are_worked_off_in_pieces(
    any_model: LatentActionModel, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = any_model.encode(frames, frames[::-1])
    decoded = any_model.decode(frames, codes)
    monkeypatch.setattr(model_module, "_CHUNK", 4)
    again = any_model.encode(frames, frames[::-1])
    assert torch.equal(again.indices, codes.indices)
    assert np.abs(any_model.decode(frames, again).astype(int) - decoded.astype(int)).max() <= 1


def test_indices_stand_for_the_same_frames_as_codes(any_model: LatentActionModel, frames: np.ndarray) -> None:
    codes = any_model.encode(frames, frames[::-1])
    expected = any_model.decode(frames, codes)
    for indices in (codes.indices, codes.indices.numpy(), codes.indices.numpy().astype(np.uint16), codes.indices.int()):
        np.testing.assert_array_equal(any_model.decode(frames, indices), expected)


@pytest.mark.parametrize("k", range(5))
def test_short_codes_are_prefixes(any_model: LatentActionModel, frames: np.ndarray, k: int) -> None:
    codes = any_model.encode(frames, frames[::-1])
    expected = any_model.decode(frames, codes, prefix_length=k)
    np.testing.assert_array_equal(any_model.decode(frames, codes.indices[:, :k]), expected)
    short = Codes(codes.indices[:, :k], codes.latents[:, :k])
    np.testing.assert_array_equal(any_model.decode(frames, short), expected)


@pytest.mark.parametrize("k", range(5))
def test_slots_beyond_the_prefix_never_matter(any_model: LatentActionModel, frames: np.ndarray, k: int) -> None:
    codes = any_model.encode(frames, frames[::-1])
    other = with_other_tail(codes, k)
    for given in (other, other.indices):
        np.testing.assert_array_equal(
            any_model.decode(frames, given, prefix_length=k), any_model.decode(frames, codes, prefix_length=k)
        )


def test_slots_within_the_prefix_do_matter(any_model: LatentActionModel, frames: np.ndarray) -> None:
    codes = any_model.encode(frames, frames[::-1])
    other = with_other_tail(codes, 2)
    assert not torch.equal(codes.indices, other.indices)
    assert (any_model.decode(frames, codes) != any_model.decode(frames, other)).any()


def test_the_whole_code_is_the_default(any_model: LatentActionModel, frames: np.ndarray) -> None:
    codes = any_model.encode(frames, frames[::-1])
    np.testing.assert_array_equal(
        any_model.decode(frames, codes), any_model.decode(frames, codes, prefix_length=any_model.num_slots)
    )


@pytest.mark.parametrize("num_steps", [None, 1, 3])
def test_flow_decoding_repeats_itself(flow_model: LatentActionModel, frames: np.ndarray, num_steps: int | None) -> None:
    codes = flow_model.encode(frames, frames[::-1])

    def decoded(seed: int) -> np.ndarray:
        generator = torch.Generator().manual_seed(seed)
        return flow_model.decode(frames, codes, num_steps=num_steps, generator=generator)

    np.testing.assert_array_equal(decoded(0), decoded(0))
    if num_steps is not None:
        assert (decoded(0) != decoded(1)).any(), "a sample follows its generator"


@pytest.mark.parametrize(
    ("obs", "next_obs", "message"),
    [
        (np.zeros((2, 8, 12, 3), np.float32), None, "dtype float32; expected uint8"),
        (torch.zeros(2, 8, 12, 3), None, "torch.float32; expected uint8"),
        (np.zeros((2, 3, 8, 12), np.uint8), None, "Resize the frames first"),
        (np.zeros((2, 16, 12, 3), np.uint8), None, r"trained on frames .* \(\.\.\., 8, 12, 3\)"),
        (np.zeros((12, 3), np.uint8), None, r"has shape \(12, 3\)"),
        (np.zeros((2, 8, 12, 3), np.uint8), np.zeros((3, 8, 12, 3), np.uint8), "must be equal"),
        (np.zeros((2, 8, 12, 3), np.uint8), np.zeros((8, 12, 3), np.uint8), "must be equal"),
    ],
)
def test_frames_that_do_not_fit_are_refused(
    model: LatentActionModel, obs: np.ndarray, next_obs: np.ndarray | None, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        model.encode(obs, obs if next_obs is None else next_obs)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.zeros((6, 4)), "expected integers"),
        (torch.zeros(6, 4), "expected integers"),
        (np.zeros((6, 4), dtype=bool), "expected integers"),
        (np.zeros((6, 5), dtype=np.int64), "k at most 4"),
        (np.array(3), "expected integers"),
        (np.full((6, 4), 1000), "must lie in 0 to 999"),
        (np.full((6, 4), -1), "must lie in 0 to 999"),
        (np.zeros((5, 4), dtype=np.int64), r"batch shape \(6,\) and codes \(5,\)"),
        (np.zeros(4, dtype=np.int64), r"batch shape \(6,\) and codes \(\)"),
        (Codes(torch.zeros(6, 8, dtype=torch.long), torch.zeros(6, 8, 4)), "Encode with the same model"),
        (Codes(torch.zeros(6, 4, dtype=torch.long), torch.zeros(6, 4, 5)), "Encode with the same model"),
    ],
)
def test_codes_that_do_not_fit_are_refused(
    model: LatentActionModel, frames: np.ndarray, codes: object, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        model.decode(frames, codes)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prefix_length": 5}, "prefix_length is 5"),
        ({"prefix_length": -1}, "prefix_length is -1"),
        ({"num_steps": 0}, "num_steps is 0"),
    ],
)
def test_settings_out_of_range_are_refused(
    any_model: LatentActionModel, frames: np.ndarray, settings: dict, message: str
) -> None:
    codes = any_model.encode(frames, frames)
    with pytest.raises(ConfigError, match=message):
        any_model.decode(frames, codes, **settings)


def test_a_prefix_longer_than_the_given_codes_is_refused(model: LatentActionModel, frames: np.ndarray) -> None:
    indices = model.encode(frames, frames).indices[:, :2]
    with pytest.raises(ConfigError, match="prefix_length is 3, but only 2 codes"):
        model.decode(frames, indices, prefix_length=3)


def test_read_only_and_strided_arrays_are_taken(model: LatentActionModel, frames: np.ndarray) -> None:
    read_only = np.frombuffer(frames.tobytes(), np.uint8).reshape(frames.shape)
    assert torch.equal(model.encode(read_only, frames).indices, model.encode(frames, frames).indices)
    doubled = np.repeat(frames, 2, axis=2)[:, :, ::2]
    assert torch.equal(model.encode(doubled, frames).indices, model.encode(frames, frames).indices)


def test_encoding_changes_nothing_in_the_model(model: LatentActionModel, frames: np.ndarray) -> None:
    model.train()
    model.encoder.eval()  # a part frozen by its owner
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    model.decode(frames, model.encode(frames, frames[::-1]))
    with pytest.raises(DataError):
        model.encode(frames, frames.astype(float))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_latents_can_feed_a_network_of_ones_own(model: LatentActionModel, frames: np.ndarray) -> None:
    codes = model.encode(frames, frames)
    torch.nn.Linear(4, 1)(codes.latents).sum().backward()
    assert not codes.latents.requires_grad


def test_loss_trains_every_part(any_model: LatentActionModel, frames: np.ndarray) -> None:
    any_model.train()
    loss, aux = any_model.loss(images(frames), images(frames[::-1].copy()), torch.Generator().manual_seed(0))
    assert aux.indices.shape == (6, 4) and aux.prefix_length.unique().numel() > 1
    loss.backward()
    without = {name for name, p in any_model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    assert not without


def test_loss_follows_the_generator(any_model: LatentActionModel, frames: np.ndarray) -> None:
    any_model.train()
    obs, next_obs = images(frames), images(frames[::-1].copy())
    first, again, other = (
        float(any_model.loss(obs, next_obs, torch.Generator().manual_seed(seed))[0].detach()) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_a_fixed_k_model_always_trains_on_whole_codes(fixed_model: LatentActionModel, frames: np.ndarray) -> None:
    _, aux = fixed_model.train().loss(images(frames), images(frames))
    assert aux.prefix_length.tolist() == [4] * 6


def test_a_saved_model_comes_back_the_same(any_model: LatentActionModel, frames: np.ndarray, tmp_path: Path) -> None:
    with torch.no_grad():  # statistics that are not those of a fresh model
        any_model.train().loss(images(frames), images(frames[::-1].copy()))
    any_model.eval()
    digest = any_model.save_pretrained(tmp_path / "m", card="# Card", parents={"data": "abc"})
    loaded = LatentActionModel.from_pretrained(str(tmp_path / "m"))
    assert loaded.hash == digest and not loaded.training
    assert loaded.config == any_model.config and loaded.frame_shape == any_model.frame_shape
    a, b = any_model.encode(frames, frames[::-1]), loaded.encode(frames, frames[::-1])
    assert torch.equal(a.indices, b.indices) and torch.equal(a.latents, b.latents)
    np.testing.assert_array_equal(any_model.decode(frames, a), loaded.decode(frames, b))
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "README.md",
        "bundle.json",
        "manifest.json",
        "model.safetensors",
    ]


def test_weights_can_be_saved_in_bfloat16(model: LatentActionModel, frames: np.ndarray, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "full")
    model.save_pretrained(tmp_path / "half", dtype=torch.bfloat16)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("full", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    half = LatentActionModel.from_pretrained(tmp_path / "half")
    assert all(p.dtype == torch.float32 for p in half.parameters())
    a, b = model.encode(frames, frames[::-1]), half.encode(frames, frames[::-1])
    assert (a.indices == b.indices).float().mean() > 0.8
    assert all(p.dtype == torch.float32 for p in model.parameters()), "the model itself is left as it was"


def test_the_model_of_a_run_folder_is_found(model: LatentActionModel, tmp_path: Path) -> None:
    digest = model.save_pretrained(tmp_path / "run" / "model")
    (tmp_path / "run" / "run.json").write_text("{}")
    assert LatentActionModel.from_pretrained(tmp_path / "run").hash == digest


def test_damaged_and_foreign_folders_are_refused(model: LatentActionModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "m")
    weights = tmp_path / "m" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        LatentActionModel.from_pretrained(tmp_path / "m")
    write_bundle(tmp_path / "t", "translator", {}, {})
    with pytest.raises(CheckpointError, match="holds a translator"):
        LatentActionModel.from_pretrained(tmp_path / "t")
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        LatentActionModel.from_pretrained(tmp_path / "nowhere")


def test_weights_of_another_size_are_refused(model: LatentActionModel, tmp_path: Path) -> None:
    config = {"frame_shape": [8, 12, 3], **model.config.model_dump(mode="json"), "num_slots": 5}
    write_bundle(tmp_path / "m", model.kind, config, {"model": model.state_dict()})
    with pytest.raises(CheckpointError, match="does not fit its own configuration"):
        LatentActionModel.from_pretrained(tmp_path / "m")


def test_capacity() -> None:
    config = LatentActionModel.Config()
    model = LatentActionModel(config, (64, 64, 3))
    assert model.quantizer.codebook_size == 1000
    assert model.bits_per_slot == pytest.approx(np.log2(1000))
    assert model.quantizer.distance_to_codes(model.prefix.null_latent) > 0.1
