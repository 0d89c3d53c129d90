"""The one progress bar of all commands: on stderr, on a terminal only, gone when it is taken off."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class Bar:
    """A bar with a message. `drawn` tells whether there is one: not in a pipe, and not quietly.

    As a context manager it is on the terminal inside, and off it at the end, whatever happened.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self.drawn = console.is_terminal and not quiet
        text = TextColumn("{task.description}", markup=False)
        self._bar = Progress(
            text,
            BarColumn(bar_width=30),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._bar.add_task("", total=None)

    @property
    def on_terminal(self) -> bool:
        """Whether it is there now."""
        return self._bar.live.is_started

    def put_on(self) -> None:
        if self.drawn:
            self._bar.start()

    def take_off(self) -> None:
        """Two writers on one terminal would tear each other's lines."""
        if self.drawn:
            self._bar.stop()

    def show(self, message: str, done: float, total: float | None) -> None:
        """`total` None: nobody knows how long it takes."""
        if self.drawn:
            self._bar.update(self._task, description=message, completed=done, total=total)

    def show_share(self, message: str, fraction: float | None) -> None:
        self.show(message, fraction or 0.0, None if fraction is None else 1.0)

    def __enter__(self) -> Self:
        self.put_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.take_off()
