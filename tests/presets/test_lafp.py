import pytest

from flexlam.policy.flow import FlowPolicy
from flexlam.presets.base import load_preset


@pytest.mark.parametrize("name", ["flow", "flow-tiny"])
def test_the_pipeline_is_the_papers(name: str) -> None:
    preset = load_preset(name)
    objectives, labels = preset.lam.objectives, preset.lam.objectives.auxiliary.labels
    assert preset.lam.lam.quantizer.name == "vq" and preset.lam.lam.prefix_sampling == "full"
    assert (objectives.main.name, objectives.auxiliary.name) == ("reconstruction", "action-supervision")
    assert objectives.weight == labels.fraction == 0.1
    assert isinstance(preset.policy.policy, FlowPolicy.Config) and preset.policy.policy.target == "latent"
    for rule in (preset.returns.rule, preset.latency.rule):
        assert (rule.num_samples, rule.num_steps, rule.codes) == (1, 3, "sample")
    assert preset.returns.labels == preset.translator.labels == labels
    assert preset.tuned_policy.labels is None, "those of the translator"
    for part in (preset.translator, preset.joint, preset.alignment, preset.returns):
        assert part.translator.network.dropout == part.translator.network.input_dropout == 0
    for part in (preset.translator, preset.alignment, preset.returns):
        assert (part.fit.learning_rate, part.fit.weight_decay) == (1e-3, 0.01)
    assert preset.returns.suite == preset.recording.suite == "gridworld"
    assert preset.returns.prefix_lengths == (preset.lam.lam.num_slots,), "a model of whole codes acts with whole codes"
