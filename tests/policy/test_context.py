"""What a decision sees, spelt out by hand and compared with the layout of one pass over a window."""

import pytest

from flexlam.policy.context import Layout, max_trunk, window_layout, window_start

PATCHES, SLOTS = 2, 3


def sequence(step: int, stride: int, num_blocks: int) -> list[tuple[str, int, int]]:
    """Appendix B.1: anchors and whole blocks before the step, then the newest frame, then the codes of the step."""
    tokens: list[tuple[str, int, int]] = []
    for t in range(step):
        if t % stride == 0:
            tokens += [("x", t, patch) for patch in range(PATCHES)]
        tokens += [("c", t, slot) for slot in range(SLOTS)]
    return [*tokens, *(("x", step, patch) for patch in range(PATCHES)), *(("c", step, slot) for slot in range(SLOTS))]


def name(layout: Layout, token: int, num_blocks: int) -> tuple[str, int, int]:
    source = int(layout.source[token])
    if source < num_blocks * PATCHES:
        return ("x", *divmod(source, PATCHES))
    return ("c", *divmod(source - num_blocks * PATCHES, SLOTS))


def seen(layout: Layout, token: int, num_blocks: int) -> list[tuple[str, int, int]]:
    """What a token sees, itself included, in the order of positions."""
    tokens = [t for t in range(len(layout.source)) if layout.mask[0, 0, token, t]]
    positions = [int(layout.positions[t]) for t in tokens]
    assert sorted(positions) == list(range(len(tokens))), "positions have no gap and no double"
    return [name(layout, t, num_blocks) for _, t in sorted(zip(positions, tokens, strict=True))]


@pytest.mark.parametrize(("num_blocks", "stride"), [(1, 8), (9, 4), (12, 5), (3, 1)])
def test_every_decision_sees_what_the_agent_would_see(num_blocks: int, stride: int) -> None:
    layout = window_layout(num_blocks, stride, PATCHES, SLOTS)
    assert layout.decision.shape == (num_blocks, SLOTS)
    for step in range(num_blocks):
        whole = sequence(step, stride, num_blocks)
        for slot in range(SLOTS):
            wanted = whole[: len(whole) - SLOTS + slot]  # up to the code before
            assert seen(layout, int(layout.decision[step, slot]), num_blocks) == wanted


def test_codes_of_steps_that_are_no_anchors_are_also_told_from_the_past_alone() -> None:
    layout = window_layout(9, 4, PATCHES, SLOTS)
    assert layout.history_steps.tolist() == [1, 2, 3, 5, 6, 7]
    for row, step in enumerate(layout.history_steps.tolist()):
        trunk = [token for token in sequence(step, 4, 9) if token[:2] != ("x", step)]
        for slot in range(SLOTS):
            wanted = trunk[: len(trunk) - SLOTS + slot]
            assert seen(layout, int(layout.history[row, slot]), 9) == wanted


def test_every_token_is_used_once_in_the_trunk_and_branches_hold_only_what_predicts() -> None:
    layout = window_layout(9, 4, PATCHES, SLOTS)
    names = [name(layout, token, 9) for token in range(len(layout.source))]
    assert sorted(n for n in names if n[0] == "x") == sorted(("x", t, p) for t in range(9) for p in range(PATCHES))
    codes = [n for n in names if n[0] == "c"]
    assert len(codes) == 9 * SLOTS + 6 * (SLOTS - 1)
    assert max_trunk(10, 4, PATCHES, SLOTS) == 9 * SLOTS + 3 * PATCHES


def test_the_window_moves_by_whole_strides_when_it_is_full() -> None:
    starts = [window_start(step, 10, 4) for step in range(30)]
    assert starts[:10] == [0] * 10 and starts[10:14] == [4] * 4 and starts[14] == 8
    for step, start in enumerate(starts):
        assert start % 4 == 0 and step - start < 10
        assert start == 0 or step - (start - 4) >= 10, "it moves no sooner than it must"
    assert {step - start for step, start in enumerate(starts[10:], 10)} == {6, 7, 8, 9}
