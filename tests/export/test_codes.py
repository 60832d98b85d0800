import dataclasses
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from dataset_formats import FORMATS, Made, truncate
from flexlam.core.errors import CheckpointError, ConfigError, DataError, OutputError
from flexlam.core.files import try_lock
from flexlam.data import video
from flexlam.data.lerobot_writer import LeRobotWriter
from flexlam.data.location import fingerprint
from flexlam.data.mixture import mix
from flexlam.data.parts import StoreConfig
from flexlam.data.readers import open_dataset
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store
from flexlam.export.codes import encode_dataset
from flexlam.export.encoding import EncodeConfig, read_shard
from flexlam.lam.model import LatentActionModel
from flexlam.training.fit import FitConfig
from flexlam.training.lam import train_lam
from flexlam.training.pairs import PairConfig
from flexlam.training.translator import TranslatorRunConfig, train_translator_by_hand
from moving_square import moving_square
from tiny import lam_run


def rows(folder):
    return pq.read_table(folder).to_pylist()


def expected(model, made: Made, k=None):
    """Straight from the model."""
    lam = LatentActionModel.from_pretrained(model)
    found = []
    for number, episode in enumerate(made.episodes):
        codes = lam.encode(episode.frames[:-1], episode.frames[1:]).indices[:, :k].tolist()
        found += [(number, step, step + 1, code) for step, code in enumerate(codes)]
    return found


def plain(table):
    return [(row["episode"], row["step"], row["next_step"], row["codes"]) for row in table]


@pytest.mark.parametrize("name", FORMATS)
def test_every_transition_of_every_format_has_its_codes(name, made, encode, model, tmp_path):
    dataset = made(name)
    report = encode(dataset.path, "out")
    assert plain(rows(tmp_path / "out")) == expected(model, dataset)
    assert report.num_episodes == len(dataset.episodes) and not report.skipped
    assert not list(tmp_path.glob(".*"))


def test_a_store_is_encoded_as_its_dataset(made, encode, tmp_path):
    dataset = made("lerobot")
    config = StoreConfig(frame_size=(32, 32))
    build_store(open_dataset(dataset.path), tmp_path / "store", config, announce=lambda _: None)
    encode(dataset.path, "a")
    report = encode(tmp_path / "store", "b")
    assert rows(tmp_path / "a") == rows(tmp_path / "b")
    assert report.about["data_hash"] == FrameStore.open(tmp_path / "store").content_hash
    with pytest.raises(ConfigError, match="which is read in one way"):
        encode(tmp_path / "store", "c", source={"fps": 3.0})


@pytest.mark.parametrize("k", [1, 2])
def test_a_prefix_is_the_first_codes(made, encode, model, tmp_path, k):
    dataset = made("frame-folder")
    encode(dataset.path, "out", prefix_length=k)
    assert plain(rows(tmp_path / "out")) == expected(model, dataset, k)


def test_rows_are_traceable(made, encode, model, tmp_path):
    dataset = made("video-folder")
    encode(dataset.path, "out", episodes_per_shard=2)
    files = sorted((tmp_path / "out").glob("*.parquet"))
    assert [file.name for file in files] == ["codes-000000.parquet", "codes-000001.parquet"]
    for number, file in enumerate(files):
        _, about = read_shard(file)
        assert about["model_hash"] == LatentActionModel.from_pretrained(model).hash
        assert about["data_hash"] == fingerprint(dataset.path) and about["shard"] == number
    assert {row["episode_name"] for row in rows(tmp_path / "out")} == {"a/0.mp4", "a/1.mp4", "b/2.mp4"}


def test_workers_and_shards_change_no_row(made, encode, tmp_path):
    dataset = made("video-folder")
    encode(dataset.path, "one")
    encode(dataset.path, "many", workers=3, episodes_per_shard=1)
    assert rows(tmp_path / "one") == rows(tmp_path / "many")


