import asyncio
import io
import os
import threading

import pytest

from ace_lsp import transport
from ace_lsp.transport import ThreadReader, ThreadWriter, read_messages


class Heard:
    def __init__(self) -> None:
        self.messages: list[object] = []
        self.garbage: list[str] = []

    def receive(self, data: object) -> None:
        if data == "explode":
            raise ValueError("boom")
        self.messages.append(data)

    def receive_garbage(self, reason: str) -> None:
        self.garbage.append(reason)


async def heard(data: bytes) -> Heard:
    reader, handler = asyncio.StreamReader(limit=1 << 16), Heard()
    reader.feed_data(data)
    reader.feed_eof()
    await read_messages(reader, handler)
    return handler


def framed(body: bytes) -> bytes:
    return b"Content-Length: %d\r\n\r\n" % len(body) + body


async def test_messages_are_read_one_after_the_other_until_the_end():
    assert (await heard(framed(b"1") + framed(b'{"a": [2]}') + framed(b"3")[:-1])).messages == [1, {"a": [2]}]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (framed(b"{"), "expected JSON"),
        (framed(b"\xff"), "expected UTF-8, got an invalid byte at 0"),
        (b"Content-Length: x\r\n\r\n", "expected a Content-Length of 1 to"),
        (b"Content-Length: 999999999999\r\n\r\n", "got 999999999999"),
        (framed(b"[" * 100_000), "expected JSON"),
    ],
)
async def test_garbage_is_told_and_the_next_message_is_read(data, told):
    handler = await heard(data + framed(b"1"))
    assert told in handler.garbage[0]
    assert handler.messages == [1]


async def test_after_a_body_of_unknown_length_the_next_header_is_found_again():
    handler = await heard(b"Content-Length: x\r\n\r\n" + b'{"lost": 1}' + framed(b"1") + framed(b"2"))
    assert handler.messages == [1, 2]


async def test_a_message_that_cannot_be_handled_does_not_end_the_reading():
    assert (await heard(framed(b'"explode"') + framed(b"1"))).messages == [1]


async def test_the_thread_that_reads_ends_with_the_stream():
    out, into = os.pipe()
    reader = ThreadReader(out)
    os.write(into, framed(b"1"))
    os.close(into)
    handler = Heard()
    await read_messages(reader.stream, handler)
    assert handler.messages == [1]
    os.close(out)


def test_what_is_written_arrives_in_order_before_closing_ends():
    target = io.BytesIO()
    writer = ThreadWriter(target, lambda: None)
    for number in range(100):
        writer.write(b"%d," % number)
    writer.close()
    assert target.getvalue() == b"".join(b"%d," % number for number in range(100))


def test_a_reader_that_is_gone_is_told():
    dead = threading.Event()
    target = io.BytesIO()
    target.close()
    ThreadWriter(target, dead.set).write(b"x")
    assert dead.wait(5)


def test_a_reader_that_does_not_read_is_given_up_and_writing_never_blocks(monkeypatch):
    monkeypatch.setattr(transport, "LONGEST_BACKLOG", 1000)
    out, into = os.pipe()
    dead = threading.Event()
    writer = ThreadWriter(os.fdopen(into, "wb"), dead.set)
    for _ in range(300):
        writer.write(b"x" * 1000)
    assert dead.is_set()
    os.close(out)
