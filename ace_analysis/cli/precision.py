"""`ace bench precision`: what it runs, and how it is told. The options are in bench_precision.py."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from ace_analysis.cli.benching import chosen_bundle
from ace_analysis.errors import InputError
from ace_analysis.evaluation.attribution_prompts import PromptOptions, finding_prompts
from ace_analysis.evaluation.precision import PrecisionCase, PrecisionOptions, measure_precision
from ace_analysis.model.disk import Progress
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import never
from ace_analysis.settings import load_settings
from ace_analysis.source.installed import standard_library

VERSION = 1
MEGABYTE = 2**20
FUNCTIONS = 600
"""Read in search of planted bugs that are found; most have none within the first tokens. They need not be
held out: the model in full precision is its own reference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRequest:
    """What the command line asks for; see `ace bench precision --help`."""

    findings: int = 3
    most_tokens: int = 48
    seed: int = 0
    measure: PrecisionOptions = field(default_factory=PrecisionOptions)


def run_precision(
    request: PrecisionRequest, progress: Progress, cancelled: Callable[[], bool] = never
) -> dict[str, Any]:
    """The report of `measure_precision` on the settings' model up to its bundle's layer, as plain data.

    Raises:
        InputError: no planted bug is found in texts as short as asked for.
        Cancelled: the caller asked to stop.
    """
    settings = load_settings(Path.cwd())
    bundle = chosen_bundle(None, settings)
    name = settings.model.name
    progress(f"loading {name}", None)
    scanner = load_scanner(name, device=settings.model.device, dtype=torch.float32, n_blocks=bundle.layer + 1)
    bundle.check_fingerprint(scanner.info.fingerprint)
    options = PromptOptions(count=request.findings, most_tokens=request.most_tokens, seed=request.seed)
    functions = list(islice(standard_library().functions(), FUNCTIONS))
    prompts = finding_prompts(functions, scanner, bundle, options, progress=progress)
    if not prompts:
        raise InputError(
            f"expected a planted bug that is found within {request.most_tokens} tokens, got none in"
            f" {len(functions)} functions; allow longer texts"
        )
    cases = [PrecisionCase(torch.tensor([each.ids]), each.target(bundle)) for each in prompts]
    report = measure_precision(scanner, cases, request.measure, progress=progress, cancelled=cancelled)
    return {
        "version": VERSION,
        "model": scanner.info.name,
        "device": str(scanner.info.device),
        "blocks": scanner.n_blocks,
        "texts": [each.name for each in prompts],
        **report.to_json(),
    }


def tables_of(measured: Mapping[str, Any]) -> Iterator[Table]:
    """Memory of each background; then how each method's scores agree with full precision's."""
    yield _memory(measured)
    for row in measured["rows"]:
        table = _table(
            f"{row['quantization']['background']} beside fp32, {measured['cases']} texts of"
            f" {measured['tokens']:,} tokens, {measured['blocks']} blocks",
            ("scores", "Spearman", "lowest", "Pearson", "error", "compared", "seconds", "of fp32's"),
        )
        for method, agreed in row["agreement"].items():
            seconds, full = row["seconds"].get(method), measured["seconds"].get(method)
            table.add_row(
                method,
                *(_number(agreed[name]) for name in ("spearman", "lowest_spearman", "pearson", "error")),
                f"{agreed['scores']:,}",
                "-" if seconds is None else f"{seconds:.1f}",
                "-" if seconds is None or not full else f"{seconds / full:.2f}",
            )
        yield table


def _memory(measured: Mapping[str, Any]) -> Table:
    title = f"{measured['model']}, {measured['blocks']} blocks: megabytes held before and after"
    table = _table(title, ("background", "weights", "process", "GPU", "weights' error"))
    for row in measured["rows"]:
        report = row["quantization"]
        pairs = ("bytes", "resident", "device")
        table.add_row(
            report["background"],
            *(_megabytes(report[f"{name}_before"], report[f"{name}_after"]) for name in pairs),
            f"{report['relative_error']:.1e}",
        )
    return table


def _table(title: str, headings: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left", no_wrap=True)
    return table


def _megabytes(before: int | None, after: int | None) -> str:
    if before is None or after is None:
        return "-"
    return f"{before / MEGABYTE:,.0f} to {after / MEGABYTE:,.0f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
