import csv

import numpy as np

from flexlam.lam.model import LatentActionModel


def test_an_episode_is_an_npz_of_tokens_and_indices(made, encode, model, tmp_path):
    dataset = made("mp4-json")
    encode(dataset.path, "out", "lary", prefix_length=3)
    lam = LatentActionModel.from_pretrained(model)
    with (tmp_path / "out/metadata.csv").open() as file:
        listing = list(csv.DictReader(file))
    assert [row["video_path"] for row in listing] == ["a/00000000.mp4", "a/00000001.mp4", "b/00000002.mp4"]
    for row, episode in zip(listing, dataset.episodes, strict=True):
        codes = lam.encode(episode.frames[:-1], episode.frames[1:])
        found = np.load(tmp_path / "out" / row["la_path"])
        assert np.array_equal(found["indices"], codes.indices[:, :3].numpy())
        assert found["tokens"].dtype == np.float32
        assert np.allclose(found["tokens"], codes.latents[:, :3].numpy(), atol=1e-6)
        assert int(row["num_transitions"]) == len(found["tokens"]) and row["task"] == episode.task
