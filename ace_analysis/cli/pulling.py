"""What long work tells on stderr: a bar on a terminal, a line for every tenth elsewhere."""

from types import TracebackType
from typing import Self

from ace_analysis.cli.bar import Bar
from ace_analysis.cli.messages import tell

TENTHS = 10


class PullReporter:
    """A progress callback, as a context manager that takes its bar off the terminal at the end."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._bar = Bar(quiet=quiet)
        self._quiet = quiet
        self._last: tuple[str, int] | None = None
        self._said = ""

    def __enter__(self) -> Self:
        self._bar.put_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.take_off()

    def __call__(self, message: str, fraction: float | None) -> None:
        if self._bar.drawn:
            self._bar.show_share(message, fraction)
            return
        step = (message.split(":")[0], int((fraction or 0.0) * TENTHS))
        if step != self._last and message != self._said and not self._quiet:
            self._last, self._said = step, message
            tell(f"ace: {message}")
