"""Encoder and translator as ONNX, checked against torch before they are kept.

encoder.onnx          obs, next_obs (batch, H, W, C) uint8 -> codes (batch, K) int64, latents (batch, K, D) float32
translator-k4.onnx    latents (batch, 4, D) [, prev_action (batch, A)] [, obs] -> action (batch, A), scores (batch, O)
onnx.json             hashes, shapes, inputs, the time between the two frames, what actions are, what was checked
"""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from flexlam.bottleneck.prefix import reported_prefix_lengths
from flexlam.core.errors import ConfigError, ExportError
from flexlam.core.files import atomic_folder, check_output_folder, write_text
from flexlam.core.seeding import numpy_generator
from flexlam.lam.model import LatentActionModel
from flexlam.nn.patches import frames_to_images, thumbnails
from flexlam.training.runs import open_lam
from flexlam.translator.model import load_translator, read_hash
from flexlam.translator.serving import Translator

_NUM_CHECKED = 64  # transitions on which torch and ONNX Runtime are compared
_BATCH = torch.export.Dim("batch", min=1)


@dataclass(frozen=True)
class Agreement:
    """How an exported graph compares with torch on the same inputs, in float32 on the CPU."""

    file: str
    num_inputs: int
    same: float
    """Share of codes, or of chosen actions, that are the same."""
    largest_difference: float
    """Of the scores, where there are any; of latents that belong to the same codes."""


class _Encoder(nn.Module):
    def __init__(self, model: LatentActionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, obs: Tensor, next_obs: Tensor) -> tuple[Tensor, Tensor]:
        latents, indices = self.model.encode_images(frames_to_images(obs), frames_to_images(next_obs))
        return indices, latents


class _Prefix(nn.Module):
    """A translator at one k, with the inputs that it reads."""

    def __init__(self, translator: Translator, prefix_length: int) -> None:
        super().__init__()
        self.translator, self.prefix_length = translator, prefix_length
        config = translator.config
        self.names = ("latents", *(("prev_action",) if config.use_prev_action else ()), *(("obs",) * config.use_obs))

    def forward(self, latents: Tensor, *context: Tensor) -> tuple[Tensor, Tensor]:
        given = dict(zip(self.names[1:], context, strict=True))
        translator = self.translator
        missing = translator.num_slots - self.prefix_length
        slots = nn.functional.pad(latents, (0, 0, 0, missing))
        none = latents.new_full((latents.shape[0], translator.codec.spec.num_dims), float("nan"))
        images = thumbnails(frames_to_images(given["obs"])) if "obs" in given else None
        scores = translator(slots, given.get("prev_action", none), self.prefix_length, images)
        return translator.codec.predict(scores), scores


def export_onnx(
    run: Path,
    out: Path,
    translator: Path | None = None,
    prefix_lengths: Sequence[int] = (),
    overwrite: bool = False,
) -> list[Agreement]:
    """Write OUT/encoder.onnx and, with a translator, OUT/translator-kN.onnx for each prefix length.

    Every graph is run by ONNX Runtime on random inputs of several batch sizes and compared with torch. Codes may
    differ where rounding falls on an edge, in at most one of a thousand; scores by 1e-4 of their size.

    Raises:
        ConfigError: onnx, onnxscript or onnxruntime is not installed; or a k that the translator does not serve.
        CheckpointError: the run is unfinished or damaged, or the translator belongs to another model.
        ExportError: a graph does not compute what torch does; nothing is kept.
        OutputError: OUT holds something, or cannot be written.
    """
    _require_packages()
    check_output_folder(out, overwrite)
    opened_run, model = open_lam(run, torch.device("cpu"))
    opened = None if translator is None else load_translator(translator, model.hash)
    lengths = _lengths(opened, prefix_lengths)
    about: dict[str, Any] = {"format_version": 1, "model_hash": model.hash, "num_slots": model.num_slots}
    about |= {"frame_shape": list(model.frame_shape), "latent_dim": model.latent_dim}
    pairs, frames = opened_run.pairs, opened_run.frames
    about |= {"gap_steps": pairs.gap_steps, "gap_seconds": pairs.gap_seconds, "fps": frames.fps, "fit": frames.fit}
    if opened is not None and translator is not None:
        about |= {"translator_hash": read_hash(translator), "prefix_lengths": list(lengths)}
        about |= {"action_spec": opened.codec.spec.model_dump(mode="json")}
        about |= {"translator_inputs": list(_Prefix(opened, opened.num_slots).names)}
    with atomic_folder(out) as folder:
        found = [_export_encoder(model, folder)]
        found += [_export_translator(opened, model, k, folder) for k in lengths if opened is not None]
        about["checked"] = [vars(agreement) for agreement in found]
        write_text(folder / "onnx.json", json.dumps(about, indent=2) + "\n")
    return found


def _lengths(translator: Translator | None, wanted: Sequence[int]) -> tuple[int, ...]:
    if translator is None:
        if wanted:
            raise ConfigError("--prefix-lengths are those of a translator; give one, too (--translator).")
        return ()
    every = len(translator.served) > translator.num_slots
    lengths = tuple(wanted) or (reported_prefix_lengths(translator.num_slots) if every else translator.served)
    refused = [k for k in lengths if k not in translator.served]
    if refused:
        raise ConfigError(f"This translator serves prefix lengths {translator.served}; got {refused}.")
    return tuple(k for k in lengths if k)  # with k = 0 there is nothing to put in


