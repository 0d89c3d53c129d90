"""Runs a server for one client over stdio, a pipe or a socket, until one of the two is gone.

It ends with `exit`, with the end of the input, with a client that doesn't read, or with the client's process.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable
from typing import BinaryIO

from ace_lsp.server import AceServer
from ace_lsp.transport import StreamWriter, ThreadReader, ThreadWriter, read_messages

PARENT_POLL = 2.0
"""Seconds between two looks at whether the client's process is alive."""

Writer = ThreadWriter | StreamWriter
MakeWriter = Callable[[Callable[[], None]], Writer]


def own_stdout() -> BinaryIO:
    """Keep stdout for messages: what any library prints goes to stderr from now on."""
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return messages


async def serve_stdio(stdout: BinaryIO, parent: int | None = None) -> int:
    reader = ThreadReader(sys.stdin.fileno())
    return await _serve(reader.stream, lambda on_dead: ThreadWriter(stdout, on_dead), parent)


async def serve_pipe(path: str, parent: int | None = None) -> int:
    """Connect to a pipe that the client made."""
    if sys.platform == "win32":
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.create_pipe_connection(lambda: protocol, path)  # pyright: ignore
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
    else:
        reader, writer = await asyncio.open_unix_connection(path)
    return await _serve(reader, lambda on_dead: StreamWriter(writer, on_dead), parent)


async def serve_socket(host: str, port: int, parent: int | None = None) -> int:
    """Connect to a socket that the client listens on."""
    reader, writer = await asyncio.open_connection(host, port)
    return await _serve(reader, lambda on_dead: StreamWriter(writer, on_dead), parent)


async def serve_tcp(host: str, port: int, announce: Callable[[str], None]) -> int:
    """Listen, serve the first client that comes, and end with it: for debugging."""
    client: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    client = asyncio.get_running_loop().create_future()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if client.done():
            writer.close()
        else:
            client.set_result((reader, writer))

    listener = await asyncio.start_server(connected, host, port)
    where = listener.sockets[0].getsockname()
    announce(f"listening on {where[0]}:{where[1]}")
    reader, writer = await client
    listener.close()
    return await _serve(reader, lambda on_dead: StreamWriter(writer, on_dead), None)


async def _serve(reader: asyncio.StreamReader, make_writer: MakeWriter, parent: int | None) -> int:
    """The exit code that the specification wants: 0 after `shutdown`, else 1."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    server = AceServer()
    server.protocol.on_exit = over
    writer = make_writer(lambda: _set_soon(loop, over))
    server.protocol.set_writer(writer)
    tasks = [
        asyncio.ensure_future(over.wait()),
        asyncio.ensure_future(read_messages(reader, server.protocol)),
        asyncio.ensure_future(_parent_gone(server, parent)),
    ]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    await server.close()
    writer.close()
    return server.protocol.exit_code


def _set_soon(loop: asyncio.AbstractEventLoop, event: asyncio.Event) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(event.set)


async def _parent_gone(server: AceServer, parent: int | None) -> None:
    """Return when the client's process has ended.

    A process that is not there at the first look lives elsewhere, behind ssh or in another container.
    """
    seen: set[int] = set()
    while True:
        if (pid := server.process_id or parent) is not None:
            if _alive(pid):
                seen.add(pid)
            elif pid in seen:
                return
        await asyncio.sleep(PARENT_POLL)


def _alive(pid: int) -> bool:
    if sys.platform == "win32":  # there, os.kill would end it; the end of the input tells as much
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
