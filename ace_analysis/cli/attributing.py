"""What `ace bench attribution` runs, and how it is told."""

import gc
import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import typer
from jaxtyping import Int
from rich.table import Table
from torch import Tensor

from ace_analysis.cli.benching import chosen_bundle
from ace_analysis.cli.messages import tell
from ace_analysis.cli.pulling import PullReporter
from ace_analysis.cli.scanning import interruptible
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.attribution import (
    AttributionOptions,
    Measured,
    Progress,
    measure_prompts,
)
from ace_analysis.evaluation.attribution_agreement import GROUPS
from ace_analysis.evaluation.attribution_curves import SHARES
from ace_analysis.evaluation.attribution_prompts import (
    AttributionPrompt,
    Kind,
    PromptOptions,
    finding_prompts,
    token_prompts,
)
from ace_analysis.evaluation.attribution_records import Records
from ace_analysis.evaluation.attribution_recovery import RecoveryOptions, measure_recovery
from ace_analysis.evaluation.attribution_report import report_of
from ace_analysis.evaluation.held_out import KEPT, installed_functions
from ace_analysis.evaluation.known_circuits import TASKS
from ace_analysis.features.bundle import Bundle
from ace_analysis.model.causal import load_causal
from ace_analysis.model.devices import chosen_device
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner, never
from ace_analysis.settings import EngineSettings, cache_dir, load_settings

VERSION = 1
INTERRUPTED = 130
PROMPTS = "prompts"
FUNCTIONS = 600
"""Drawn from, whatever is asked for, so that more texts begin with the same ones. Most functions have no
planted bug that is found and read within the first tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionRequest:
    """What the command line asks for; see `ace bench attribution --help`."""

    findings: int = 40
    tokens: int = 40
    most_tokens: int = 64
    models: int = 5
    seed: int = 0
    folder: Path | None = None
    measure: AttributionOptions = field(default_factory=AttributionOptions)

    @property
    def prompts(self) -> PromptOptions:
        return PromptOptions(most_tokens=self.most_tokens, seed=self.seed)


def run_in_order(request: AttributionRequest, *, quiet: bool) -> dict[str, Any]:
    """`run_attribution` with progress on stderr; Ctrl-C ends it in order, with the command that goes on."""
    try:
        with PullReporter(quiet=quiet) as progress, interruptible() as cancelled:
            return run_attribution(request, progress, cancelled)
    except Cancelled as stopped:
        tell(f"ace: {stopped}")
        tell(f"ace: to go on, run the same command again: {shlex.join(['ace', *sys.argv[1:]])}")
        raise typer.Exit(INTERRUPTED) from stopped


def run_attribution(
    request: AttributionRequest, progress: Progress, cancelled: Callable[[], bool] = never
) -> dict[str, Any]:
    """Agreement, cost and curves on the settings' model, and recovery on hand-built models.

    Raises:
        Cancelled: the caller asked to stop; what was measured is kept, and the next run goes on there.
    """
    settings = load_settings(Path.cwd())
    bundle = chosen_bundle(None, settings)
    run = _Run(request, settings, bundle, progress, cancelled)
    report: dict[str, Any] = {
        "version": VERSION,
        "model": bundle.model,
        "bundle": str(bundle.folder),
        "folder": str(run.folder),
    }
    wanted: dict[Kind, int] = {"finding": request.findings, "token": request.tokens}
    for kind, count in wanted.items():
        if count:
            report[f"{kind}s"] = run.measured(kind, count)
            gc.collect()
    if request.models:
        options = RecoveryOptions(models=request.models)
        found = measure_recovery(options, progress=progress, cancelled=cancelled)
        report["recovery"] = {
            name: {task: each.as_json() for task, each in tasks.items()} for name, tasks in found.items()
        }
    return report


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    request: AttributionRequest
    settings: EngineSettings
    bundle: Bundle
    progress: Progress
    cancelled: Callable[[], bool]

    @property
    def folder(self) -> Path:
        about = json.dumps(self._about, sort_keys=True)
        name = f"attribution-{hashlib.sha256(about.encode()).hexdigest()[:16]}"
        return self.request.folder or cache_dir() / KEPT / name

    @property
    def _about(self) -> dict[str, Any]:
        """What has to be the same for records to belong together; how many there are may change."""
        how, prompts = self.settings.model, asdict(self.request.prompts)
        del prompts["count"]
        return {
            "fingerprint": self.bundle.fingerprint,
            "bundle": self.bundle.identity(),
            "device": str(chosen_device(how.device)),
            "dtype": how.dtype,
            "prompts": prompts,
        }

    def measured(self, kind: Kind, count: int) -> dict[str, Any]:
        """One kind's report, with the model that it needs."""
        name, how = self.settings.model.name, self.settings.model
        self.progress(f"loading {name}", None)
        if kind == "finding":
            layer = self.bundle.layer
            scanner = load_scanner(name, device=how.device, dtype=how.dtype, n_blocks=layer + 1)
            measured = Measured(scanner, lambda ids: scanner.resid_post(ids, layer), self.bundle)
        else:
            causal = load_causal(name, device=how.device, dtype=how.dtype)
            scanner, model = causal.scanner, causal.model
            measured = Measured(model, lambda ids: _next_token(model, ids), self.bundle)
        self.bundle.check_fingerprint(scanner.info.fingerprint)
        records = Records(self.folder, self._about)
        prompts = self._prompts(kind, count, scanner, records)
        measure_prompts(
            measured,
            prompts,
            records,
            self.request.measure,
            progress=self.progress,
            cancelled=self.cancelled,
        )
        about = {"device": str(scanner.info.device), "dtype": str(scanner.info.dtype).removeprefix("torch.")}
        return {**about, **report_of(records, prompts, self.request.measure)}

    def _prompts(
        self, kind: Kind, count: int, scanner: ResidualScanner, records: Records
    ) -> list[AttributionPrompt]:
        """The texts of this measurement: those that are kept, where they are enough."""
        kept = records.get("", PROMPTS, kind) or {"prompts": [], "count": 0}
        if kept["count"] < count:
            functions = installed_functions(FUNCTIONS, seed=self.request.seed, progress=self.progress)
            options = replace(self.request.prompts, count=count)
            if kind == "finding":
                prompts = finding_prompts(functions, scanner, self.bundle, options, progress=self.progress)
            else:
                prompts = token_prompts(functions, scanner.tokenizer, options)
            kept = records.put("", PROMPTS, kind, prompts=[asdict(each) for each in prompts], count=count)
        found = [AttributionPrompt.of(each) for each in kept["prompts"][:count]]
        if not found:
            raise InputError(
                f"expected installed functions with {kind}s within {self.request.most_tokens} tokens,"
                " found none; allow more tokens"
            )
        return found