def test_frames_of_another_size_are_fitted(made, encode, tmp_path, make_video):
    make_video(tmp_path / "v/a.mp4", (48, 80))
    encode(tmp_path / "v", "stretched")
    encode(tmp_path / "v", "cropped", fit="crop")
    stretched, cropped = rows(tmp_path / "stretched"), rows(tmp_path / "cropped")
    assert len(stretched) == len(cropped) and stretched != cropped


def test_damaged_and_crashing_episodes_are_left_out_and_listed(made, encode, tmp_path, monkeypatch):
    dataset = made("video-folder")
    whole = encode(dataset.path, "whole")
    truncate(dataset.path / "a/1.mp4", 0.3)
    decode = video.decode

    def crash(file, *arguments, **options):
        if getattr(file, "name", "") == "2.mp4":
            os.abort()
        return decode(file, *arguments, **options)

    monkeypatch.setattr(video, "decode", crash)
    report = encode(dataset.path, "out", workers=2)
    assert set(report.skipped) == {"a/1.mp4", "b/2.mp4"} and report.num_episodes == 1
    assert "crashed (SIGABRT)" in report.skipped["b/2.mp4"]
    kept = [row for row in rows(tmp_path / "whole") if row["episode"] == 0]
    assert rows(tmp_path / "out") == kept and len(kept) < whole.num_rows


def test_nothing_to_encode_is_an_error(made, encode, tmp_path):
    dataset = made("trajectory-npz")
    for file in dataset.path.rglob("*.npz"):
        np.savez(file, video=np.zeros((1, 32, 32, 3), np.uint8), actions=np.zeros(1, int))
    with pytest.raises(DataError, match="no episode is long enough"):
        encode(dataset.path, "out")
    assert not (tmp_path / "out").exists()


def test_bad_requests_are_refused(made, encode, tmp_path):
    dataset = made("trajectory-npz")
    with pytest.raises(ConfigError, match="this model has 4 slots"):
        encode(dataset.path, "out", prefix_length=9)
    with pytest.raises(CheckpointError):
        encode(dataset.path, "out", run=str(tmp_path))
    with pytest.raises(ConfigError, match="no code-format called 'csv'"):
        encode(dataset.path, "out", format="csv")
    (tmp_path / ".out.encoding").mkdir(exist_ok=True)
    with try_lock(tmp_path / ".out.encoding/lock"), pytest.raises(OutputError, match="Another process"):
        encode(dataset.path, "out")


