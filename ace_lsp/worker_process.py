"""One worker process: spawned, spoken to in JSON-RPC over its stdio, and buried.

Spawned and never forked, with pipes of its own, so that it sees the end of its input when the server dies in
whatever way, and can't write into the editor's stream.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ace_analysis.errors import AceError
from ace_lsp.settings import WorkerSettings
from ace_lsp.transport import read_messages

logger = logging.getLogger("ace_lsp.worker")

LOCAL_WORKER = (sys.executable, "-P", "-m", "ace_analysis.worker")
"""-P keeps the folder that the server runs in off the module path: a project may hold a file torch.py."""

LONGEST_LINE = 4096
"""Bytes that are kept of a line of the worker's stderr that does not end."""

LAST_MOMENT = 0.2
"""Seconds that a worker which has closed its output may take to end by itself."""

WITH_EACH_REQUEST = ("check", "fix")
"""Sections of the engine's settings that a request brings along, so that another worker is not needed."""

Note = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerPlan:
    """How to start the worker: asked for at each start, so that a change of settings needs a restart only."""

    settings: WorkerSettings = field(default_factory=WorkerSettings)
    engine: Mapping[str, Any] = field(default_factory=dict)

    @property
    def command(self) -> tuple[str, ...]:
        return self.settings.command or LOCAL_WORKER

    @property
    def identity(self) -> tuple[Any, ...]:
        """Equal for two plans exactly if one's worker serves for the other."""
        kept = {name: section for name, section in self.engine.items() if name not in WITH_EACH_REQUEST}
        return self.command, kept


class WorkerDied(AceError):
    """The process ended, or its stream became unreadable, before it answered."""


class WorkerRefused(AceError):
    """The worker answered with an error; `kind` is the name of the error's class there."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class WorkerProcess:
    """A running worker. Make one with `start`; it is of no use after `ended` is set."""

    def __init__(self, process: asyncio.subprocess.Process, on_note: Note) -> None:
        self._process = process
        self._on_note = on_note
        self._next_id = 0
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.ended = asyncio.Event()
        self.last_words: deque[str] = deque(maxlen=20)
        """The newest lines of the worker's stderr, for the reason of a failure."""
        self._tasks = [asyncio.ensure_future(self._listen()), asyncio.ensure_future(self._log())]

    @classmethod
    async def start(cls, command: Sequence[str], on_note: Note) -> "WorkerProcess":
        """Spawn the command; OSError where it can't be."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
        logger.info("worker %d started", process.pid)
        return cls(process, on_note)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, method: str, params: Mapping[str, Any]) -> tuple[int, asyncio.Future[Any]]:
        """Send a request; the future ends with the result, WorkerRefused or WorkerDied."""
        self._next_id += 1
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_retrieve)
        if self.ended.is_set():
            future.set_exception(self._death())
            return self._next_id, future
        self._waiting[self._next_id] = future
        self._write({"jsonrpc": "2.0", "id": self._next_id, "method": method, "params": dict(params)})
        return self._next_id, future

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        if not self.ended.is_set():
            self._write({"jsonrpc": "2.0", "method": method, "params": dict(params)})

    async def stop(self, grace: float = 1.0) -> None:
        """Close its input, wait for `grace` seconds, kill it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            async with asyncio.timeout(grace):
                await self._process.wait()
        except TimeoutError:
            await self.kill()
        await self.ended.wait()

    async def kill(self) -> None:
        self.kill_now()
        await self.ended.wait()

    def kill_now(self) -> None:
        """Not by `Popen.kill`: that takes the exit status for itself, before asyncio sees it."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if sys.platform == "win32":
                self._process.kill()
            else:
                os.kill(self._process.pid, signal.SIGKILL)

    def _write(self, message: Mapping[str, Any]) -> None:
        body = json.dumps(message).encode()
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    async def _listen(self) -> None:
        try:
            if self._process.stdout is not None:
                await read_messages(self._process.stdout, self)
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_MOMENT):
                    await self._process.wait()
            self.kill_now()
            await self._process.wait()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.5):
                    await asyncio.shield(self._tasks[1])
            self.ended.set()
            logger.info("worker %d ended with %s", self._process.pid, self._process.returncode)
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(self._death())
            self._waiting.clear()

    async def _log(self) -> None:
        """Read stderr as it comes: a progress bar is one line without an end, and nobody may block on it."""
        rest = b""
        while (stream := self._process.stderr) is not None and (chunk := await stream.read(1 << 16)):
            *lines, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
            for line in lines:
                self._say(line)
            rest = rest[-LONGEST_LINE:]
        self._say(rest)

    def _say(self, line: bytes) -> None:
        if text := line.decode("utf-8", "replace").strip():
            self.last_words.append(text)
            logger.info("%s", text)

    def _death(self) -> WorkerDied:
        code = self._process.returncode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        said = self.last_words[-1] if self.last_words else ""
        return WorkerDied(f"the worker process ended ({how})" + (f": {said}" if said else ""))

    def receive(self, data: object) -> None:
        if not isinstance(data, dict):
            self.receive_garbage(f"expected a message, got {data!r:.80}")
        elif "method" in data:
            self._on_note(str(data["method"]), data.get("params") or {})
        elif (future := self._waiting.pop(data.get("id", 0), None)) is not None and not future.done():
            error = data.get("error")
            if error is None:
                future.set_result(data.get("result"))
            else:
                kind = (error.get("data") or {}).get("type", "")
                future.set_exception(WorkerRefused(str(error.get("message", error)), kind))

    def receive_garbage(self, reason: str) -> None:
        logger.error("unreadable message from the worker: %s", reason)
        self.kill_now()


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Look at the exception, so that asyncio doesn't complain where nobody else does."""
    if not future.cancelled():
        future.exception()
