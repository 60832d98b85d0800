"""flexlam collect PRESET --out DATASET."""

from collections.abc import Sequence
from dataclasses import dataclass

from flexlam.cli.options import Output, overlays_by_name
from flexlam.cli.parse import parse_with_preset


@dataclass(frozen=True, kw_only=True)
class Collect(Output):
    """Record episodes of a suite as a LeRobot v3.0 dataset, lossless."""

    no_actions: bool = False
    """Leave the actions out (stages 1 and 2 need none)."""
    overlay: tuple[str, ...] = ()
    """Exogenous nuisance over the frames, by name (flexlam list overlay), in this order."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse and record."""
    options, settings = parse_with_preset(Collect, "recording", prog, arguments)
    from flexlam.acting.recording import make_suite, record
    from flexlam.core.progress import progress

    if options.overlay:
        settings = settings.model_copy(update={"overlays": overlays_by_name(options.overlay)})
    tasks = settings.tasks or make_suite(settings).tasks
    with progress(settings.num_frames * len(tasks), "Recording", "frame") as bar:
        record(settings, options.out, not options.no_actions, options.overwrite, bar.update)
    print(f"Dataset: {options.out}")
