"""flexlam <verb>: the command line. Help imports no torch; a verb's module loads when the verb runs."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

from flexlam import __version__
from flexlam.core.errors import FlexlamError, did_you_mean

# verb -> (module, what it does). A verb of two words is a key of two words.
VERBS: dict[str, tuple[str, str]] = {
    "demo": ("flexlam.cli.demo", "the whole pipeline on a real 3-D game: record, train, align, act, report"),
    "collect": ("flexlam.cli.collect", "record episodes of a suite as a LeRobot dataset"),
    "data info": ("flexlam.cli.data_info", "look into a dataset or a frame store"),
    "data check": ("flexlam.cli.data_check", "find what would trouble training"),
    "data convert": ("flexlam.cli.data_convert", "build the frame store that training reads"),
    "data mix": ("flexlam.cli.data_mix", "read several frame stores as one, in given ratios"),
    "plan": ("flexlam.cli.plan", "what stage 1 would cost: time, memory, disk"),
    "train lam": ("flexlam.cli.train_lam", "stage 1: a latent action model, from video alone"),
    "train policy": (
        "flexlam.cli.train_policy",
        "stage 2: a policy that predicts latent actions, from video alone",
    ),
    "train translator": ("flexlam.cli.train_translator", "stage 3: codes to actions, from a few labels"),
    "train joint": ("flexlam.cli.train_joint", "stage 4: let the labels shape the codes too"),
    "train tuned-policy": (
        "flexlam.cli.train_tuned_policy",
        "let the labels shape a policy too, together with its translator",
    ),
    "encode": ("flexlam.cli.encode", "codes for every transition of a dataset, as columns for other tools"),
    "export model": ("flexlam.cli.export_model", "a folder to share, with a card; or the same on the Hugging Face Hub"),
    "export onnx": ("flexlam.cli.export_onnx", "encoder and translator as ONNX, checked against torch"),
    "eval alignment": ("flexlam.cli.eval_alignment", "action loss and accuracy at every k, beside baselines"),
    "eval reconstruction": ("flexlam.cli.eval_reconstruction", "PSNR and SSIM of decoded frames at every k"),
    "eval returns": ("flexlam.cli.eval_returns", "let the agent act at every k, beside controls and ceilings"),
    "eval latency": ("flexlam.cli.eval_latency", "milliseconds of a decision at every k, part by part"),
    "eval probes": ("flexlam.cli.eval_probes", "do codes tell of the action or of the background? at every k"),
    "report": ("flexlam.cli.report", "a page about a model on your own data"),
    "study": ("flexlam.cli.study", "a figure or table of the papers, cached and resumable, with computed verdicts"),
    "list": ("flexlam.cli.list_names", "every name in the catalogue"),
}

_CONTINUE = {
    **dict.fromkeys(
        ("train lam", "train policy", "train joint", "train tuned-policy", "demo"),
        " The same command with --resume continues.",
    ),
    **dict.fromkeys(("study", "encode", "data convert"), " The same command continues."),
    "train translator": " Nothing was written; the same command starts anew.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 0 done, 1 a check failed, 2 the user can mend it, 130 interrupted."""
    # Threads that spin for each other starve on a busy machine. Read by torch's OpenMP when it loads.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if arguments[0] in ("-V", "--version"):
        print(f"flexlam {__version__}")
        return 0
    with _sigterm_cleans_up():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    verb = ""
    try:
        verb, rest = _split(arguments)
        return import_module(VERBS[verb][0]).run(f"flexlam {verb}", rest) or 0
    except FlexlamError as error:
        print(f"flexlam: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        detail = f": {stop}" if str(stop) else ""
        hint = _CONTINUE.get(verb, "")
        print(f"\nflexlam: interrupted{detail}.{hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except OSError as error:
        print(f"flexlam: The system refused: {error}. Check paths, permissions and free space.", file=sys.stderr)
        return 2


@contextmanager
def _sigterm_cleans_up() -> Iterator[None]:
    """A polite kill, as schedulers send it, leaves as Ctrl-C does: nothing half-written stays behind."""

    def leave(number: int, frame: object) -> None:
        raise KeyboardInterrupt("told to stop")

    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _split(arguments: list[str]) -> tuple[str, list[str]]:
    """The verb and what follows it.

    Raises:
        FlexlamError: there is no such verb.
    """
    words = " ".join(arguments[:2])
    if words in VERBS:
        return words, arguments[2:]
    if arguments[0] in VERBS:
        return arguments[0], arguments[1:]
    under = [verb for verb in VERBS if verb.startswith(arguments[0] + " ")]
    if under and (len(arguments) == 1 or arguments[1].startswith("-")):
        print("\n".join(f"flexlam {verb:20} {VERBS[verb][1]}" for verb in under))
        sys.exit(0 if arguments[1:] in (["-h"], ["--help"]) else 2)
    raise FlexlamError(f"There is no verb {words if under else arguments[0]!r}. {did_you_mean(words, VERBS)}")


def _help() -> str:
    lines = [f"  {verb:20} {what}" for verb, (_, what) in VERBS.items()]
    return "\n".join(
        [
            f"flexlam {__version__}: learn actions from video.",
            "",
            "usage: flexlam VERB [OPTIONS]",
            "",
            *lines,
            "",
            "`flexlam VERB --help` explains a verb; `flexlam VERB PRESET --help` lists every setting of a preset.",
        ]
    )
