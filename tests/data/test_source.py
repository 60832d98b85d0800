import numpy as np
import pytest

from dataset_formats import mp4_json, robomimic, row_parquet, write_lossless
from flexlam.core.errors import ConfigError
from flexlam.data.readers import open_dataset
from flexlam.data.source import SourceConfig
from moving_square import moving_square


def test_actions_that_precede_are_moved_to_the_frame_before(tmp_path):
    made = row_parquet(tmp_path / "d")
    as_is = open_dataset(made.path)
    moved = open_dataset(made.path, SourceConfig(action_timing="precedes"))
    assert (as_is.info.action_timing, moved.info.action_timing) == ("follows", "precedes")
    assert moved.info.num_frames == as_is.info.num_frames - len(made.episodes)
    for before, after, episode in zip(as_is.episodes(), moved.episodes(), made.episodes, strict=True):
        frames = np.stack(list(moved.frames(after)))
        assert after.length == len(frames) == len(episode.frames) - 1
        assert np.array_equal(frames, episode.frames[:-1])
        assert np.array_equal(moved.columns(after).actions, as_is.columns(before).actions[1:])
        assert len(moved.columns(after).times) == len(frames)


def test_what_a_format_has_can_be_overruled(tmp_path):
    made = mp4_json(tmp_path / "d")
    assert open_dataset(made.path).info.action_timing == "precedes"
    as_is = open_dataset(made.path, SourceConfig(action_timing="follows"))
    episode = as_is.episodes()[0]
    assert len(list(as_is.frames(episode))) == len(made.episodes[0].frames) + 1
    assert np.array_equal(as_is.columns(episode).actions[1:], made.episodes[0].columns.actions)


def test_a_clock_for_what_has_none(tmp_path):
    made = row_parquet(tmp_path / "d")
    reader = open_dataset(made.path, SourceConfig(fps=4))
    columns = reader.columns(reader.episodes()[0])
    assert reader.info.fps == 4 and np.allclose(np.diff(columns.times), 0.25)
    assert np.array_equal(columns.actions, made.episodes[0].columns.actions)


def test_a_camera_is_chosen_by_name(tmp_path):
    made = robomimic(tmp_path / "d")
    first = open_dataset(made.path)
    assert first.info.cameras == ("obs/agentview_image", "obs/eye_in_hand_image")
    second = open_dataset(made.path, SourceConfig(camera="obs/eye_in_hand_image"))
    frames = np.stack(list(second.frames(second.episodes()[0])))
    assert np.array_equal(frames, made.episodes[0].frames[:, ::-1])
    with pytest.raises(ConfigError, match=r"no camera 'front'.*agentview_image"):
        open_dataset(made.path, SourceConfig(camera="front"))


def test_a_camera_of_a_dataset_without_is_refused(tmp_path):
    write_lossless(tmp_path / "v/a.mp4", moving_square(4, 0, size=32).frames)
    with pytest.raises(ConfigError, match="one camera without a name"):
        open_dataset(tmp_path / "v", SourceConfig(camera="front"))
