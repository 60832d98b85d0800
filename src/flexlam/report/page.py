"""The self-contained page: one HTML file that reads anywhere, offline, and loads nothing."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from flexlam.core.files import write_text
from flexlam.report.acting_figures import latency_figures, return_figures
from flexlam.report.clips import RolloutClip, clips_html
from flexlam.report.document import date, document, figures, header, made, marked, section, tables, verdict_box
from flexlam.report.figures import quality_figures, training_figures, usage_figures
from flexlam.report.headline import acting, facts, headline
from flexlam.report.inputs import HealthSummary, Latency, Results, Returns
from flexlam.report.predictions import PredictedTransition
from flexlam.report.returns import latency_table, return_comparisons_table, returns_table
from flexlam.report.sweeps import PrefixSweep, Strip, amplification, check_sweep, sweeps_html
from flexlam.report.table import comparisons_table, results_table

_VERDICT_CLASSES = {"ready to align": "good", "still learning": "warn", "collapsed": "bad"}
_VERDICT_WORDS = {
    "ready to align": "The codes carry what changes between frames.",
    "still learning": "The codes carry little so far, and training has not settled; more of it should pay.",
    "collapsed": "The codes carry next to nothing, so labels cannot be aligned with them.",
}


def write_report(
    path: Path,
    results: Mapping[str, Any],
    sweeps: Sequence[PrefixSweep],
    metrics: Sequence[Mapping[str, Any]],
    health: Mapping[str, Any],
    *,
    clips: Sequence[RolloutClip] = (),
    predictions: Sequence[PredictedTransition] = (),
    reader: str = "",
) -> None:
    """Write the page.

    `results` holds what results.json does, `metrics` the rows of metrics.jsonl, `health` is `Health.to_json()`;
    `reader` tells what the translator of the clips has learned from.

    Raises:
        ConfigError: needed values are missing or bad.
        DataError: a frame of a sweep, a clip or a prediction cannot be pictured.
        OutputError: the disk is full or the place cannot be written.
    """
    page = report_html(results, sweeps, metrics, health, clips=clips, predictions=predictions, reader=reader)
    write_text(path, page)


def report_html(
    results: Mapping[str, Any],
    sweeps: Sequence[PrefixSweep],
    metrics: Sequence[Mapping[str, Any]],
    health: Mapping[str, Any],
    *,
    clips: Sequence[RolloutClip] = (),
    predictions: Sequence[PredictedTransition] = (),
    reader: str = "",
) -> str:
    """The page as text; see `write_report`."""
    checked = Results.load(dict(results))
    codes = HealthSummary.parse(dict(health), "the health of the codes")
    strips: list[Strip] = [*sweeps, *predictions]
    for strip in strips:
        check_sweep(strip)
    sections = [
        _acting(checked.returns),
        _clips(clips, reader),
        _latency(checked.latency),
        _quality(checked),
        _table(checked),
        _sweeps(sorted(sweeps, key=lambda sweep: sweep.task)),
        _predictions(sorted(predictions, key=lambda prediction: prediction.task)),
        _codes(codes),
        _training(metrics),
        _provenance(checked),
    ]
    return document(f"flexlam {checked.kind}: quality over prefix length", _header(checked, codes), sections)


def _header(results: Results, health: HealthSummary) -> str:
    places = f"{len(results.tasks)} tasks" if len(results.tasks) > 1 else "".join(results.tasks)
    over = (f"flexlam {results.kind}", places, date(results.created))
    cells = "".join(
        f"<div><dt>{escape(fact.name)}</dt><dd>{escape(fact.value)}</dd><small>{escape(fact.note)}</small></div>"
        for fact in facts(results, health)
    )
    return header(over, headline(results), f'<dl class="facts">{cells}</dl>')


def _acting(returns: Returns | None) -> str:
    if returns is None:
        return ""
    rule = ", ".join(f"{name} = {value}" for name, value in returns.rule.items())
    note = (
        f"The agent sees frames, predicts k codes with the sequence model, and translates them with "
        f"{returns.num_labels} labels{f' (translator “{returns.translator}”)' if returns.translator else ''}. "
        f"{f'One rule for all methods: {rule}. ' if rule else ''}± and bars are one standard error over episodes; "
        "leads are paired by the seed of the episode. Dashed lines: controls and what uses the same labels; "
        "solid: ceilings, which use more."
    )
    said = "".join(f'<p class="said">{marked(sentence)}</p>' for sentence in acting(returns))
    shown = tables(returns_table(returns), return_comparisons_table(returns))
    return section("How it acts", note, said + figures(return_figures(returns)) + shown)


def _latency(latency: Latency | None) -> str:
    if latency is None:
        return ""
    warm = f" after {latency.num_warmup} to warm up" if latency.num_warmup else ""
    counts = f"{latency.num_steps} decisions{warm}, one at a time" if latency.num_steps else "One decision at a time"
    samples = f", {latency.num_samples} code samples in each" if latency.num_samples else ""
    fitted = ""
    if latency.fit:
        seen = ", ".join(map(str, latency.fit.fitted_on))
        on = f" on k = {seen}" if seen else ""
        fitted = f" The dashed line is c + b k, fitted{on}; hollow points had no part in it."
    note = f"{counts}{samples}. Areas are the means of the parts, points the mean of the whole.{fitted}"
    return section("How fast it decides", note, figures(latency_figures(latency)) + tables(latency_table(latency)))


def _clips(clips: Sequence[RolloutClip], reader: str) -> str:
    if not clips:
        return ""
    recorded = all(clip.episode_return is None for clip in clips)
    frames = "Frames as they were recorded" if recorded else "Frames of the environment as the agent saw them"
    codes = "the codes of the last transitions" if recorded else "the codes it predicted in the last steps"
    action = "what the translator reads in them" if recorded else "the action it took"
    note = (
        f"{frames}. Below each, {codes}: a column a step, the newest wide at the right, a row a slot; the same code of "
        f"a slot always has the same colour. Then {action}. {reader} Closing a clip stops it."
    )
    return section("Clips", note, clips_html(clips))


def _predictions(predictions: Sequence[PredictedTransition]) -> str:
    if not predictions:
        return ""
    gain = amplification(predictions)
    note = (
        "A frame, the frame that followed, what the decoder makes of that transition’s own codes (encoded), and what "
        "it makes of k codes that the sequence model predicted before it saw the frame that followed. Below each "
        f"stands its absolute difference to the frame that followed, {gain} times amplified, and its PSNR. A "
        "prediction may differ from what came and yet be sound."
    )
    return section("What it expects", note, sweeps_html(predictions, gain, "Predicted transition"))


def _quality(results: Results) -> str:
    draws = f", the translator’s over {results.num_draws} draws of the labels" if results.num_draws else ""
    note = (
        "One model serves every prefix length: only the first k slots of the code are kept, the rest is "
        f"replaced by the null latent. Bars are standard errors{draws}; dashed lines are baselines of the table below."
    )
    return section("Quality over prefix length", note, figures(quality_figures(results)))


def _table(results: Results) -> str:
    if not results.aligned:
        note = f"Held-out transitions; decoder “{results.decoder}”. Bits are the nominal capacity of k slots."
        return section("Measured values", note, tables(results_table(results)))
    num_actions = results.num_actions or len(results.action_names)
    count = f" over {num_actions} actions" if num_actions else ""
    test = "Held-out transitions" + (f" ({results.num_test:,} for the translator)" if results.num_test else "")
    note = (
        f"{test}; translator “{results.translator}” with {results.num_labels} labels{count}, "
        f"decoder “{results.decoder}”. Bits are the nominal capacity of k slots; ± is one standard error. The "
        "previous-action baseline is a table of what follows what; inverse dynamics is trained on the same labels; "
        "shuffled codes belong to other transitions."
    )
    if any(row.predicted_action_loss is not None for row in results.rows):
        note += " The sequence model’s predicted codes are what the translator is fed when acting."
    return section("Measured values", note, tables(results_table(results), comparisons_table(results)))


def _sweeps(sweeps: Sequence[PrefixSweep]) -> str:
    if not sweeps:
        return ""
    gain = amplification(sweeps)
    note = (
        "A frame, the frame that followed, and what the decoder makes of the first frame and k slots of the "
        f"code. Below each stands its absolute difference to the frame that followed, {gain} times amplified "
        "(black: none), and its PSNR."
    )
    return section("Prefix sweeps", note, sweeps_html(sweeps, gain))


def _codes(health: HealthSummary) -> str:
    state = _VERDICT_CLASSES.get(health.verdict, "plain")
    words = f"{_VERDICT_WORDS.get(health.verdict, '')} Reason: {health.reason}.".strip()
    verdict = verdict_box(state, health.verdict, words)
    shuffled = ""
    if health.shuffle_ratio is not None:
        ratio = f"{health.shuffle_ratio:.2f}"
        shuffled = f" With the codes of other transitions the decoding error is {ratio} times as large."
    note = (
        f"On validation transitions the slots hold {health.bits_used:.1f} bits taken one by one, of "
        f"{health.bits_nominal:.1f} that would fit.{shuffled}"
    )
    return section("What the codes do", note, verdict + figures(usage_figures(health)))


def _training(metrics: Sequence[Mapping[str, Any]]) -> str:
    charts = training_figures(metrics)
    if not charts:
        return ""
    return section("Training", "The latent action model, trained without any action label.", figures(charts))


def _provenance(results: Results) -> str:
    entries: dict[str, Any] = {
        **{name.replace("_", " "): value for name, value in results.machine.items()},
        "tasks": ", ".join(results.tasks),
        "configuration": results.config_hash,
        "data": results.data_hash,
        **{f"parent: {name}": value for name, value in results.parent_hashes.items()},
        **results.versions,
    }
    return made(results.command, results.created, entries)
