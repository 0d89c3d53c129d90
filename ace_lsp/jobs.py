"""Jobs for the one worker, and the queue that they wait in."""

import asyncio
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ace_lsp.analyst import Priority

ONCE = ("ace/edit/apply", "ace/edit/undo")
"""What is not begun again after a worker has ended in the midst of it: it may have been done."""

_numbers = itertools.count()


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One request on its way to the worker and back."""

    method: str
    params: Mapping[str, Any]
    priority: Priority
    on_note: Callable[[str, Mapping[str, Any]], None] | None = None
    future: asyncio.Future[Any] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the worker shall stop this: the caller has gone, or something more urgent has come."""
    preempted: bool = False
    crashes: int = 0
    """How often the worker has died of it; at the second time it is given up."""
    order: int = field(default_factory=lambda: next(_numbers))

    def __post_init__(self) -> None:
        self.future.add_done_callback(lambda _: self.stop.set())

    @property
    def rank(self) -> tuple[int, int]:
        return self.priority, self.order

    @property
    def yields(self) -> bool:
        """Whether it makes way for something that a person waits for."""
        return self.priority >= Priority.OTHER

    @property
    def repeats(self) -> bool:
        """Whether it does no harm to do it twice."""
        return self.method not in ONCE

    def again(self) -> None:
        """Get ready for another run."""
        self.preempted = False
        if not self.future.done():
            self.stop.clear()


class JobQueue:
    """Waiting jobs, most urgent first, oldest first among equals."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._filled = asyncio.Event()

    def __len__(self) -> int:
        return len(self._jobs)

    def put(self, job: Job) -> None:
        self._jobs.append(job)
        self._jobs.sort(key=lambda each: each.rank)
        self._filled.set()

    def discard(self, job: Job) -> None:
        if job in self._jobs:
            self._jobs.remove(job)

    async def take(self, timeout: float | None) -> Job | None:
        """The most urgent job, or None when none came for `timeout` seconds."""
        while not self._jobs:
            self._filled.clear()
            try:
                async with asyncio.timeout(timeout):
                    await self._filled.wait()
            except TimeoutError:
                return None
        return self._jobs.pop(0)

    def wake(self) -> None:
        """Have `take` look again, for example at a new time-out."""
        self._filled.set()

    def drain(self) -> list[Job]:
        jobs, self._jobs = self._jobs, []
        return jobs
