"""The one door to the engine, as the server sees it.

A `Protocol`, so that the server and its tests don't care whether the model runs in a process on this machine,
at the other end of ssh, or in a script. Cancelling is cancelling the awaiting task.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Protocol

from ace_analysis.errors import AceError
from ace_analysis.report.attribution import Attribution
from ace_analysis.report.finding import ScopeReport
from ace_analysis.report.repair import Fix
from ace_analysis.source.document import TextSpan


class AnalystError(AceError):
    """The engine could not do a job; the message is fit for a person."""


class AnalystUnavailable(AnalystError):
    """There is no engine now and there won't be without the user; said once, not for each job."""


class State(StrEnum):
    ABSENT = "absent"
    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    FAILED = "failed"


class Priority(IntEnum):
    """Lower runs first; a running job of OTHER or BACKGROUND makes way for VISIBLE and above."""

    COMMAND = 0
    HOVER = 1
    VISIBLE = 2
    OTHER = 3
    BACKGROUND = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    state: State = State.ABSENT
    message: str = ""
    fraction: float | None = None
    info: Mapping[str, Any] = field(default_factory=dict)
    """What the engine says of itself: model, fingerprint, device, dtype, bundle, layer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanRequest:
    """One version of one text. `first` are the places to look at first."""

    uri: str
    version: int
    text: str
    priority: Priority = Priority.VISIBLE
    first: TextSpan | None = None
    sites: bool = False
    """Whether the scores of all candidate sites are wanted."""
    max_false_alarms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainRequest:
    """One place, in code points, of one version of one text."""

    uri: str
    version: int
    text: str
    offset: int
    priority: Priority = Priority.HOVER
    expectation: bool = False
    """Of a place where something could be wrong: rather what the model expects there."""
    max_false_alarms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FixRequest:
    """A stretch of one version of one text that something better is wanted for."""

    uri: str
    version: int
    text: str
    span: TextSpan
    options: Mapping[str, Any] = field(default_factory=dict)
    priority: Priority = Priority.COMMAND


OnProgress = Callable[[str, float | None], None]
"""Hears what is being done, and which fraction of it is done where that is known."""


class Analyst(Protocol):
    """Finds bugs, explains them, and says how it is."""

    @property
    def status(self) -> Status: ...

    def subscribe(self, listener: Callable[[Status], None]) -> None:
        """Have `listener` called at each change of the status."""
        ...

    async def scan(
        self, request: ScanRequest, on_scope: Callable[[ScopeReport], None]
    ) -> tuple[ScopeReport, ...]:
        """Analyse a text; scopes are told as they come."""
        ...

    async def explain(self, request: ExplainRequest, on_progress: OnProgress) -> Attribution:
        """Why the model says what it says of a place."""
        ...

    async def fix(self, request: FixRequest, on_progress: OnProgress) -> tuple[Fix, ...]:
        """What could stand there instead, best first; empty where nothing passed all checks."""
        ...

    async def call(
        self,
        method: str,
        params: Mapping[str, Any],
        priority: Priority,
        on_progress: OnProgress | None = None,
    ) -> Any:
        """Any other verb of the engine, by its name on the wire."""
        ...

    def supports(self, method: str) -> bool:
        """Whether the engine has this verb; False while it is not known."""
        ...

    async def restart(self) -> None:
        """Start afresh, whatever the state; running jobs are done again."""
        ...

    async def close(self) -> None: ...
