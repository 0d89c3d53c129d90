"""An engine that needs no model: it finds whatever stands between marks in the text."""

import json
import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ace_analysis.cli import app
from ace_analysis.cli.scanning import ExplainRequest, Progress, Scanner, ScanRequest
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.report.attribution import (
    Attribution,
    AttributionTarget,
    HeadScore,
    LatentScore,
    LayerScore,
    PartCheck,
    TargetKind,
    TokenScore,
)
from ace_analysis.report.finding import Evidence, Finding, ScopeReport, SiteScore
from ace_analysis.settings import EngineSettings
from ace_analysis.source.document import TextSpan
from ace_analysis.source.ignores import ignores_of

BUG = re.compile(r"BUG\w*")


@dataclass
class FakeEngine:
    """Finds the word BUG, one scope per line; `does` is called for each text first. Hides as the real one."""

    does: Callable[[ScanRequest], None] = lambda request: None
    loads: list[EngineSettings] = field(default_factory=list)
    asked: list[ScanRequest] = field(default_factory=list)
    explained: list[ExplainRequest] = field(default_factory=list)
    interrupt_after: int | None = None
    load_error: Exception | KeyboardInterrupt | None = None

    def load(self, settings: EngineSettings, progress: Progress) -> Scanner:
        self.loads.append(settings)
        progress("loading the fake", 0.5)
        if self.load_error is not None:
            raise self.load_error
        return self

    def info(self) -> Mapping[str, Any]:
        return {"model": "fake", "bundle": "fake bundle", "layer": 9}

    def scan(
        self,
        request: ScanRequest,
        cancelled: Callable[[], bool],
        on_scope: Callable[[ScopeReport], None],
    ) -> tuple[ScopeReport, ...]:
        self.asked.append(request)
        self.does(request)
        document, reports = request.document, []
        ignores = ignores_of(document)
        for number, match in enumerate(BUG.finditer(document.text)):
            if self.interrupt_after == number:
                signal.raise_signal(signal.SIGINT)
            if cancelled():
                raise Cancelled("by the test")
            span = TextSpan(*match.span())
            site = SiteScore(span=span, text=match[0], kind="comparison", score=0.9)
            evidence = Evidence("blocks.9.hook_resid_post/7", span, 3.0, 1.0, 0.5)
            finding = Finding(span=span, kind="comparison", score=0.9, threshold=0.5, evidence=(evidence,))
            report = ScopeReport(
                scope=span,
                name="f",
                findings=() if ignores.hide(document, span, "comparison") else (finding,),
                sites=(site,) if request.sites else (),
            )
            reports.append(report)
            on_scope(report)
        return tuple(reports)

    def explain(
        self, request: ExplainRequest, cancelled: Callable[[], bool], progress: Progress
    ) -> Attribution:
        """The word at the offset, a finding where it is BUG; its neighbours push it up and down."""
        self.explained.append(request)
        progress("explaining", None)
        if self.interrupt_after == 0:
            signal.raise_signal(signal.SIGINT)
        if cancelled():
            raise Cancelled("by the test")
        text = request.document.text
        if text[request.offset] == "#":
            raise InputError("expected a place in a function")
        word = next(match for match in re.finditer(r"\S+", text) if match.end() > request.offset)
        span = TextSpan(*word.span())
        why = attribution_of(span, word[0], TextSpan(0, 3), text[:3])
        checks = (PartCheck(0, 3, -2.0, -1.0), PartCheck(1, None, -0.75, 0.5))
        return replace(why, checks=checks[: request.check])


def attribution_of(span: TextSpan, word: str, other: TextSpan, text: str) -> Attribution:
    is_bug = word.startswith("BUG")
    target = AttributionTarget(
        kind=TargetKind.FINDING if is_bug else TargetKind.TOKEN,
        span=span,
        text=word,
        description=f"evidence that {word!r} is wrong here",
        finding_kind="comparison" if is_bug else None,
        probability=0.9,
        threshold=0.5 if is_bug else None,
        alternative=None if is_bug else ">\n",
        alternative_probability=None if is_bug else 0.05,
    )
    latent = LatentScore(
        latent=7,
        feature="blocks.9.hook_resid_post/7",
        activation=3.0,
        threshold=1.0,
        score=1.5,
        span=span,
        label="fires most on 'BUG'",
    )
    return Attribution(
        target=target,
        unit="log-odds" if is_bug else "logits",
        value=2.0,
        latents=(latent,) if is_bug else (),
        heads=tuple(HeadScore(layer, head, 1.0 - layer - head) for layer in range(3) for head in range(4)),
        layers=(LayerScore(1, -0.5, -0.75), LayerScore(0, 0.5, 0.25)),
        tokens=(TokenScore(span, word, 1.0), TokenScore(other, text, -0.5), TokenScore(None, "gone", 0.0)),
        constant=-0.25,
        other_latents=0.75,
        unexplained=0.125,
        method="by hand",
        notes=("It is no proof.",),
    )


@dataclass(frozen=True)
class Done:
    """What a command left: its exit code and what it wrote."""

    exit_code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def ace(project: Path, engine: FakeEngine) -> Callable[..., Done]:
    """Run the command line in this process, with the fake engine behind its door."""

    def run(*arguments: str, stdin: str | bytes | None = None) -> Done:
        done = CliRunner().invoke(app, list(arguments), input=stdin, obj=engine.load, prog_name="ace")
        return Done(done.exit_code, done.stdout, done.stderr)

    return run
