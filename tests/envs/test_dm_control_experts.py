import ctypes.util
import importlib.util
import sys

import numpy as np
import pytest

from flexlam.core.seeding import numpy_generator
from flexlam.envs.base import Step
from flexlam.envs.dm_control_experts import EXPERTS, REFERENCES
from flexlam.envs.dm_control_suite import DmControlEnvironment, DmControlSuite

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("dm_control") is None, reason="needs dm_control: make test-mujoco"),
    pytest.mark.skipif(
        sys.platform == "linux" and ctypes.util.find_library("EGL") is None,
        reason="needs EGL: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri",
    ),
]


def play(environment: DmControlEnvironment, seed: int, at_random: bool) -> float:
    generator, total = numpy_generator(seed, "reference"), 0.0
    step = environment.reset(seed)
    while not (step.terminated or step.truncated):
        step = environment.step(environment.sample_action(generator) if at_random else environment.expert_action())
        total += step.reward
    return total


@pytest.mark.parametrize("task", EXPERTS)
def test_the_shipped_references_are_what_is_measured(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unseen(self: DmControlEnvironment, reward: float) -> Step:
        return Step(np.zeros((64, 64, 3), np.uint8), reward, False, False)

    monkeypatch.setattr(DmControlEnvironment, "_observe", unseen)  # nobody looks, so nothing is drawn
    suite = DmControlSuite(task)
    reference = suite.reference(task)
    assert reference == REFERENCES[task] and suite.has_expert
    with suite.make(task) as environment:
        seeds = range(7000, 7000 + reference.num_episodes)
        for mean, stderr, at_random in (
            (reference.expert, reference.expert_stderr, False),
            (reference.random, reference.random_stderr, True),
        ):
            found = np.mean([play(environment, seed, at_random) for seed in seeds])
            assert abs(found - mean) < 0.5 * stderr + 0.05, "another processor may round otherwise, but not that much"
    assert reference.expert - reference.random > 5 * np.hypot(reference.expert_stderr, reference.random_stderr)
