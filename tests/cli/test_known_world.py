"""Commands about leakage and labels, on a small world whose truth is known (tests/known_world.py)."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from command_line import Said, run_command
from flexlam.cli.train_translator import _accuracy
from flexlam.data.splits import split_episodes
from flexlam.data.store import FrameStore
from flexlam.training.lam import LamRunConfig, train_lam
from known_world import SPLIT, known_store
from outline import check_loads_nothing
from tiny import ENCODER, REGRESSION, lam_run

SIZES = ("--lam.encoder.patch-size", 4, "--lam.decoder.patch-size", 4, "--lam.num-slots", 2, "--training.num-steps", 2)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """store, its twin, a video of it (without actions or states), and a run of stage 1."""
    path = tmp_path_factory.mktemp("here")
    stores = {
        "store": known_store(path / "a", num_episodes=12, length=14),
        "twin": known_store(path / "b", num_episodes=12, length=14, background=1),
        "video": known_store(path / "c", num_episodes=12, length=14, extras=lambda _: {}, spec=None),
    }
    for name, store in stores.items():
        (path / name).symlink_to(store.path)
    plain = lam_run(3, {"encoder": ENCODER, "decoder": REGRESSION, "num_slots": 2}).model_dump(mode="json")
    train_lam(LamRunConfig.parse({**plain, "pairs": SPLIT.model_dump(mode="json")}), path / "store", path / "lam")
    return path


@pytest.fixture
def refuse(here: Path, tmp_path: Path) -> Callable[..., str]:
    """Exit code 2, every word told, nothing written."""

    def check(*arguments: object, tells: tuple[str, ...]) -> str:
        said = run_command(*arguments)
        message = " ".join(said.err.split())
        assert said.code == 2 and "Traceback" not in message, message or said.out
        for words in tells:
            assert words in message, f"{words!r} is not told by: {message}"
        assert list(tmp_path.iterdir()) == []
        return message

    return check


# ---- flexlam train lam


def train(here: Path, out: Path, *others: object, data: str = "store") -> tuple[object, ...]:
    return ("train", "lam", "vizdoom-tiny", "--data", here / data, "--out", out / "run", "--quiet", *SIZES, *others)


def test_objectives_that_contradict_each_other_are_refused(
    here: Path, tmp_path: Path, refuse: Callable[..., str]
) -> None:
    def command(*others: object, data: str = "store") -> tuple[object, ...]:
        return train(here, tmp_path, *others, data=data)

    supervised = ("--objectives.auxiliary.name", "action-supervision")
    refuse(*command("--objectives.main.name", "none"), tells=("nothing would be learned", "objectives.main"))
    refuse(*command("--objectives.auxiliary.name", "reconstruction"), tells=("Both objectives are 'reconstruction'",))
    refuse(*command("--objectives.main.name", "cross-exogenous"), tells=("'cross-exogenous'", "--twin STORE"))
    refuse(*command("--twin", here / "twin"), tells=("A twin was given", "no objective reads it"))
    refuse(*command("--objectives.num-endogenous", 1), tells=("num_endogenous is 1", "no auxiliary objective"))
    refuse(*command(*supervised, "--objectives.num-endogenous", 2), tells=("of 2 slots", "main objective"))
    refuse(*command(*supervised, data="video"), tells=("has no actions", "nothing to label"))
    refuse(*command(*supervised), tells=("256 labels were asked for", "training transitions"))
    crossed = ("--objectives.main.name", "cross-exogenous", "--twin")
    refuse(*command(*crossed, here / "store"), tells=("no twins", "identical", "--overlay-seed"))
    refuse(*command(*crossed, here / "nowhere"), tells=("nothing at",))
    refuse(*command("--objectives.main.name", "cross-exogenuos"), tells=("Did you mean 'cross-exogenous'?",))
    refuse(*command("--objectives.weight", 0), tells=("--objectives.weight", "greater than 0"))
    refuse(*command("--max-gaps", 0), tells=("--max-gaps", "greater than or equal to 1"))
    refuse(*command("--augmentation.max-shift", -1), tells=("--augmentation.max-shift",))


def test_a_twin_is_trained_with_by_command(here: Path, tmp_path: Path) -> None:
    objectives = ("--objectives.main.name", "cross-exogenous", "--twin", here / "twin", "--max-gaps", 2)
    said = run_command(*train(here, tmp_path, *objectives, "--augmentation.max-shift", 1))
    assert said.code == 0, said.err
    header = json.loads((tmp_path / "run" / "run.json").read_text())
    assert header["config"]["objectives"]["main"] == {"name": "cross-exogenous"}
    assert header["parents"]["twin"] == FrameStore.open(here / "twin").content_hash


# ---- flexlam eval probes


def probes(here: Path, *others: object, data: str = "store") -> tuple[object, ...]:
    few = ("--num-swaps", 40, "--no-nonlinear", "--quiet")
    return ("eval", "probes", "vizdoom-tiny", "--lam", here / "lam", "--data", here / data, *few, *others)


def test_eval_probes_prints_tables_and_writes_figures_and_a_page(here: Path, tmp_path: Path) -> None:
    wanted = ("--json", tmp_path / "probes.json", "--page", tmp_path / "probes.html")
    said = run_command(*probes(here, "--twin", here / "twin", *wanted))
    assert said.code == 0, said.err
    results = json.loads((tmp_path / "probes.json").read_text())
    assert (results["kind"], results["twin"]) == ("probes", True) and [row["k"] for row in results["rows"]] == [0, 1, 2]
    assert results["parent_hashes"].keys() == {"lam", "twin"}
    assert results["parent_hashes"]["twin"] == FrameStore.open(here / "twin").content_hash
    for words in ("action, linear", "exogenous innovation, linear", "guessing", "twin score", "k = 2"):
        assert words in said.out
    assert f"Verdict: this model {results['verdict']} ({results['reason']})." in said.out
    assert f"Page: {tmp_path / 'probes.html'}" in said.out
    page = (tmp_path / "probes.html").read_text(encoding="utf-8")
    check_loads_nothing(page)
    assert "<h2>Pictures</h2>" in page and f"This model {results['verdict']}." in page
    assert results["parent_hashes"]["twin"] in page


def test_eval_probes_of_video_alone_prints_reactions(here: Path, tmp_path: Path) -> None:
    said = run_command(*probes(here, data="video"))
    assert said.code == 0, said.err
    assert "swap score" in said.out and "guessing" not in said.out and "pasted" in said.out
    assert list(tmp_path.iterdir()) == []


def test_eval_probes_refuses_what_cannot_be_measured(here: Path, tmp_path: Path, refuse: Callable[..., str]) -> None:
    refuse(*probes(here, "--page", tmp_path / "page.pdf"), tells=("page.pdf is no page", "ends in .html"))
    refuse(*probes(here, "--twin", here / "store"), tells=("no twins", "identical"))
    refuse(*probes(here, "--prefix-lengths", 9), tells=("prefix_length is 9", "0 to 2"))
    refuse(*probes(here, "--json", "/proc/figures.json"), tells=("/proc/figures.json", "cannot be written"))


# ---- labels


@pytest.mark.parametrize("unseen", [False, True])
def test_train_translator_tells_how_well_held_out_labels_are_told_and_where_they_lie(
    here: Path, tmp_path: Path, unseen: bool
) -> None:
    store = FrameStore.open(here / "video")
    splits = split_episodes(store, SPLIT.split, SPLIT.split_seed)
    chosen = [*splits.train[:2], *([splits.test[0], splits.validation[0]] if unseen else [])]
    rows = [(store.episodes.names[e], step) for e in chosen for step in range(0, 12, 2)]
    lines = [f"{name},{step},{('left', 'right')[step % 4 // 2]}" for name, step in rows]
    (tmp_path / "labels.csv").write_text("\n".join(["path,frame,action", *lines]) + "\n")
    said = run_command(
        *("train", "translator", "vizdoom-tiny", "--lam", here / "lam", "--data", here / "video", "--out"),
        *(tmp_path / "translator", "--label-file", tmp_path / "labels.csv", "--fit.max-steps", 20, "--quiet"),
    )
    assert said.code == 0, said.err
    fit = json.loads((tmp_path / "translator" / "fit.json").read_text())
    told = _accuracy(fit["heldout_accuracy"], len(rows))
    assert f"Held-out accuracy: {told}." in said.out and 0 <= fit["heldout_accuracy"] <= 1
    named = sorted(store.episodes.names[e] for e in chosen[2:])
    assert fit["labelled_heldout_episodes"] == named
    assert ("which the model keeps for choosing and measuring" in said.out) == unseen
    assert not unseen or f"Labels lie in {', '.join(named)}" in said.out


def test_a_few_labels_are_said_to_be_too_few() -> None:
    assert _accuracy(0.9, 200) == "90% +- 2%"
    assert _accuracy(0.5, 10).startswith("50% +- 14%, too few labels")
    assert "too few labels" in _accuracy(1.0, 4) and "+- 0%" not in _accuracy(1.0, 4), "four of four prove little"
    assert "too few" not in _accuracy(1.0, 40)


# ---- flexlam encode


def test_encode_names_the_frames_that_begin_no_transition(
    here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gappy(times: np.ndarray, *_: object) -> tuple[np.ndarray, np.ndarray]:
        steps = np.delete(np.arange(len(times) - 1), [3, 4])
        return steps, steps + 1

    def encode(name: str) -> Said:
        return run_command("encode", here / "lam", "--data", here / "video", "--out", tmp_path / name, "--quiet")

    assert "begin no transition" not in encode("even").out
    monkeypatch.setattr("flexlam.export.encoding.pairs_of", gappy)
    said = encode("uneven")
    assert said.code == 0, said.err
    name = FrameStore.open(here / "video").episodes.names[0]
    assert f"{name}: 2 frames begin no transition" in said.out and said.out.count("uneven times") == 12


# ---- interrupts


@pytest.mark.parametrize(
    ("verb", "hint"),
    [
        (("train", "lam"), "The same command with --resume continues."),
        (("encode",), "The same command continues."),
        (("train", "translator"), "Nothing was written; the same command starts anew."),
        (("data", "info"), "interrupted."),
    ],
)
def test_an_interrupted_command_tells_how_to_go_on(
    verb: tuple[str, ...], hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import import_module

    from flexlam.cli import VERBS

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(import_module(VERBS[" ".join(verb)][0]), "run", stop)
    before = signal.getsignal(signal.SIGTERM)
    said = run_command(*verb)
    assert signal.getsignal(signal.SIGTERM) == before, "a caller in Python keeps its own handler"
    assert said.code == 130 and said.err.strip().endswith(hint)