def _next_token(model: Any, ids: Int[Tensor, "1 pos"]) -> Any:
    """The plain forward, with the last position's logits alone."""
    with torch.no_grad():
        return model(input_ids=ids.to(model.device), use_cache=False, logits_to_keep=1)


def tables_of(report: Mapping[str, Any]) -> list[Table]:
    """What a person reads of a report."""
    tables = []
    for name in ("findings", "tokens"):
        if name in report:
            part = report[name]
            of = f"{name} ({part['prompts']} texts, {part['projects']} projects, {part['device']})"
            for which, truth in (("agreement", ""), ("agreement_linear", ", target held linear")):
                tables += [
                    _agreement(of, f"{how} ablation{truth}", rows) for how, rows in part[which].items()
                ]
            tables += [_costs(of, part), _curves(f"{of}, {part['curves_of']} ablation", part["curves"])]
    if "recovery" in report:
        tables.append(_recovery(report["recovery"]))
    return tables


def _agreement(of: str, truth: str, rows: Mapping[str, Any]) -> Table:
    table = _table(f"{of}: correlation with exact {truth}", "method", "texts")
    for group in GROUPS:
        for kind in ("pearson", "spearman"):
            table.add_column(f"{group} {kind}", justify="right", no_wrap=True)
    for method, row in rows.items():
        cells = (_cell(row[group][kind]) for group in GROUPS for kind in ("pearson", "spearman"))
        table.add_row(method, f"{row['prompts']}", *cells)
    return table


def _costs(of: str, part: Mapping[str, Any]) -> Table:
    table = _table(f"{of}: cost, medians", "part", "texts", "seconds", "plain forward passes")
    for name, row in part["cost"].items():
        table.add_row(name, f"{row['prompts']}", f"{row['seconds']:.3f}", f"{row['forward_passes']:.1f}")
    table.add_section()
    for name, value in part["speed"].items():
        table.add_row(name.replace("_", " "), "", "", "-" if value is None else f"{value:.1f}")
    return table


def _curves(of: str, rows: Mapping[str, Any]) -> Table:
    table = _table(f"{of}: faithfulness of the best nodes alone", "ranked by", "texts", "CPR", "CMD")
    for share in SHARES[1:]:
        table.add_column(f"{share:.1%}", justify="right")
    for name, row in rows.items():
        points = (f"{value:.2f}" for value in row["by_push"][1:])
        table.add_row(name, f"{row['prompts']}", _cell(row["cpr"]), _cell(row["cmd"]), *points)
    return table


def _recovery(rows: Mapping[str, Any]) -> Table:
    table = _table("hand-built models: ROC AUC of the known circuit's nodes", "method", *TASKS)
    for name, tasks in rows.items():
        table.add_row(name, *(_cell(tasks[task]) for task in TASKS))
    return table


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _cell(interval: Mapping[str, float | None] | None) -> str:
    if interval is None or interval["value"] is None:
        return "-"
    value, low, high = interval["value"], interval["low"], interval["high"]
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f}\n{low:.2f}–{high:.2f}"
