import pytest

from flexlam.core.errors import ConfigError
from flexlam.report.card import CardConfig, ModelFacts, model_card

FACTS = ModelFacts("abc", 1_234_567, 4, 9.97, (64, 48, 3), "0.2 s", "d00d", ("translator",), "collapsed (one code).")
ALIGNMENT = {
    "kind": "alignment",
    "command": "flexlam eval alignment --json a.json",
    "created": "2026-11-20T10:00:00+00:00",
    "machine": {"processor": "EPYC", "cores": 2, "accelerator": None},
    "data_hash": "d00d",
    "parent_hashes": {"lam": "abc"},
    "num_labels": 256,
    "rows": [{"k": 0, "bits": 0.0, "action_loss": 1.5}, {"k": 4, "bits": 39.9, "action_loss": 1.2}],
    "baselines": {"idm": {"action_loss": 1.3}},
}


def test_a_card_tells_what_the_model_is_and_what_was_measured():
    said = CardConfig(title="Squares", license="cc-by-4.0", data="Squares | drawn", consent="No people.")
    card = model_card(said, FACTS, "me/squares", [ALIGNMENT])
    header, body = card.removeprefix("---\n").split("---\n", 1)
    assert 'license: "cc-by-4.0"' in header and "library_name: flexlam" in header
    assert "K = 4 ordered codes of 10.0 bits" in body and "64 x 48 x 3, 0.2 s apart; 1,234,567 parameters" in body
    assert 'from_pretrained("me/squares")' in body and "Beside it lie: translator." in body
    assert "256 labels, `flexlam eval alignment --json a.json`, 2026-11-20, EPYC, 2 cores, data d00d.\n" in body
    assert "| k = 4 (all slots) | 39.9 | 1.200 |" in body and "| inverse dynamics (IDM) |  | 1.300 |" in body
    assert "| what | Squares \\| drawn |" in body and "| people, consent | No people. |" in body
    assert "Decoded frames are generated" in body and "collapsed (one code)." in body


def test_other_data_than_the_model_was_trained_on_are_named():
    card = model_card(CardConfig(), FACTS, "here", [ALIGNMENT | {"data_hash": "beef"}])
    assert "data beef. Not the data that the model was trained on." in card


def test_what_nobody_said_or_measured_is_named():
    card = model_card(CardConfig(), FACTS, "here")
    assert "license:" not in card and "Nothing was measured." in card
    assert card.count("Not stated by the publisher.") == 5


def test_results_of_another_model_or_kind_are_refused():
    with pytest.raises(ConfigError, match="measured on the model other; this is abc"):
        model_card(CardConfig(), FACTS, "here", [ALIGNMENT | {"parent_hashes": {"lam": "other"}}])
    with pytest.raises(ConfigError, match="measured on the model None"):
        model_card(CardConfig(), FACTS, "here", [{k: v for k, v in ALIGNMENT.items() if k != "parent_hashes"}])
    with pytest.raises(ConfigError, match="kind 'study'; known: alignment"):
        model_card(CardConfig(), FACTS, "here", [ALIGNMENT | {"kind": "study"}])
