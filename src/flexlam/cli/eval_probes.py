"""flexlam eval probes PRESET --lam RUN --data STORE."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flexlam.cli.measure import Measurement, open_measured, write_results
from flexlam.cli.parse import parse_with_preset
from flexlam.core.errors import OutputError


@dataclass(frozen=True, kw_only=True)
class EvalProbes(Measurement):
    """Measure whether codes tell of the action or of the background, at every prefix length."""

    twin: Path | None = None
    """Frame store of the same games before other backgrounds (collect with another --overlay-seed): codes of both are
    compared."""
    page: Path | None = None
    """Write a page with pictures to this .html file, too."""


def run(prog: str, arguments: Sequence[str]) -> None:
    """Parse, measure, print tables and a verdict."""
    options, settings = parse_with_preset(EvalProbes, "probes", prog, arguments)
    if options.page is not None and options.page.suffix.lower() != ".html":
        raise OutputError(f"{options.page} is no page; give a name that ends in .html.")
    from flexlam.evaluate.probes import measure_probes
    from flexlam.report.leakage import probes_table, reactions_table, write_leakage
    from flexlam.study.showing import moves_elsewhere
    from flexlam.training.pairs import open_twin

    opened = open_measured(options, "probes", " ".join([prog, *arguments]), settings)
    twin = None if options.twin is None else open_twin(options.twin, opened.pairs.store)
    if twin is not None:
        opened.record["parent_hashes"]["twin"] = twin.content_hash
    results = opened.record | measure_probes(opened.lam, opened.pairs, settings, twin)
    write_results(options, results)
    table = probes_table(results["rows"], results["chance"])
    shown = [table] if len(table.header) > 1 else []
    print("\n\n".join(shown.to_text() for shown in (*shown, reactions_table(results["rows"]))))
    print(f"\nVerdict: this model {results['verdict']} ({results['reason']}).")
    if options.page is not None:
        write_leakage(options.page, results, moves_elsewhere(opened.lam, opened.pairs, twin, settings.seed))
        print(f"Page: {options.page}")
