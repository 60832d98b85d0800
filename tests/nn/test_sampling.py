import torch

from flexlam.nn.sampling import pick


def test_choices_are_as_frequent_as_their_probability() -> None:
    scores = torch.log(torch.tensor([0.1, 0.0, 0.6, 0.3]))
    uniforms = torch.linspace(0, 1, 10_001)[:-1]  # every number equally often
    drawn = pick(scores.expand(len(uniforms), 4), uniforms)
    shares = drawn.bincount(minlength=4) / len(uniforms)
    assert torch.allclose(shares, scores.exp(), atol=1e-3)


def test_a_number_picks_the_same_choice_in_any_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(50, 2, 7, generator=generator)
    uniforms = torch.rand(50, 2, generator=generator)
    whole = pick(scores, uniforms)
    assert whole.shape == (50, 2)
    assert all(torch.equal(pick(scores[i], uniforms[i]), whole[i]) for i in range(50))


def test_the_largest_number_still_picks_a_choice() -> None:
    assert pick(torch.zeros(1, 3), torch.ones(1)).tolist() == [2]
