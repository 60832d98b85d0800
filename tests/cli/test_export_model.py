"""A model that is shared, by folder and by the Hub, does what its run does."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from command_line import World
from command_line import run_command as run
from fake_hub import hub_on_this_machine
from flexlam import LatentActionModel
from flexlam.acting.agent import Agent
from flexlam.core.errors import ConfigError
from flexlam.translator.model import load_translator


@pytest.fixture(scope="module")
def shared(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    measured, out = folder / "reconstruction.json", folder / "model"
    parts = ("--lam", world.lam, "--data", world.store)
    said = run("eval", "reconstruction", "vizdoom-tiny", *parts, "--json", measured)
    assert said.code == 0, said.err
    said = run(
        *("export", "model", world.lam, "--translator", world.translator, "--policy", world.policy, "--out", out),
        *("--results", measured, "--license", "mit", "--data", "Squares.", "--consent", "No people."),
    )
    assert said.code == 0, said.err
    assert "not stated: --intended-use, --data-license, --bias" in said.out
    return out


def test_a_shared_folder_holds_the_same_model_and_what_belongs_to_it(world: World, shared: Path) -> None:
    ours, theirs = LatentActionModel.from_pretrained(world.lam), LatentActionModel.from_pretrained(shared)
    assert ours.hash == theirs.hash
    load_translator(shared, theirs.hash)
    Agent.load(shared)
    card = (shared / "README.md").read_text()
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["license"] == "mit" and header["library_name"] == "flexlam"
    assert "| k = 4" in card and "flexlam eval reconstruction vizdoom-tiny" in card
    assert "Codes at the end of training:" in card and "Beside it lie: translator, policy." in card


def test_a_shared_model_encodes_as_its_run_does(world: World, shared: Path, tmp_path: Path) -> None:
    for name, model in (("run", world.lam), ("shared", shared)):
        said = run("encode", model, "--data", world.store, "--out", tmp_path / name)
        assert said.code == 0, said.err
    a, b = (pq.read_table(tmp_path / name) for name in ("run", "shared"))
    assert a.equals(b)


def test_the_hub_gives_back_what_was_pushed(
    world: World, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    with hub_on_this_machine(monkeypatch, tmp_path / "cache") as repositories:
        said = run("export", "model", world.lam, "--out", tmp_path / "out", "--push-to", "me/lam", "--private")
        assert said.code == 0 and "/me/lam/commit/" in said.out, said.err
        assert repositories["me/lam"].private
        assert 'from_pretrained("me/lam")' in repositories["me/lam"].commits[-1]["README.md"].decode()
        model = LatentActionModel.from_pretrained("me/lam")
        assert model.hash == LatentActionModel.from_pretrained(world.lam).hash
        said = run("encode", "hf://me/lam", "--data", world.store, "--out", tmp_path / "codes")
        assert said.code == 0, said.err
        with pytest.raises(ConfigError, match="is no OWNER/NAME of the Hub"):
            LatentActionModel.from_pretrained(world.lam, revision="main")
        model.push_to_hub("me/copy", card="mine")
        again = LatentActionModel.from_pretrained("me/copy")
        assert again.hash == model.hash and repositories["me/copy"].commits[-1]["README.md"] == b"mine"
        assert np.array_equal(
            again.encode(frames[:2], frames[1:]).indices, model.encode(frames[:2], frames[1:]).indices
        )


def test_what_cannot_be_shared_is_refused(world: World, refused, tmp_path: Path) -> None:
    out = tmp_path / "out"
    share = ("export", "model", world.lam, "--out", out)
    refused(*share, "--push-to", "lam", tells=("OWNER/NAME",))
    refused(
        "export", "model", world.other, "--translator", world.translator, "--out", out, tells=("trained on the codes",)
    )
    refused("export", "model", world.other, "--policy", world.policy, "--out", out, tells=("predicts the codes",))
    refused(*share, "--results", world.lam / "environment.json", tells=("holds no results",))
    refused(*share, "--results", tmp_path / "none.json", tells=("holds no results",))
    refused("export", "model", world.lam, "--out", world.lam, tells=("would replace",))
    refused("export", "model", world.store, "--out", out, tells=("run",))
    assert not out.exists()
