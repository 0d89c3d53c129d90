"""What a check tells on stderr while it runs: a bar on a terminal, a line now and then elsewhere."""

import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ace_analysis.cli.bar import Bar
from ace_analysis.cli.messages import tell, tell_error, tell_note
from ace_analysis.report.run import CheckedFile

SECONDS_BETWEEN_LINES = 10.0


class Reporter:
    """Hears a check (`checking.Listener`). `show` writes a file's findings as soon as they are there.

    Use it as a context manager: it takes its bar off the terminal at the end, whatever happened.
    """

    def __init__(self, show: Callable[[CheckedFile], None], *, quiet: bool = False) -> None:
        self._show = show
        self._quiet = quiet
        self._bar = Bar(quiet=quiet)
        self._last_line = time.monotonic()
        self._last_message = ""

    def __enter__(self) -> Self:
        self._bar.put_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.take_off()

    def loading(self, message: str, fraction: float | None) -> None:
        """A step of loading the model; `fraction` where it is known."""
        if self._bar.drawn:
            self._bar.show_share(message, fraction)
        elif message != self._last_message and not self._quiet:
            self._last_message = message
            self._last_line = time.monotonic()
            tell(f"ace: {message}")

    def checking(self, path: str, done: int, total: int) -> None:
        if self._bar.drawn:
            self._bar.show(path, done, total)
        elif not self._quiet and time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            tell(f"ace: {done:,} of {total:,} files checked")

    def checked(self, file: CheckedFile) -> None:
        report = file.report
        self._bar.take_off()
        if report.error is not None:
            tell_error(f"{report.path}: {report.error}")
        for note in report.notes:
            self.note(f"{report.path}: {note}")
        self._show(file)
        self._bar.put_on()

    def note(self, text: str) -> None:
        if not self._quiet:
            tell_note(text)

    def mistake(self, error: Exception) -> None:
        """An error that ACE did not raise on purpose: the lines that a report of it needs."""
        self._bar.take_off()
        tell("".join(traceback.format_exception(error)).rstrip())
