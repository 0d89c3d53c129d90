"""What getting a model tells on stderr: a bar on a terminal, a line for every tenth elsewhere."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ace_analysis.cli.messages import tell

TENTHS = 10


class PullReporter:
    """A progress callback, as a context manager that takes its bar off the terminal at the end."""

    def __init__(self, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
        )
        on_terminal = console.is_terminal and not quiet
        self._bar = Progress(*columns, console=console, transient=True) if on_terminal else None
        self._task = self._bar.add_task("", total=None) if self._bar is not None else None
        self._quiet = quiet
        self._last: tuple[str, int] | None = None
        self._said = ""

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, message: str, fraction: float | None) -> None:
        if self._bar is not None and self._task is not None:
            total = None if fraction is None else 1.0
            self._bar.update(self._task, description=message, completed=fraction or 0.0, total=total)
            return
        step = (message.split(":")[0], int((fraction or 0.0) * TENTHS))
        if step != self._last and message != self._said and not self._quiet:
            self._last, self._said = step, message
            tell(f"ace: {message}")
