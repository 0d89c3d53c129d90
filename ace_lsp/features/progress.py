"""Progress bars in the client.

Nobody waits for one: a client that is slow to make it, refuses it or has none changes nothing about the work.
"""

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from lsprotocol import types

if TYPE_CHECKING:
    from ace_lsp.server import AceServer

logger = logging.getLogger(__name__)

SLOW = 1.0
"""Seconds after which work is worth a progress bar."""


Result = TypeVar("Result")


class CancelledByPerson(Exception):
    """The bar was cancelled."""


class ProgressBar:
    """One bar, from its making until `end`. `on_cancel` is called when a person cancels it."""

    def __init__(
        self, server: "AceServer", title: str, *, on_cancel: Callable[[], None] | None = None
    ) -> None:
        self._server = server
        self._title = title
        self._on_cancel = on_cancel
        self._token = str(uuid.uuid4())
        self._begun = False
        self._ended = False
        self._news: tuple[str, float | None] = ("", None)
        self._opening = asyncio.ensure_future(self._open()) if server.client.progress else None

    def report(self, message: str, fraction: float | None = None) -> None:
        """What is being done now, and how much of the whole is done."""
        if self._ended or self._news == (message, fraction):
            return
        self._news = (message, fraction)
        if self._begun:
            self._server.work_done_progress.report(
                self._token,
                types.WorkDoneProgressReport(message=message, percentage=_percentage(fraction)),
            )

    def end(self, message: str = "") -> None:
        if self._ended:
            return
        self._ended = True
        progress = self._server.work_done_progress
        if self._begun:
            progress.end(self._token, types.WorkDoneProgressEnd(message=message or None))
        progress.tokens.pop(self._token, None)

    async def _open(self) -> None:
        progress = self._server.work_done_progress
        try:
            await progress.create_async(self._token)
        except Exception as error:
            logger.debug("the client made no progress bar: %s", error)
            return
        if self._ended:
            progress.tokens.pop(self._token, None)
            return
        progress.tokens[self._token].add_done_callback(self._cancelled)
        message, fraction = self._news
        begin = types.WorkDoneProgressBegin(
            title=self._title,
            message=message or None,
            percentage=_percentage(fraction),
            cancellable=self._on_cancel is not None,
        )
        self._begun = True
        progress.begin(self._token, begin)

    def _cancelled(self, _: object) -> None:
        if self._on_cancel is not None and not self._ended:
            self._on_cancel()


async def watched(
    server: "AceServer", title: str, work: Callable[[Callable[[str, float | None], None]], Awaitable[Result]]
) -> Result:
    """Work that a person asked for, with a bar from the start; cancelling the bar raises CancelledByPerson.

    `work` gets how to report.
    """
    bar = ProgressBar(server, title, on_cancel=lambda: _cancel(task))
    task = asyncio.ensure_future(work(bar.report))
    try:
        await asyncio.wait({task})
    except asyncio.CancelledError:
        task.cancel()
        raise
    finally:
        bar.end()
    if task.cancelled():
        raise CancelledByPerson
    return task.result()


@contextlib.asynccontextmanager
async def slow_work(
    make: Callable[[], ProgressBar], may_show: Callable[[], bool]
) -> AsyncIterator[Callable[[str, float | None], None]]:
    """A bar for work that turns out to take long; yields how to report.

    `may_show` says whether the work itself runs: what waits for something that has a bar of its own, such as
    the loading of the model, needs none.
    """
    bar: ProgressBar | None = None
    news: tuple[str, float | None] = ("", None)

    def report(message: str, fraction: float | None) -> None:
        nonlocal news
        news = (message, fraction)
        if bar is not None:
            bar.report(message, fraction)

    async def open_later() -> None:
        nonlocal bar
        await asyncio.sleep(SLOW)
        while not may_show():
            await asyncio.sleep(SLOW / 4)
        bar = make()
        bar.report(*news)

    opening = asyncio.ensure_future(open_later())
    try:
        yield report
    finally:
        opening.cancel()
        if bar is not None:
            bar.end()


def _percentage(fraction: float | None) -> int | None:
    return None if fraction is None else round(100 * max(0.0, min(1.0, fraction)))


def _cancel(task: asyncio.Future[Any]) -> None:
    task.cancel()
