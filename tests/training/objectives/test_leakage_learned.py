"""What the objectives are for, at a size that takes seconds: the code of a move with or without the background.

A block hops over a ground that is another shade of grey in every frame, which no frame foretells.
"""

from pathlib import Path

import numpy as np

from flexlam.core.action import ActionSpec
from flexlam.data.episodes import Columns
from flexlam.data.lerobot_writer import LeRobotWriter
from flexlam.data.parts import StoreConfig
from flexlam.data.readers.lerobot import LeRobotReader
from flexlam.data.store import FrameStore
from flexlam.data.store_builder import build_store
from flexlam.evaluate.twins import TwinTest
from flexlam.lam.model import LatentActionModel
from flexlam.metrics.probes import Samples, linear_probe
from flexlam.training.lam import LamRunConfig, train_lam
from flexlam.training.pairs import SplitPairs, load_pairs
from known_world import SPLIT
from tiny import ENCODER, REGRESSION, lam_run

HOPS = ((0, 0), (0, 8), (8, 0))
NUM_STEPS = 400


def hopping(path: Path, background: int) -> FrameStore:
    spec, length = ActionSpec(num_choices=(3,)), 30
    with LeRobotWriter(path / "recording", 10.0, (16, 16, 3), spec) as writer:
        for number in range(24):
            games, shades = np.random.default_rng([number, 7]), np.random.default_rng([number, 8, background])
            actions, place = games.integers(0, 3, length), 8 * games.integers(0, 2, 2)
            frames = np.empty((length, 16, 16, 3), np.uint8)
            for step, action in enumerate(actions):
                y, x = place
                frames[step] = shades.integers(0, 100)
                frames[step, y : y + 8, x : x + 8] = 255
                place = (place + HOPS[action]) % 16
            columns = Columns(np.arange(length) / 10, actions[:, None].astype(np.float32), None, {})
            writer.write_episode("ab"[number % 2], frames, columns)
    build_store(
        LeRobotReader(path / "recording"), path / "store", StoreConfig(frame_size=None), announce=lambda _: None
    )
    return FrameStore.open(path / "store")


def unread_shade(model: LatentActionModel, pairs: SplitPairs) -> float:
    """NMSE of the next frame's shade of grey, read from the codes."""
    parts = []
    for index in (pairs.train, pairs.validation, pairs.test):
        batch = index.batch(pairs.store, np.arange(len(index)))
        latents = model.encode(batch.obs, batch.next_obs).latents.flatten(1).double().numpy()
        shade = batch.next_obs.double().flatten(1).median(1).values.numpy()[:, None]  # the block covers a quarter
        parts.append(Samples(latents, shade, index.episode))
    return linear_probe(*parts).nmse


def test_codes_learned_across_backgrounds_leave_the_background_out(tmp_path: Path) -> None:
    store, twin = hopping(tmp_path / "a", 0), hopping(tmp_path / "b", 1)
    unread, made_by_background = {}, {}
    for name in ("reconstruction", "cross-exogenous"):
        model = {"encoder": ENCODER, "decoder": REGRESSION, "num_slots": 2, "prefix_sampling": "full"}
        plain = lam_run(
            NUM_STEPS, model, batch_size=32, **dict.fromkeys(("evaluate_every", "checkpoint_every"), NUM_STEPS)
        )
        values = {"pairs": SPLIT.model_dump(mode="json"), "objectives": {"main": {"name": name}}}
        config = LamRunConfig.parse({**plain.model_dump(mode="json"), **values})
        run = train_lam(config, store.path, tmp_path / name, twin=twin.path if name == "cross-exogenous" else None)
        lam, pairs = LatentActionModel.from_pretrained(run.model), load_pairs(store.path, SPLIT)
        unread[name] = unread_shade(lam, pairs)
        twins = TwinTest(lam, store, twin, pairs.test, np.arange(len(pairs.test)))
        made_by_background[name] = twins.measure(2)["twin_score"]
    assert unread["reconstruction"] < 0.4 and unread["cross-exogenous"] > 0.6
    assert made_by_background["cross-exogenous"] < 0.1 < made_by_background["reconstruction"]
