"""The transformer against transformers' Qwen3Model, and cached, tree-shaped and partial passes against whole ones."""

import pytest
import torch
from torch import Tensor

from flexlam.core.seeding import seeded_torch, torch_generator
from flexlam.nn.causal import CausalConfig, CausalTransformer, KeyValueCache, lay_out, multiply

GROUPED = CausalConfig(dim=24, depth=2, num_heads=4, num_key_heads=2, head_dim=8, hidden_dim=40)
SIZES = [
    GROUPED,
    CausalConfig(dim=32, depth=3, num_heads=4, num_key_heads=4, head_dim=8, hidden_dim=64, rope_theta=1e6),
    CausalConfig(dim=48, depth=1, num_heads=6, num_key_heads=1, head_dim=16, hidden_dim=32, norm_eps=1e-5),
]
TIGHT = {"atol": 1e-5, "rtol": 1e-5}


def transformer(config: CausalConfig = GROUPED, max_positions: int = 64) -> CausalTransformer:
    with seeded_torch(0, "model"):
        model = CausalTransformer(config, max_positions)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def tokens(config: CausalConfig, batch: int, count: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, count, config.dim, generator=torch_generator(seed, "tokens"))


def causal_mask(count: int) -> Tensor:
    return torch.ones(count, count, dtype=torch.bool).tril()[None, None]


def whole(model: CausalTransformer, x: Tensor) -> Tensor:
    return model(x, torch.arange(x.shape[1])[None], causal_mask(x.shape[1]))


def empty_cache(config: CausalConfig, batch: int, capacity: int) -> KeyValueCache:
    return KeyValueCache(config, batch, capacity, torch.device("cpu"), torch.float32)


def qwen(config: CausalConfig):
    transformers = pytest.importorskip("transformers")
    settings = transformers.Qwen3Config(
        vocab_size=5,
        hidden_size=config.dim,
        num_hidden_layers=config.depth,
        num_attention_heads=config.num_heads,
        num_key_value_heads=config.num_key_heads,
        head_dim=config.head_dim,
        intermediate_size=config.hidden_dim,
        rms_norm_eps=config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        bos_token_id=None,
        eos_token_id=None,
    )
    with seeded_torch(1, "qwen"):
        return transformers.Qwen3Model(settings).eval()


@pytest.mark.parametrize("config", SIZES)
@pytest.mark.parametrize("grad", [False, True])
def test_weights_and_hidden_states_are_those_of_qwen3(config: CausalConfig, grad: bool) -> None:
    ours, theirs = transformer(config), qwen(config)
    embedding = {"embed_tokens.weight": theirs.embed_tokens.weight.detach()}
    theirs.load_state_dict(ours.state_dict() | embedding, strict=True)
    x = tokens(config, 2, 40)
    with torch.set_grad_enabled(grad):
        expected = theirs(inputs_embeds=x, use_cache=False).last_hidden_state
        torch.testing.assert_close(whole(ours, x), expected, **TIGHT)


@pytest.mark.parametrize("config", SIZES)
def test_weights_of_qwen3_load_here(config: CausalConfig) -> None:
    ours, theirs = transformer(config), qwen(config)
    weights = {name: tensor for name, tensor in theirs.state_dict().items() if name != "embed_tokens.weight"}
    ours.load_state_dict(weights, strict=True)
    x = tokens(config, 1, 24)
    with torch.inference_mode():
        torch.testing.assert_close(whole(ours, x), theirs(inputs_embeds=x).last_hidden_state, **TIGHT)


@pytest.mark.parametrize("config", SIZES)
def test_passes_without_gradients_equal_those_with(config: CausalConfig) -> None:
    model, x = transformer(config), tokens(config, 2, 30)
    expected = whole(model, x).detach()
    with torch.inference_mode():
        torch.testing.assert_close(whole(model, x), expected, **TIGHT)
        positions = torch.arange(30)[None]
        torch.testing.assert_close(model(x, positions, None, causal=True), expected, **TIGHT)
        last = model(x, positions, None, causal=True, last_only=True)
        torch.testing.assert_close(last, expected[:, -1:], **TIGHT)
        last = model(x, positions, causal_mask(30), last_only=True)
        torch.testing.assert_close(last, expected[:, -1:], **TIGHT)


@torch.inference_mode()
@pytest.mark.parametrize("config", SIZES)
@pytest.mark.parametrize("chunks", [(1,) * 30, (20, 1, 9), (3, 27)])
def test_cached_passes_equal_one_without_a_cache(config: CausalConfig, chunks: tuple[int, ...]) -> None:
    model, x = transformer(config), tokens(config, 2, 30)
    cache, first, parts = empty_cache(config, 2, 40), 0, []
    for count in chunks:
        positions = torch.arange(first, first + count)[None]
        mask = None if count == 1 else causal_mask(30)[:, :, first : first + count, : first + count]
        slots = slice(first, first + count)
        parts.append(model(x[:, slots], positions, mask, cache, slots, first + count))
        first += count
    torch.testing.assert_close(torch.cat(parts, 1), whole(model, x), **TIGHT)


