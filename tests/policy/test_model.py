"""Whatever kind of policy lies there is found by its bundle."""

from pathlib import Path

import pytest

from flexlam.core.checkpoint import write_bundle
from flexlam.core.errors import CheckpointError
from flexlam.policy.autoregressive import SequenceModel
from flexlam.policy.flow import FlowPolicy
from flexlam.policy.model import load_policy
from flexlam.policy.regression import RegressionPolicy
from small_policy import sequence_model
from small_spaces import frame_policy


def test_the_kind_is_read_from_the_bundle(tmp_path: Path) -> None:
    policies = {
        SequenceModel: sequence_model(),
        FlowPolicy: frame_policy(FlowPolicy),
        RegressionPolicy: frame_policy(RegressionPolicy),
    }
    for policy_class, policy in policies.items():
        policy.lam_hash = "abc"
        policy.save_pretrained(tmp_path / policy.kind)
        loaded = load_policy(tmp_path / policy.kind, "abc")
        assert type(loaded) is policy_class and loaded.lam_hash == "abc" and not loaded.training
        with pytest.raises(CheckpointError, match="train a policy on this one"):
            load_policy(tmp_path / policy.kind, "xyz")


def test_what_is_no_policy_is_refused(tmp_path: Path) -> None:
    write_bundle(tmp_path / "translator", "translator", {}, {})
    with pytest.raises(CheckpointError, match="holds a translator; expected a flow-policy or a regression-policy or a"):
        load_policy(tmp_path / "translator", None)
    with pytest.raises(CheckpointError, match="no checkpoint folder"):
        load_policy(tmp_path / "nothing", None)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "bundle.json").write_text("[]")
    with pytest.raises(CheckpointError, match="damaged"):
        load_policy(tmp_path / "damaged", None)


def test_a_run_that_has_not_finished_is_told(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(CheckpointError, match="has not finished"):
        load_policy(tmp_path, None)