def _export_encoder(model: LatentActionModel, folder: Path) -> Agreement:
    graph = _Encoder(model).eval()
    file = folder / "encoder.onnx"
    _write(graph, [*_frames(model, 3, 2)], ("obs", "next_obs"), ("codes", "latents"), file)
    same, difference = [], 0.0
    for obs, next_obs in _batches(_frames(model, _NUM_CHECKED, 2)):
        codes, latents = _run(file, {"obs": obs, "next_obs": next_obs})
        expected = model.encode(obs, next_obs)
        equal = codes == expected.indices.numpy()
        same.append(equal.ravel())
        difference = max(difference, float(np.abs(latents - expected.latents.numpy())[equal].max(initial=0.0)))
    agreement = Agreement(file.name, _NUM_CHECKED, float(np.concatenate(same).mean()), difference)
    if agreement.same < 0.999 or difference > 1e-5:
        raise _disagrees(agreement)
    return agreement


def _export_translator(translator: Translator, model: LatentActionModel, k: int, folder: Path) -> Agreement:
    graph = _Prefix(translator, k).eval()
    file = folder / f"translator-k{k}.onnx"
    _write(graph, _context(graph, model, 3), graph.names, ("action", "scores"), file)
    same, difference = [], 0.0
    for batch in _batches(_context(graph, model, _NUM_CHECKED)):
        action, scores = _run(file, dict(zip(graph.names, batch, strict=True)))
        with torch.no_grad():
            expected_action, expected = (x.numpy() for x in graph(*batch))
        num_choices = len(translator.codec.spec.num_choices)
        same.append((action[:, :num_choices] == expected_action[:, :num_choices]).all(-1))
        difference = max(difference, float((np.abs(scores - expected) / (1 + np.abs(expected))).max()))
    agreement = Agreement(file.name, _NUM_CHECKED, float(np.concatenate(same).mean()), difference)
    if difference > 1e-4:
        raise _disagrees(agreement)
    return agreement


def _frames(model: LatentActionModel, count: int, each: int) -> list[Tensor]:
    """Random frames that grow coarser, so that both noise and flat areas occur."""
    rng = numpy_generator(0, "onnx", count)
    height, width, channels = model.frame_shape
    frames = rng.integers(0, 256, (each, count, height, width, channels), dtype=np.uint8)
    for number in range(count):
        step = 1 + number % 8
        frames[:, number] = frames[:, number, np.arange(height) // step * step][:, :, np.arange(width) // step * step]
    return list(torch.from_numpy(frames))


def _context(graph: _Prefix, model: LatentActionModel, count: int) -> list[Tensor]:
    """Codes that exist, actions that can be (none at all in the first row), frames."""
    rng, spec = numpy_generator(0, "onnx", "context", count), graph.translator.codec.spec
    codes = rng.integers(0, model.quantizer.codebook_size, (count, model.num_slots))
    inputs = {"latents": model.quantizer.indices_to_latents(torch.from_numpy(codes))[:, : graph.prefix_length]}
    if "prev_action" in graph.names:
        choices = [rng.integers(0, n, count) for n in spec.num_choices]
        values = [rng.normal(size=count) for _ in range(spec.num_continuous)]
        inputs["prev_action"] = torch.from_numpy(np.stack([*choices, *values], 1).astype(np.float32))
        inputs["prev_action"][0] = float("nan")
    if "obs" in graph.names:
        inputs["obs"] = _frames(model, count, 1)[0]
    return [inputs[name] for name in graph.names]


def _batches(inputs: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    """The first row, the next seven, and the others: three sizes."""
    for start, end in ((0, 1), (1, 8), (8, None)):
        yield tuple(x[start:end] for x in inputs)


def _write(
    graph: nn.Module, inputs: Sequence[Tensor], names: Sequence[str], outputs: Sequence[str], file: Path
) -> None:
    every: list[Any] = [{0: _BATCH} for _ in inputs]
    if isinstance(graph, _Prefix) and len(inputs) > 1:
        every = [every[0], tuple(every[1:])]
    try:
        with torch.no_grad(), _quietly():
            program = torch.onnx.export(
                graph,
                tuple(inputs),
                dynamo=True,
                input_names=list(names),
                output_names=list(outputs),
                dynamic_shapes=tuple(every),
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(f"torch cannot write {file.name}: {error}") from error
    assert program is not None  # None is for the exporter that writes by itself
    program.save(str(file))


def _run(file: Path, inputs: dict[str, Tensor]) -> list[np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return [np.asarray(x) for x in session.run(None, {name: x.numpy() for name, x in inputs.items()})]


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """The exporter tells of its steps, of operators of other packages, and of its own deprecations."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _disagrees(agreement: Agreement) -> ExportError:
    return ExportError(
        f"{agreement.file} does not compute what torch does: {agreement.same:.2%} of its codes or choices are the "
        f"same, and figures differ by {agreement.largest_difference:.2g}. Nothing was kept. Try other "
        "versions of torch, onnxscript and onnxruntime, and report it."
    )


def _require_packages() -> None:
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ConfigError(f'Exporting to ONNX needs {", ".join(missing)}: pip install "flexlam[onnx]"')