def test_a_killed_run_goes_on(made, encode, model, tmp_path):
    dataset = made("video-folder")
    script = f"""
import os, signal
from pathlib import Path
from flexlam.export import encoding, engines
from flexlam.export.codes import encode_dataset
original = encoding.encode_shard
def shard(encoding, number, folder, skip, tell):
    rows = original(encoding, number, folder, skip, tell)
    if number == 1:
        os.kill(os.getppid(), signal.SIGKILL)
    return rows
engines.encode_shard = shard
config = encoding.EncodeConfig(run={str(model)!r}, data={str(dataset.path)!r}, episodes_per_shard=1)
encode_dataset(config, Path({str(tmp_path / "out")!r}))
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=120).returncode == -signal.SIGKILL
    assert len(list((tmp_path / ".out.encoding/codes").glob("*.parquet"))) >= 2
    encode(dataset.path, "out", episodes_per_shard=1)
    assert plain(rows(tmp_path / "out")) == expected(model, dataset)
    encode(dataset.path, "again", episodes_per_shard=1)
    files = [sorted((tmp_path / name).iterdir()) for name in ("out", "again")]
    assert [a.read_bytes() for a in files[0]] == [b.read_bytes() for b in files[1]]


def test_a_translators_actions_stand_beside_the_codes(made, encode, model, tmp_path):
    dataset = made("video-folder")
    config = StoreConfig(frame_size=(32, 32))
    build_store(open_dataset(dataset.path), tmp_path / "store", config, announce=lambda _: None)
    lines = ["path,frame,action", *(f"a/{i % 2}.mp4,{i},{('left', 'right')[i % 2]}" for i in range(8))]
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    settings = TranslatorRunConfig(fit=FitConfig(max_steps=40))
    train_translator_by_hand(settings, model, tmp_path / "store", tmp_path / "labels.csv", tmp_path / "translator")
    report = encode(dataset.path, "out", translator=str(tmp_path / "translator"), prefix_length=2)
    table = pq.read_table(tmp_path / "out")
    assert set(table["action"].to_pylist()) <= {"left", "right"}
    assert [("left", "right")[int(i)] for i in table["action_0"].to_pylist()] == table["action"].to_pylist()
    assert report.about["action_spec"]["names"] == ["left", "right"] and report.about["translator_hash"]
    encode(dataset.path, "plain", prefix_length=2)
    assert table.drop_columns(["action", "action_0"]).equals(pq.read_table(tmp_path / "plain"))


def test_data_at_another_rate_get_the_gap_that_the_model_was_trained_with(made, encode, tmp_path):
    """Trained on every third frame of video at 10 a second, cropped; encoded from the video itself."""
    dataset = made("video-folder")
    config = StoreConfig(frame_size=(16, 32), frame_gap=0.3, fit="crop")
    build_store(open_dataset(dataset.path), tmp_path / "store", config, announce=lambda _: None)
    small = lam_run(2)
    small = small.model_copy(update={"pairs": PairConfig(split=(0.34, 0.33, 0.33))})
    train_lam(small, tmp_path / "store", tmp_path / "run")
    report = encode(dataset.path, "out", run=str(tmp_path / "run"))
    assert report.about["gap_seconds"] == pytest.approx(0.3) and report.about["fit"] == "crop"
    table = rows(tmp_path / "out")
    assert {row["next_step"] - row["step"] for row in table} == {3}
    assert len(table) == sum(len(episode.frames) - 3 for episode in dataset.episodes)
    stored = encode(tmp_path / "store", "stored", run=str(tmp_path / "run"))
    assert stored.about["gap_seconds"] is None and stored.about["gap_steps"] == 1
    of_store = {(row["episode"], 3 * row["step"]): row["codes"] for row in rows(tmp_path / "stored")}
    of_video = {(row["episode"], row["step"]): row["codes"] for row in table}
    assert of_store.items() <= of_video.items(), "the very frames of the store"
    with pytest.raises(DataError, match=r"no two frames, 0\.3 s apart.*--fps"):
        encode(made("frame-folder").path, "none", run=str(tmp_path / "run"))


def test_shards_of_another_size_are_not_mixed(made, encode, model, tmp_path, monkeypatch):
    """The same number of shards may hold other episodes: rows would be lost or doubled."""
    dataset = made("video-folder")

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("flexlam.export.codes._report", stop)
        encode(dataset.path, "out", episodes_per_shard=3)
    encode(dataset.path, "out", episodes_per_shard=32)
    assert plain(rows(tmp_path / "out")) == expected(model, dataset)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("flexlam.export.codes._report", stop)
        encode(dataset.path, "two", episodes_per_shard=2)
    marked = tmp_path / ".two.encoding/codes/codes-000000.parquet"
    marked.write_bytes(b"of another size")
    encode(dataset.path, "two", episodes_per_shard=3)
    assert plain(rows(tmp_path / "two")) == expected(model, dataset)


@pytest.fixture
def make_store(tmp_path):
    """make_store(times of each episode) -> the path of a store of 32 x 32 squares."""

    def make(times):
        with LeRobotWriter(tmp_path / "squares", 10.0, (32, 32, 3), None) as writer:
            for number, of_episode in enumerate(times):
                even = moving_square(len(of_episode), number, None, size=32, fps=10)
                writer.write_episode("a", even.frames, even.columns)
        reader = open_dataset(tmp_path / "squares")
        columns = reader.columns
        reader.columns = lambda episode: dataclasses.replace(columns(episode), times=times[episode.index])
        build_store(reader, tmp_path / "uneven", StoreConfig(frame_size=None), announce=lambda _: None)
        return tmp_path / "uneven"

    return make


def run_in_seconds(model, tmp_path, gap=0.2):
    """The same model as if it had been trained with a gap in seconds."""
    lam = LatentActionModel.from_pretrained(model)
    lam.save_pretrained(tmp_path / "timed", pairs={"gap_seconds": gap}, parents={"data": "none"})
    return str(tmp_path / "timed")


UNEVEN = (0.0, 0.1, 0.2, 0.65, 0.75, 0.85, 0.95, 1.05)


def test_uneven_times_keep_the_transitions_that_fit_and_count_the_frames_that_begin_none(
    make_store, encode, model, tmp_path
):
    store = make_store([np.array(UNEVEN), np.arange(8) / 10])
    report = encode(store, "out", run=run_in_seconds(model, tmp_path))
    names = FrameStore.open(store).episodes.names
    assert report.unpaired == {names[0]: 2}, "frames 1 and 2, behind which nothing comes for .45 s"
    table = rows(tmp_path / "out")
    of_first = [(row["step"], row["next_step"]) for row in table if row["episode"] == 0]
    assert of_first == [(0, 2), (3, 5), (4, 6), (5, 7)]
    for row in table:
        times = UNEVEN if row["episode"] == 0 else np.arange(8) / 10
        assert row["time"] == pytest.approx(times[row["step"]], abs=1e-6)
        assert row["next_time"] == pytest.approx(times[row["next_step"]], abs=1e-6)
    assert report.num_rows == len(table) == 4 + 6


def test_even_times_leave_nothing_unpaired(made, encode, tmp_path):
    assert encode(made("video-folder").path, "out").unpaired == {}
    assert all(row["next_time"] - row["time"] == pytest.approx(0.1) for row in rows(tmp_path / "out"))


def test_what_an_interrupted_run_with_other_settings_had_done_is_dropped_and_that_is_told(
    made, model, tmp_path, monkeypatch
):
    dataset = made("video-folder")
    said = []

    def run(**settings):
        config = EncodeConfig.parse({"run": str(model), "data": str(dataset.path), "episodes_per_shard": 1, **settings})
        return encode_dataset(config, tmp_path / "out", announce=said.append)

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("flexlam.export.codes._report", stop)
        run()
    assert said == []
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("flexlam.export.codes._report", stop)
        run()
    assert said == ["Going on after 3 of 3 shards."], "the same settings go on"
    said.clear()
    run(prefix_length=1)
    assert said == ["An interrupted run with other settings had begun; its codes are of no use here and are dropped."]
    assert plain(rows(tmp_path / "out")) == expected(model, dataset, 1)


def test_stores_of_several_rates_get_the_gap_in_seconds(made, encode, tmp_path):
    """A step of the slowest store of a mixture is not a step of the others."""
    dataset = made("video-folder")
    for name, gap in (("fast", None), ("slow", 0.3)):
        config = StoreConfig(frame_size=(16, 32), frame_gap=gap)
        build_store(open_dataset(dataset.path), tmp_path / name, config, announce=lambda _: None)
    small = lam_run(2)
    small = small.model_copy(update={"pairs": PairConfig(split=(0.34, 0.33, 0.33))})
    train_lam(small, tmp_path / "slow", tmp_path / "run")
    mix([tmp_path / "slow", tmp_path / "fast"], tmp_path / "mixture")
    encode(tmp_path / "mixture", "out", run=str(tmp_path / "run"))
    steps = {(row["episode_name"].split("/")[0], row["next_step"] - row["step"]) for row in rows(tmp_path / "out")}
    assert steps == {("slow", 1), ("fast", 3)}
