"""Which episodes are for training, validation and testing."""

from dataclasses import dataclass

from flexlam.core.errors import ConfigError
from flexlam.core.seeding import numpy_generator
from flexlam.data.store import FrameStore

SMALLEST_STRATUM = 3


@dataclass(frozen=True)
class Splits:
    """Disjoint episode indices of a store, each in ascending order."""

    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


def split_episodes(store: FrameStore, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1), seed: int = 0) -> Splits:
    """Divide whole episodes at random, each task by itself.

    A task with at least three episodes has one in every split whose fraction is not 0; tasks with fewer are
    divided together. With fewer than three episodes in all, every episode is for training. The stores of a
    mixture are divided as each of them is by itself: a test episode of one is a test episode of the mixture.

    Raises:
        ConfigError: the fractions are negative, do not add up to 1, or leave nothing for training.
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-6 or not fractions[0]:
        raise ConfigError(f"Split fractions are {fractions}; expected three that add up to 1, the first above 0.")
    first = 0
    sets: tuple[list[int], list[int], list[int]] = ([], [], [])
    for member in store.members:
        for joined, part in zip(sets, _split(member, fractions, seed), strict=True):
            joined.extend(first + episode for episode in part)
        first += len(member.episodes.tasks)
    return Splits(*(tuple(joined) for joined in sets))


def _split(store: FrameStore, fractions: tuple[float, float, float], seed: int) -> list[list[int]]:
    """Episodes of one store for training, validation and test, each in ascending order."""
    by_task: dict[str, list[int]] = {}
    for episode, task in enumerate(store.episodes.tasks):
        by_task.setdefault(task, []).append(episode)
    large = {task: group for task, group in by_task.items() if len(group) >= SMALLEST_STRATUM}
    rest = [episode for task, group in by_task.items() if task not in large for episode in group]
    chosen: tuple[list[int], list[int], list[int]] = ([], [], [])
    for name, group in [*(("task/" + task, group) for task, group in large.items()), ("rest", sorted(rest))]:
        shuffled = numpy_generator(seed, "splits", name).permutation(group).tolist()
        num_validation, num_test = _sizes(len(group), fractions)
        chosen[1].extend(shuffled[:num_validation])
        chosen[2].extend(shuffled[num_validation : num_validation + num_test])
        chosen[0].extend(shuffled[num_validation + num_test :])
    return [sorted(int(episode) for episode in group) for group in chosen]


def _sizes(count: int, fractions: tuple[float, float, float]) -> tuple[int, int]:
    """Episodes for validation and for testing; training keeps at least one."""
    if count < SMALLEST_STRATUM:
        return 0, 0
    sizes = [max(1, round(count * fraction)) if fraction else 0 for fraction in fractions[1:]]
    while sum(sizes) >= count:
        sizes[sizes.index(max(sizes))] -= 1
    return sizes[0], sizes[1]