@torch.inference_mode()
@pytest.mark.parametrize("cached", [False, True])
def test_a_tree_equals_one_pass_over_each_branch(cached: bool) -> None:
    model, trunk, length = transformer(), 6, 3
    x = tokens(GROUPED, 1, trunk + 2 * length)
    branch = torch.tensor([-1] * trunk + [0, 1] * length)  # tokens of both branches alternate
    order = torch.arange(len(branch))
    seen = (order[None] <= order[:, None]) & ((branch[None] < 0) | (branch[None] == branch[:, None]))
    positions = torch.cat([torch.arange(trunk), trunk + torch.arange(2 * length) // 2])[None]
    if cached:
        cache = empty_cache(GROUPED, 1, 16)
        model(x[:, :trunk], positions[:, :trunk], causal_mask(trunk), cache, slice(0, trunk), trunk)
        slots, count = slice(trunk, len(order)), len(order)
        tail = model(x[:, trunk:], positions[:, trunk:], seen[None, None, trunk:], cache, slots, count)
    else:
        tail = model(x, positions, seen[None, None])[:, trunk:]
    for number in range(2):
        alone = whole(model, torch.cat([x[:, :trunk], x[:, trunk:][:, number::2]], 1))
        torch.testing.assert_close(tail[:, number::2], alone[:, trunk:], **TIGHT)


@torch.inference_mode()
def test_a_mask_that_lets_more_through_is_noticed() -> None:
    model, x = transformer(), tokens(GROUPED, 1, 8)
    everything = torch.ones(1, 1, 8, 8, dtype=torch.bool)
    assert (model(x, torch.arange(8)[None], everything) - whole(model, x)).abs().max() > 0.01


@torch.inference_mode()
def test_rows_of_different_lengths_write_into_slots_of_their_own() -> None:
    model, lengths = transformer(), [5, 9]
    rows = [tokens(GROUPED, 1, length + 2, seed=number) for number, length in enumerate(lengths)]
    cache = empty_cache(GROUPED, 2, 12)
    for number, length in enumerate(lengths):
        alone = empty_cache(GROUPED, 1, length)
        model(
            rows[number][:, :length], torch.arange(length)[None], causal_mask(length), alone, slice(0, length), length
        )
        cache.copy_rows(torch.tensor([number]), alone)
    slots = torch.tensor(lengths)[:, None] + torch.arange(2)
    mask = torch.arange(11) <= slots[..., None]
    x = torch.cat([row[:, -2:] for row in rows])
    out = model(x, slots, mask[:, None], cache, slots, 11)
    for number, row in enumerate(rows):
        torch.testing.assert_close(out[number], whole(model, row)[0, -2:], **TIGHT)


def test_copied_rows_replace_only_those_rows() -> None:
    cache, other = empty_cache(GROUPED, 3, 7), empty_cache(GROUPED, 2, 4)
    generator = torch_generator(0, "cache")
    for tensor in (cache.keys, cache.values, other.keys, other.values):
        tensor.copy_(torch.randn(tensor.shape, generator=generator))
    before = cache.keys.clone(), cache.values.clone()
    cache.copy_rows(torch.tensor([2, 0]), other)
    assert cache.capacity == 7 and other.capacity == 4
    for now, was, copied in zip((cache.keys, cache.values), before, (other.keys, other.values), strict=True):
        assert torch.equal(now[:, 2, :, :4], copied[:, 0]) and torch.equal(now[:, 0, :, :4], copied[:, 1])
        assert torch.equal(now[:, 1], was[:, 1]) and torch.equal(now[..., 4:, :], was[..., 4:, :])
    keys, values = cache.read(1, 5)
    assert torch.equal(keys, cache.keys[1, :, :, :5]) and torch.equal(values, cache.values[1, :, :, :5])


@pytest.mark.parametrize("config", SIZES)
def test_another_layout_of_the_weights_changes_no_value(config: CausalConfig) -> None:
    model, x = transformer(config), tokens(config, 1, 20)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        expected = whole(model, x)
        lay_out(model)
        lay_out(model)
        torch.testing.assert_close(whole(model, x), expected, **TIGHT)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_weights_can_be_trained_loaded_and_copied_after_they_were_laid_out() -> None:
    model, x = transformer(), tokens(GROUPED, 1, 20)
    others = {name: tensor * 1.5 for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        lay_out(model)
    whole(model, x).square().mean().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    expected = whole(model, x).detach()
    with torch.inference_mode():
        torch.testing.assert_close(whole(model, x), expected, **TIGHT)
    model.load_state_dict(others)
    fresh = transformer()
    fresh.load_state_dict(others)
    with torch.inference_mode():
        torch.testing.assert_close(whole(model, x), whole(fresh, x), **TIGHT)
    model.double()
    assert whole(model, x.double()).dtype == torch.float64


@torch.inference_mode()
def test_one_product_serves_only_weights_that_lie_side_by_side() -> None:
    model, x = transformer(), tokens(GROUPED, 1, 3)
    lay_out(model)
    attention = model.layers[0].self_attn
    layers = (attention.q_proj, attention.k_proj, attention.v_proj)
    torch.testing.assert_close(multiply(x, *layers), tuple(layer(x) for layer in layers), **TIGHT)
    attention.k_proj.weight.data = attention.k_proj.weight.data * 2  # lies elsewhere now
    torch.testing.assert_close(multiply(x, *layers), tuple(layer(x) for layer in layers), **TIGHT)


def test_passes_without_gradients_run_under_autocast() -> None:
    model, x = transformer(), tokens(GROUPED, 1, 20)
    with torch.inference_mode():
        expected = whole(model, x)
        with torch.autocast("cpu", torch.bfloat16):
            found = whole(model, x)
    assert (found.float() - expected).abs().mean() < 0.1 * expected.abs().mean()


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"num_heads": 4, "num_key_heads": 3}, "does not divide num_heads 4"), ({"head_dim": 7}, "need an even number")],
)
def test_sizes_that_do_not_fit_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CausalConfig(**settings)
