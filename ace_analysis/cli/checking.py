"""`ace check`, from paths to results: which files, what they say, what of it is wanted.

One file that can't be checked is told and costs nothing else. The model is loaded when the first file needs
it: a commit that changes nothing to look at is done at once.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ace_analysis.cli.known import KnownFindings
from ace_analysis.cli.messages import printable_path
from ace_analysis.cli.scanning import LoadScanner, Scanner, ScanRequest, interruptible
from ace_analysis.errors import AceError, BundleError, Cancelled, InputError, ModelError
from ace_analysis.report.finding import FileReport, Finding, ScopeReport
from ace_analysis.report.run import CheckedFile, CheckRun
from ace_analysis.settings import EngineSettings
from ace_analysis.source.changes import GitChanges, spans_of_lines
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.files import Exclusion, Found, find_files
from ace_analysis.source.ignores import ignores_of
from ace_analysis.source.reading import decode_source, read_at_most, read_source

STDIN = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckPlan:
    """What to check and how.

    `changed` is a revision in git, `stdin_name` what stdin is called in results, `known` a baseline.
    """

    paths: tuple[str, ...]
    settings: EngineSettings
    exclusions: tuple[Exclusion, ...] = ()
    changed: str | None = None
    sites: bool = False
    stdin_name: str = "<stdin>"
    known: KnownFindings | None = None


class Listener(Protocol):
    """Hears what a check does while it does it."""

    def loading(self, message: str, fraction: float | None) -> None: ...
    def checking(self, path: str, done: int, total: int) -> None: ...
    def checked(self, file: CheckedFile) -> None: ...
    def note(self, text: str) -> None: ...
    def mistake(self, error: Exception) -> None: ...


class Check:
    """One run. `load` gives the engine; it is called once at most."""

    def __init__(self, plan: CheckPlan, listener: Listener, load: LoadScanner) -> None:
        self._plan = plan
        self._settings = plan.settings.check
        self._listener = listener
        self._load = load
        self._scanner: Scanner | None = None
        self._files: list[CheckedFile] = []
        self._changes = GitChanges(plan.changed) if plan.changed is not None else None

    def run(self) -> CheckRun:
        """All files. What could not be done is part of the result; Ctrl-C ends it with what there is."""
        error: str | None = None
        interrupted = False
        try:
            sources = self._sources()
            for index, source in enumerate(sources):
                self._listener.checking(self._name(source), index, len(sources))
                self._check(source)
            if self._plan.known is not None and self._plan.known.learn:
                self._listener.note(self._plan.known.save())
        except (Cancelled, KeyboardInterrupt):
            interrupted = True
        except AceError as reason:
            error = str(reason)
        return CheckRun(
            max_false_alarms=self._settings.max_false_alarms,
            engine=dict(self._scanner.info()) if self._scanner is not None else {},
            files=tuple(self._files),
            error=error,
            interrupted=interrupted,
            known=self._plan.known.hidden if self._plan.known is not None else None,
        )

    def _sources(self) -> list[Found]:
        """What to check, stdin first."""
        paths = [path for path in self._plan.paths if path != STDIN]
        sources = [Found(path=_STDIN)] if len(paths) < len(self._plan.paths) else []
        for found in find_files(paths, self._plan.exclusions):
            if found.left_out is None:
                sources.append(found)
            else:
                self._listener.note(f"{printable_path(found.path)}: {found.left_out}")
        if not sources:
            self._listener.note("no Python files to check")
        return sources

    def _name(self, source: Found) -> str:
        return self._plan.stdin_name if source.path is _STDIN else printable_path(source.path)

    def _check(self, source: Found) -> None:
        name = self._name(source)
        try:
            if source.problem is not None:
                raise InputError(source.problem)
            lines = self._changes.lines_of(source.path) if self._changes is not None else None
            if lines == ():
                return
            document = CodeDocument(uri=name, text=self._text(source))
        except InputError as error:
            self._keep(FileReport(path=name, error=str(error)), CodeDocument(uri=name, text=""))
            return
        path = Path(name) if source.path is _STDIN else source.path
        self._scan(path, document, None if lines is None else spans_of_lines(document.text, lines))

    def _text(self, source: Found) -> str:
        limit = self._settings.max_file_bytes
        if source.path is _STDIN:
            return decode_source(read_at_most(sys.stdin.buffer, limit))
        return read_source(source.path, limit)

    def _scan(self, path: Path, document: CodeDocument, only: tuple[TextSpan, ...] | None) -> None:
        """Scan a text, or the lines asked about, and keep what there is where the scan ends early."""
        ignores = ignores_of(document)
        scopes: list[ScopeReport] = []
        error: str | None = None
        stopped = False
        if document.text.strip() and not ignores.whole_file and only != ():
            scanner = self._ready_scanner()
            try:
                stopped = self._fill(scopes, scanner, document, only)
            except (Cancelled, KeyboardInterrupt):
                stopped = True
            except (ModelError, BundleError):
                raise
            except AceError as reason:
                error = str(reason)
            except Exception as mistake:
                error = f"unexpected {type(mistake).__name__}: {mistake}"
                self._listener.mistake(mistake)
        findings = _findings(scopes, only)
        if self._plan.known is not None and error is None and not stopped:
            findings = self._plan.known.new(path, document, findings)
        report = FileReport(
            path=document.uri,
            findings=findings,
            sites=tuple(
                sorted((each for scope in scopes for each in scope.sites), key=lambda site: site.span)
            ),
            error=error,
            notes=ignores.notes,
        )
        if scopes or not stopped:
            self._keep(report, document)
        if stopped:
            raise Cancelled("interrupted")

    def _ready_scanner(self) -> Scanner:
        """The engine; that it can't be loaded ends the run, because no other file would fare better."""
        if self._scanner is None:
            self._scanner = self._load(self._plan.settings, self._listener.loading)
            about = self._scanner.info()
            if (base := about.get("edited_from")) is not None:
                self._listener.note(f"{about['model']} is {base} with edits, and has its bundle")
        return self._scanner

    def _fill(
        self,
        scopes: list[ScopeReport],
        scanner: Scanner,
        document: CodeDocument,
        only: tuple[TextSpan, ...] | None,
    ) -> bool:
        """Fill `scopes` as they come; True where somebody asked to stop meanwhile."""
        request = ScanRequest(
            document=document,
            max_false_alarms=self._settings.max_false_alarms,
            sites=self._plan.sites,
            only=only,
        )
        with interruptible() as asked:
            scopes[:] = scanner.scan(request, asked, scopes.append)
            return asked()

    def _keep(self, report: FileReport, document: CodeDocument) -> None:
        checked = CheckedFile(report=report, document=document)
        self._files.append(checked)
        self._listener.checked(checked)


def _findings(scopes: list[ScopeReport], only: tuple[TextSpan, ...] | None) -> tuple[Finding, ...]:
    """In the order of the text. The engine reads whole scopes; asked about are lines."""
    found = (each for scope in scopes for each in scope.findings)
    kept = (each for each in found if only is None or any(each.span.overlaps(span) for span in only))
    return tuple(sorted(kept, key=lambda finding: finding.span))


_STDIN = Path(STDIN)
"""Told apart from a file of that name by being this very object."""
