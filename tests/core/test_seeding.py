import torch

from flexlam.core.seeding import derive_seed, numpy_generator, torch_generator


def test_streams_are_named_by_seed_and_words() -> None:
    names = [(0,), (1,), (0, "lam"), (0, "lam", 1), (0, "lam", 2), (0, "health"), (10, "lam")]
    seeds = [derive_seed(*name) for name in names]
    assert len(set(seeds)) == len(names)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_seed_is_the_same_in_every_session() -> None:
    assert derive_seed(0, "lam", 1) == 6040762642660358274


def test_generators_repeat_themselves_and_leave_global_state_alone() -> None:
    before = torch.get_rng_state()
    assert numpy_generator(3, "x").random() == numpy_generator(3, "x").random()
    assert numpy_generator(3, "x").random() != numpy_generator(3, "y").random()
    a, b, c = (torch.rand(4, generator=torch_generator(3, word)) for word in ("x", "x", "y"))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert torch.equal(torch.get_rng_state(), before)
