"""All of one `ace check`: what was asked, what came out, and what could not be done."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ace_analysis.report.finding import FileReport
from ace_analysis.source.document import CodeDocument

NOTHING_FOUND, FINDINGS, NOT_DONE, INTERRUPTED = 0, 1, 2, 130


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """A file's report with the text that its spans are about; an empty text where there is none."""

    report: FileReport
    document: CodeDocument


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRun:
    """`engine` is what the engine says of itself, empty where it was not needed or could not be loaded.

    `error` is what kept the whole run from being done; a file's own error is in its report. `known` counts
    the findings that a baseline keeps out of the reports; None where there is none.
    """

    max_false_alarms: float
    engine: Mapping[str, Any] = field(default_factory=dict[str, Any])
    files: tuple[CheckedFile, ...] = ()
    error: str | None = None
    interrupted: bool = False
    known: int | None = None

    @property
    def findings(self) -> int:
        return sum(len(each.report.findings) for each in self.files)

    @property
    def failed(self) -> tuple[FileReport, ...]:
        return tuple(each.report for each in self.files if each.report.error is not None)

    @property
    def exit_code(self) -> int:
        """What could not be done weighs more than findings, which are shown all the same."""
        if self.interrupted:
            return INTERRUPTED
        if self.error is not None or self.failed:
            return NOT_DONE
        return FINDINGS if self.findings else NOTHING_FOUND
