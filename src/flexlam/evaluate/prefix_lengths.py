"""Which prefix lengths a measurement reports."""

from collections.abc import Sequence

from flexlam.bottleneck.prefix import check_prefix_length, reported_prefix_lengths


def check_prefix_lengths(prefix_lengths: Sequence[int], num_slots: int) -> tuple[int, ...]:
    """The k to report, in order; 0, 1, 2, 4, ... and K when none are given.

    Raises:
        ConfigError: a k outside 0..K.
    """
    for k in prefix_lengths:
        check_prefix_length(k, num_slots)
    return tuple(sorted(set(prefix_lengths))) or reported_prefix_lengths(num_slots)
