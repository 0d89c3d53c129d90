"""The door from the command line to the engine: one small interface, so that tests need no model.

torch is imported in `load_engine` and nowhere else.
"""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from ace_analysis.cli.group import engine_missing
from ace_analysis.errors import AceError
from ace_analysis.report.attribution import Attribution
from ace_analysis.report.finding import ScopeReport
from ace_analysis.settings import EngineSettings
from ace_analysis.source.document import CodeDocument, TextSpan

if TYPE_CHECKING:
    from ace_analysis.engine import Engine

Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRequest:
    """One text and what is asked about it; `only` None means all of it."""

    document: CodeDocument
    max_false_alarms: float
    sites: bool = False
    only: tuple[TextSpan, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainRequest:
    """One place of a text; see the engine's ExplainOptions."""

    document: CodeDocument
    offset: int
    max_false_alarms: float
    expectation: bool = False
    check: int = 0


class Scanner(Protocol):
    """What the command line needs of an engine."""

    def info(self) -> Mapping[str, Any]:
        """Model, bundle and so on, as JSON."""
        ...

    def scan(
        self,
        request: ScanRequest,
        cancelled: Callable[[], bool],
        on_scope: Callable[[ScopeReport], None],
    ) -> tuple[ScopeReport, ...]:
        """Raises Cancelled soon after `cancelled()` has become true."""
        ...

    def explain(
        self, request: ExplainRequest, cancelled: Callable[[], bool], progress: Progress
    ) -> Attribution:
        """Raises InputError where there is nothing to explain, and Cancelled."""
        ...


LoadScanner = Callable[[EngineSettings, Progress], Scanner]


@dataclass(frozen=True, slots=True, eq=False)
class EngineScanner:
    """The real one."""

    engine: "Engine"

    def info(self) -> Mapping[str, Any]:
        return self.engine.info()

    def scan(
        self,
        request: ScanRequest,
        cancelled: Callable[[], bool],
        on_scope: Callable[[ScopeReport], None],
    ) -> tuple[ScopeReport, ...]:
        from ace_analysis.engine import ScanOptions

        options = ScanOptions(
            sites=request.sites, max_false_alarms=request.max_false_alarms, only=request.only
        )
        with results_alone_on_stdout():
            return self.engine.scan(request.document, options=options, cancelled=cancelled, on_scope=on_scope)

    def explain(
        self, request: ExplainRequest, cancelled: Callable[[], bool], progress: Progress
    ) -> Attribution:
        from ace_analysis.engine import ExplainOptions

        options = ExplainOptions(
            expectation=request.expectation,
            max_false_alarms=request.max_false_alarms,
            check=request.check,
        )
        with results_alone_on_stdout():
            return self.engine.explain(
                request.document, request.offset, options=options, cancelled=cancelled, progress=progress
            )


def load_engine(settings: EngineSettings, progress: Progress) -> Scanner:
    """Load the model and the bundle that the settings name."""
    with results_alone_on_stdout():
        try:
            from ace_analysis.engine import Engine

            return EngineScanner(Engine.load(settings, progress=progress))
        except ImportError as error:
            if (error.name or "").split(".")[0] == "ace_analysis":
                raise
            raise AceError(engine_missing(error)) from error


@contextlib.contextmanager
def results_alone_on_stdout() -> Iterator[None]:
    """Whatever a library prints goes to stderr."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Ctrl-C asks to stop, and what is under way is ended in order; a second one ends it where it is."""
    asked = threading.Event()

    def ask(signum: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread() and before is not signal.SIG_IGN
    if ours:
        signal.signal(signal.SIGINT, ask)
    try:
        yield asked.is_set
    finally:
        if ours:
            signal.signal(signal.SIGINT, before)
