"""flexlam export onnx RUN --out OUT."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from flexlam.cli.options import Output
from flexlam.cli.parse import parse_options


@dataclass(frozen=True, kw_only=True)
class ExportOnnx(Output):
    """Encoder and translator as ONNX graphs of any batch size, checked against torch."""

    run: tyro.conf.Positional[Path]
    """A run of stage 1 (or of joint alignment), or a released model."""
    translator: Path | None = None
    """A translator of the run's codes; a graph is written for each prefix length."""
    prefix_lengths: tuple[int, ...] = ()
    """The k to write the translator for; by default those it serves, of one that serves all 1, 2, 4, ... and K."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Export and tell how well the graphs agree with torch."""
    options = parse_options(ExportOnnx, prog, arguments)
    from flexlam.export.onnx import export_onnx

    found = export_onnx(options.run, options.out, options.translator, options.prefix_lengths, options.overwrite)
    for graph in found:
        print(
            f"{options.out / graph.file}: {graph.same:.2%} the same as torch on {graph.num_inputs} inputs, "
            f"largest difference {graph.largest_difference:.1g}"
        )
