"""Bytes in, messages out: reading and writing the base protocol over stdio, a socket or a pipe.

pygls' own loop reads header names case-sensitively, reads stdin on the thread pool that handlers share (two
slow handlers make the server deaf), writes to stdout on the event loop (a client that stops reading stops the
server), and decodes nested objects as messages. Here stdin and stdout have a daemon thread each, and a
message is decoded once, whole.
"""

import asyncio
import json
import logging
import os
import queue
import re
import threading
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

logger = logging.getLogger(__name__)

LONGEST_MESSAGE = 256 * 1024 * 1024
"""Bytes; a header that claims more is taken for garbage."""

LONGEST_BACKLOG = 64 * 1024 * 1024
"""Bytes that wait for a client that doesn't read; then the client is taken for dead."""

_CHUNK = 1 << 16
_LENGTH = re.compile(rb"(?<![\w-])content-length:[ \t]*(\d{1,19})[ \t]*\r?\n", re.IGNORECASE)
"""Looked for anywhere in a line, so that what follows a body without a usable header is found again."""


class MessageHandler(Protocol):
    """What the loop hands messages to."""

    def receive(self, data: object) -> None:
        """One decoded JSON value."""

    def receive_garbage(self, reason: str) -> None:
        """A body that is not JSON."""


class ThreadReader:
    """Feeds an asyncio stream from a file descriptor, by a thread that nobody has to wait for."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self.stream = asyncio.StreamReader(limit=_CHUNK)
        threading.Thread(target=self._pump, name="ace-stdin", daemon=True).start()

    def _pump(self) -> None:
        chunk = b"x"
        while chunk:
            try:
                chunk = os.read(self._descriptor, _CHUNK)
            except OSError:
                chunk = b""
            try:
                self._loop.call_soon_threadsafe(self._feed, chunk)
            except RuntimeError:  # the loop has ended
                return

    def _feed(self, chunk: bytes) -> None:
        if chunk:
            self.stream.feed_data(chunk)
        else:
            self.stream.feed_eof()


class ThreadWriter:
    """Writes to a blocking file on a thread, so that a client that doesn't read can't stop the event loop."""

    def __init__(self, target: BinaryIO, on_dead: Callable[[], None]) -> None:
        self._target = target
        self._on_dead = on_dead
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._pump, name="ace-stdout", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        with self._lock:
            self._waiting += len(data)
            overfull = self._waiting > LONGEST_BACKLOG
        if overfull:
            logger.error("the client has not read %d bytes; giving it up", self._waiting)
            self._on_dead()
            return
        self._queue.put(data)

    def close(self, timeout: float = 2.0) -> None:
        """Let what is queued get out, for at most `timeout` seconds."""
        self._queue.put(None)
        self._thread.join(timeout)

    def _pump(self) -> None:
        while (data := self._queue.get()) is not None:
            try:
                self._target.write(data)
                self._target.flush()
            except (OSError, ValueError):
                self._on_dead()
                return
            with self._lock:
                self._waiting -= len(data)


class StreamWriter:
    """The same over asyncio's sockets and pipes."""

    def __init__(self, stream: asyncio.StreamWriter, on_dead: Callable[[], None]) -> None:
        self._stream = stream
        self._on_dead = on_dead

    def write(self, data: bytes) -> None:
        if self._stream.transport.get_write_buffer_size() > LONGEST_BACKLOG:
            logger.error("the client does not read; giving it up")
            self._on_dead()
            return
        self._stream.write(data)

    def close(self, timeout: float = 2.0) -> None:
        self._stream.close()


async def read_messages(reader: asyncio.StreamReader, handler: MessageHandler) -> None:
    """Hand each message to `handler` until the stream ends."""
    while (length := await _content_length(reader)) is not None:
        if not 0 < length <= LONGEST_MESSAGE:
            handler.receive_garbage(f"expected a Content-Length of 1 to {LONGEST_MESSAGE}, got {length}")
            continue
        try:
            body = await reader.readexactly(length)
        except asyncio.IncompleteReadError:
            return
        _decode(body, handler)


async def _content_length(reader: asyncio.StreamReader) -> int | None:
    """Read one header block; None at the end of the stream, 0 where it names no length."""
    length = 0
    seen = False
    while True:
        try:
            line = await reader.readline()
        except ValueError:  # a "line" beyond the limit: garbage, and asyncio has dropped it
            continue
        if not line:
            return None
        if not line.strip():
            if seen:
                return length
            continue
        seen = True
        if (found := _LENGTH.search(line)) is not None:
            length = int(found[1])


def _decode(body: bytes, handler: MessageHandler) -> None:
    try:
        data: Any = json.loads(body.decode("utf-8"))
    except UnicodeDecodeError as error:
        handler.receive_garbage(f"expected UTF-8, got an invalid byte at {error.start}")
    except (ValueError, RecursionError) as error:
        handler.receive_garbage(f"expected JSON, got something else: {error}")
    else:
        try:
            handler.receive(data)
        except Exception:
            logger.exception("a message could not be handled")
