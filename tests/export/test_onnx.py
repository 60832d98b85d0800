"""Exported graphs in a process of their own: run-time checks of shapes stand in the way of torch's tracing."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from flexlam.core.action import ActionSpec
from flexlam.core.errors import ConfigError, ExportError, OutputError
from flexlam.export import onnx
from flexlam.lam.model import LatentActionModel
from flexlam.translator.model import build_translator, load_translator, save_translator
from flexlam.translator.serving import PerPrefixTranslator, PrefixEnsembleTranslator, PrefixSampledTranslator
from tiny import lam_run

ort = pytest.importorskip("onnxruntime")
SHAPE = (16, 24, 3)
MIXED = ActionSpec(num_choices=(3, 2), num_continuous=2)


def export(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flexlam", "export", "onnx", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, LatentActionModel]:
    path = tmp_path_factory.mktemp("lam") / "model"
    torch.manual_seed(0)
    made = LatentActionModel(lam_run().lam, SHAPE)
    for _ in range(20):  # statistics of the quantizer's inputs, as training leaves them
        made.encode_images(torch.rand(16, 3, 16, 24) * 2 - 1, torch.rand(16, 3, 16, 24) * 2 - 1)
    made.eval().save_pretrained(path)
    return path, LatentActionModel.from_pretrained(path)


def translator(config, spec, model, path):
    made = build_translator(config, spec, model.prefix.null_latent, model.num_slots)
    made.codec.fit(torch.randn(50, spec.num_dims) * 3 + 1)
    for parameter in made.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
    save_translator(made, path, model.hash)
    return load_translator(path, model.hash)


FIVE = ActionSpec(num_choices=(5,))
ALONE = PerPrefixTranslator.Config(prefix_lengths=(0, 3), use_prev_action=False)


@pytest.mark.parametrize(
    ("config", "spec", "files"),
    [
        pytest.param(PrefixSampledTranslator.Config(), MIXED, ("k1", "k2", "k4"), id="sampled", marks=pytest.mark.slow),
        pytest.param(ALONE, MIXED, ("k3",), id="per-prefix"),
        pytest.param(
            *(PrefixEnsembleTranslator.Config(use_obs=True), FIVE, ("k1", "k2", "k4")),
            id="ensemble",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_graphs_compute_what_torch_does(model, tmp_path, config, spec, files):
    path, lam = model
    torch.manual_seed(1)
    made = translator(config, spec, lam, tmp_path / "translator")
    out = tmp_path / "onnx"
    done = export(path, "--out", out, "--translator", tmp_path / "translator")
    assert done.returncode == 0, done.stderr
    assert not done.stderr and "encoder.onnx: 100.00% the same" in done.stdout
    assert {file.name for file in out.iterdir()} == {
        "encoder.onnx",
        "onnx.json",
        *(f"translator-{k}.onnx" for k in files),
    }
    about = json.loads((out / "onnx.json").read_text())
    assert (about["gap_steps"], about["fit"]) == (1, "stretch")
    assert ("prev_action" in about["translator_inputs"]) == config.use_prev_action
    assert about["model_hash"] == lam.hash and about["action_spec"] == spec.model_dump(mode="json")

    rng = np.random.default_rng(3)
    frames = rng.integers(0, 256, (2, 5, *SHAPE), dtype=np.uint8)
    encoder = ort.InferenceSession(str(out / "encoder.onnx"))
    codes, latents = encoder.run(None, {"obs": frames[0], "next_obs": frames[1]})
    expected = lam.encode(frames[0], frames[1])
    assert np.array_equal(codes, expected.indices.numpy())
    assert np.allclose(latents, expected.latents.numpy(), atol=1e-6)

    k = int(files[0][1:])
    graph = ort.InferenceSession(str(out / f"translator-{files[0]}.onnx"))
    previous = np.zeros((5, spec.num_dims), np.float32)
    previous[2] = np.nan
    inputs = {"latents": latents[:, :k], "prev_action": previous, "obs": frames[0]}
    action, scores = graph.run(None, {i.name: inputs[i.name] for i in graph.get_inputs()})
    images = torch.from_numpy(frames[0]).movedim(-1, 1).float() / 127.5 - 1
    seen = onnx.thumbnails(images) if config.use_obs else None
    with torch.no_grad():
        wanted = made(expected.latents, torch.from_numpy(previous), k, seen)
        wanted_action = made.codec.predict(wanted)
    assert np.allclose(scores, wanted.numpy(), atol=1e-4)
    assert np.allclose(action, wanted_action.numpy(), atol=1e-3)


@pytest.mark.parametrize("quantizer", ["vq", "continuous"])
def test_other_quantizers_go_out_too(quantizer, tmp_path):
    torch.manual_seed(0)
    values = {"num_slots": 3, "quantizer": {"name": quantizer}}
    sizes = {"patch_size": 8, "dim": 16, "depth": 1, "num_heads": 2}
    config = {**values, "encoder": {"name": "pair", **sizes}, "decoder": {"name": "regression", **sizes}}
    LatentActionModel(LatentActionModel.Config.parse(config), SHAPE).eval().save_pretrained(tmp_path / "model")
    done = export(tmp_path / "model", "--out", tmp_path / "onnx")
    assert done.returncode == 0, done.stderr
    frames = np.random.default_rng(3).integers(0, 256, (2, 5, *SHAPE), dtype=np.uint8)
    codes, latents = ort.InferenceSession(str(tmp_path / "onnx" / "encoder.onnx")).run(
        None, {"obs": frames[0], "next_obs": frames[1]}
    )
    expected = LatentActionModel.from_pretrained(tmp_path / "model").encode(frames[0], frames[1])
    assert np.array_equal(codes, expected.indices.numpy())
    assert np.allclose(latents, expected.latents.numpy(), atol=1e-5)


def test_a_graph_that_computes_something_else_is_not_kept(model, tmp_path, monkeypatch):
    class Written:
        def __init__(self, *_, **__) -> None: ...

        def run(self, _, inputs):
            count = len(inputs["obs"])
            return [np.zeros((count, 4), np.int64), np.zeros((count, 4, model[1].latent_dim), np.float32)]

    monkeypatch.setattr(onnx, "_write", lambda *_: None)
    monkeypatch.setattr(ort, "InferenceSession", Written)
    with pytest.raises(ExportError, match=r"encoder\.onnx does not compute what torch does: 0\."):
        onnx.export_onnx(model[0], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_exported_is_refused(model, tmp_path, monkeypatch):
    path, lam = model
    translator(PerPrefixTranslator.Config(prefix_lengths=(1, 4)), MIXED, lam, tmp_path / "translator")
    with pytest.raises(ConfigError, match=r"serves prefix lengths \(1, 4\); got \[2\]"):
        onnx.export_onnx(path, tmp_path / "out", tmp_path / "translator", (1, 2))
    with pytest.raises(ConfigError, match="give one, too"):
        onnx.export_onnx(path, tmp_path / "out", prefix_lengths=(1,))
    with pytest.raises(OutputError, match="already holds something"):
        onnx.export_onnx(path, path)
    monkeypatch.setattr(onnx, "find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(ConfigError, match=r'needs onnxscript: pip install "flexlam\[onnx\]"'):
        onnx.export_onnx(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
