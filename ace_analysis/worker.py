"""The process that holds the model, for a language server or anything else that speaks JSON-RPC on stdio.

`python -m ace_analysis.worker` reads LSP-framed JSON-RPC 2.0 from stdin. It is a process of its own because
importing torch takes seconds, because a crash or an out-of-memory must not take the editor's server down, and
because ending it gives the memory back for certain.

    main thread   reads messages, so that a cancel gets in while a job runs
    job thread    runs one job at a time, in order; a daemon, so that nothing waits for it at the end
    stdout        kept for messages: whatever a library prints goes to stderr

A request that METHODS (worker_methods.py) doesn't name is refused; a new capability adds a line there. torch
is imported by the first `ace/load` and not before.
"""

import contextlib
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any, BinaryIO

from ace_analysis.errors import AceError, Cancelled
from ace_analysis.worker_methods import METHODS, Desk, Job, JobId

__all__ = ["METHODS", "Desk", "Job", "Worker", "main", "read_body"]

GRACE = 1.0
"""Seconds that a running job has to notice that the input has ended."""

LONGEST_MESSAGE = 256 * 1024 * 1024

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INTERNAL = -32700, -32600, -32601, -32603
CANCELLED, ACE_ERROR = -32800, -32000


class Worker:
    """The message loop; `serve` returns when the input ends or `exit` comes."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._write_lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._open: dict[JobId, Job] = {}
        self._desk = Desk()

    def serve(self) -> None:
        threading.Thread(target=self._work, name="ace-jobs", daemon=True).start()
        while (body := read_body(self._source)) is not None:
            try:
                message = json.loads(body)
            except (ValueError, RecursionError) as error:
                self._answer(None, error=(PARSE_ERROR, f"expected JSON: {error}", "ParseError"))
                continue
            if not _is_call(message):
                text = "expected a method by name, and params by name"
                self._answer(None, error=(INVALID_REQUEST, text, "InvalidRequest"))
            elif message["method"] == "exit":
                break
            else:
                self._receive(message)
        for job in list(self._open.values()):
            job.stop.set()

    def wait_for_jobs(self, seconds: float) -> None:
        """Give what runs a moment to stop of itself."""
        end = time.monotonic() + seconds
        while self._open and time.monotonic() < end:
            time.sleep(0.01)

    def _receive(self, message: Mapping[str, Any]) -> None:
        method, params = message["method"], message.get("params") or {}
        if "id" not in message:
            if method == "$/cancelRequest" and (job := self._open.get(params.get("id", ""))) is not None:
                job.stop.set()
        elif method == "shutdown":
            self._answer(message["id"], None)
        elif method not in METHODS:
            known = ", ".join(METHODS)
            text = f"expected one of {known}, got {method!r}"
            self._answer(message["id"], error=(METHOD_NOT_FOUND, text, "MethodNotFound"))
        else:
            job = Job(message["id"], method, params, self._notify)
            self._open[job.id] = job
            self._jobs.put(job)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                if job.cancelled():
                    raise Cancelled("cancelled before it ran")
                result = METHODS[job.method](self._desk, job)
            except Exception as error:
                self._answer(job.id, error=_described(error))
            else:
                self._answer(job.id, result)
            finally:
                self._open.pop(job.id, None)

    def _notify(self, method: str, params: Mapping[str, Any]) -> None:
        self._write({"jsonrpc": "2.0", "method": method, "params": params})

    def _answer(
        self, to: JobId | None, result: Any = None, *, error: tuple[int, str, str] | None = None
    ) -> None:
        if error is None:
            self._write({"jsonrpc": "2.0", "id": to, "result": result})
        else:
            code, text, kind = error
            body = {"code": code, "message": text, "data": {"type": kind}}
            self._write({"jsonrpc": "2.0", "id": to, "error": body})

    def _write(self, message: Mapping[str, Any]) -> None:
        body = json.dumps(message).encode()
        with self._write_lock, contextlib.suppress(OSError, ValueError):
            self._sink.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self._sink.flush()


def _is_call(message: Any) -> bool:
    return (
        isinstance(message, dict)
        and isinstance(message.get("method"), str)
        and isinstance(message.get("params") or {}, dict)
        and isinstance(message.get("id", 0), int | str)
    )


def _described(error: Exception) -> tuple[int, str, str]:
    """Code, text and class of an error; an unforeseen one also leaves its traceback in the log."""
    kind = type(error).__name__
    if isinstance(error, Cancelled):
        return CANCELLED, str(error), kind
    if isinstance(error, AceError):
        return ACE_ERROR, str(error), kind
    traceback.print_exception(error, file=sys.stderr)
    return INTERNAL, f"{kind}: {error}", kind


def read_body(source: BinaryIO) -> bytes | None:
    """The body of the next message, or None at the end; a header without a usable length is skipped."""
    length = 0
    while line := source.readline():
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            length = int(value)
        if line.strip() or not 0 < length <= LONGEST_MESSAGE:
            continue
        body = source.read(length)
        return body if len(body) == length else None
    return None


def main() -> None:
    """Serve on stdio and leave at once when the input ends, whatever still runs."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    worker = Worker(sys.stdin.buffer, sink)
    worker.serve()
    worker.wait_for_jobs(GRACE)
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
