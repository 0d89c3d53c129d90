"""`ace fix`, from FILE[:LINE] to fixes: which place is meant, what could stand there, and writing it back."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ace_analysis.cli.scanning import (
    EngineScanner,
    Progress,
    Scanner,
    ScanRequest,
    load_engine,
    results_alone_on_stdout,
)
from ace_analysis.errors import InputError
from ace_analysis.report.finding import Finding
from ace_analysis.report.repair import Fix
from ace_analysis.settings import EngineSettings
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.replacing import SourceFile, check_writable

if TYPE_CHECKING:
    from ace_analysis.engine import FixOptions

_PLACE = re.compile(r"(.+?):(\d+)(?::\d+)?:?")


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCommand:
    """What the user wants to decide, by giving it or by saying that the setting may run."""

    __test__ = False  # not a test, whatever pytest makes of the name

    command: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FixPlan:
    """One file, the line (from 1) that is wrong in it or None, and how it is repaired.

    `writes`: the file will be written to, so one that is read-only is refused before there is any work in it.
    """

    path: Path
    line: int | None
    settings: EngineSettings
    writes: bool = False
    candidates: int | None = None
    most: int = 5
    test: TestCommand | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FixRequest:
    """What is asked of the engine: a place of a text, and the plan with the file that it comes from."""

    document: CodeDocument
    place: TextSpan | int
    plan: FixPlan
    source: SourceFile


class Repairer(Scanner, Protocol):
    """What `ace fix` needs of an engine."""

    def fix(self, request: FixRequest, cancelled: Callable[[], bool], progress: Progress) -> tuple[Fix, ...]:
        """Raises Cancelled soon after `cancelled()` has become true."""
        ...


LoadRepairer = Callable[[EngineSettings, Progress], Repairer]


@dataclass(frozen=True, slots=True, eq=False)
class EngineRepairer(EngineScanner):
    """The real one."""

    def fix(self, request: FixRequest, cancelled: Callable[[], bool], progress: Progress) -> tuple[Fix, ...]:
        with results_alone_on_stdout():
            return self.engine.fix(
                request.document,
                request.place,
                options=_options(request),
                cancelled=cancelled,
                progress=progress,
            )


def _options(request: FixRequest) -> "FixOptions":
    from ace_analysis.engine import FixOptions
    from ace_analysis.steering.user_tests import TestPlan

    plan, test = request.plan, request.plan.test
    return FixOptions(
        candidates=plan.candidates,
        most=plan.most,
        test=None if test is None else TestPlan(command=test.command, path=plan.path, seconds=test.seconds),
        encode=request.source.encoded,
    )


def load_repairer(settings: EngineSettings, progress: Progress) -> Repairer:
    """Load the model and the bundle that the settings name."""
    scanner = load_engine(settings, progress)
    if not isinstance(scanner, EngineScanner):
        raise InputError(f"expected the engine's own scanner, got {type(scanner).__name__}")
    return EngineRepairer(scanner.engine)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """What came of it: the file as it was read, the line and the finding that fixes are for, and these."""

    source: SourceFile
    document: CodeDocument
    line: int | None
    finding: Finding | None
    fixes: tuple[Fix, ...]


def target_of(text: str) -> tuple[Path, int | None]:
    """FILE[:LINE] as a path and a line; a column behind the line is passed over."""
    if not Path(text).exists() and (match := _PLACE.fullmatch(text)) is not None:
        return Path(match[1]), int(match[2])
    return Path(text), None


def fixes_of(plan: FixPlan, load: LoadRepairer, cancelled: Callable[[], bool], progress: Progress) -> Fixed:
    """Fixes of the line, or of the finding with the highest score for which there are any.

    Raises:
        StorageError: a read-only file that will be written to.
        InputError: a file that can't be read, a line that it doesn't have or that is empty, or a command for
            the tests that can't be started: told before a model is loaded.
        Cancelled: soon after `cancelled()` has become true.
    """
    source = _read(plan)
    document = CodeDocument(uri=plan.path.as_posix(), text=source.text)
    _check_line(document, plan)
    if not source.text.strip():
        return Fixed(source=source, document=document, line=plan.line, finding=None, fixes=())
    _check_command(plan)
    engine = load(plan.settings, progress)
    found = _findings(engine, document, plan, cancelled)
    if plan.line is not None:
        request = FixRequest(document=document, place=plan.line, plan=plan, source=source)
        fixes = engine.fix(request, cancelled, progress)
        finding = next(iter(found), None)
        return Fixed(source=source, document=document, line=plan.line, finding=finding, fixes=fixes)
    for finding in found:
        request = FixRequest(document=document, place=finding.span, plan=plan, source=source)
        if fixes := engine.fix(request, cancelled, progress):
            line, _ = document.line_column(finding.span.start)
            return Fixed(source=source, document=document, line=line, finding=finding, fixes=fixes)
    return Fixed(source=source, document=document, line=None, finding=next(iter(found), None), fixes=())


def _read(plan: FixPlan) -> SourceFile:
    try:
        if plan.path.is_dir():
            raise InputError("expected a file, got a folder; name a file in it")
        source = SourceFile.read(plan.path, plan.settings.check.max_file_bytes)
    except InputError as error:
        raise InputError(f"{plan.path}: {error}") from error
    if plan.writes:
        check_writable(plan.path)
    return source


def _check_line(document: CodeDocument, plan: FixPlan) -> None:
    if plan.line is None:
        return
    ends_open = len(document.line_starts) > 1 and document.line_starts[-1] == len(document)
    count = len(document.line_starts) - ends_open
    if not 1 <= plan.line <= count:
        raise InputError(f"{plan.path}: expected a line from 1 to {count}, got {plan.line}")
    if document.text.strip() and not document.line_text(plan.line).strip():
        raise InputError(
            f"{plan.path}:{plan.line}: expected a line with code on it, got an empty one; name another"
        )


def _check_command(plan: FixPlan) -> None:
    """What can't be run is told at once, and not when candidates have been written for it."""
    if plan.test is None:
        return
    from ace_analysis.steering.user_tests import TestPlan, project_root

    test = TestPlan(command=plan.test.command, path=plan.path, seconds=plan.test.seconds)
    program = test.arguments[0]
    if Path(program).name != program:
        program = str(project_root(plan.path) / program)
    if shutil.which(program) is None:
        raise InputError(
            f"expected a command for the tests that can be run, got {test.arguments[0]!r}, which is neither"
            " on the PATH nor in the project"
        )


def _findings(
    engine: Repairer, document: CodeDocument, plan: FixPlan, cancelled: Callable[[], bool]
) -> list[Finding]:
    """Those of the file, or of the line alone, the highest score first."""
    only = None if plan.line is None else (_span_of_line(document, plan.line),)
    request = ScanRequest(document=document, max_false_alarms=plan.settings.check.max_false_alarms, only=only)
    reports = engine.scan(request, cancelled, lambda report: None)
    found = [
        finding
        for report in reports
        for finding in report.findings
        if plan.line is None or document.line_column(finding.span.start)[0] == plan.line
    ]
    return sorted(found, key=lambda finding: -finding.score)


def _span_of_line(document: CodeDocument, line: int) -> TextSpan:
    start = document.line_starts[line - 1]
    return TextSpan(start, start + max(1, len(document.line_text(line))))
