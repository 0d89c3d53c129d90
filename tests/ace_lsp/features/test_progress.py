"""Progress bars against a client that answers when it is told to; real clients are in tests/protocol."""

import asyncio
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from ace_lsp.client import Client
from ace_lsp.features import progress
from ace_lsp.features.progress import ProgressBar, slow_work


class Bars:
    """pygls' progress, as far as it is used."""

    def __init__(self) -> None:
        self.tokens: dict[str, Future[Any]] = {}
        self.said: list[Any] = []
        self.answered = asyncio.Event()
        self.refuse = False

    async def create_async(self, token: str) -> None:
        await self.answered.wait()
        if self.refuse:
            raise RuntimeError("no bars here")
        self.tokens[token] = Future()

    def begin(self, _: str, value: Any) -> None:
        self.said.append(value)

    report = end = begin


@pytest.fixture
async def bars() -> Bars:
    return Bars()


def server(bars: Bars, *, can: bool = True) -> Any:
    return SimpleNamespace(client=Client(progress=can), work_done_progress=bars)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_was_said_before_the_client_answered_is_where_the_bar_begins(bars):
    bar = ProgressBar(server(bars), "title")
    bar.report("one", 0.1)
    bar.report("two", 0.256)
    assert bars.said == []
    bars.answered.set()
    await settle()
    bar.report("two", 0.256)
    bar.report("three", 9.0)
    bar.end("over")
    assert [each.kind for each in bars.said] == ["begin", "report", "end"]
    assert (bars.said[0].message, bars.said[0].percentage, bars.said[0].cancellable) == ("two", 26, False)
    assert bars.said[1].percentage == 100
    assert bars.said[2].message == "over"


async def test_o_finished_bars_are_forgotten(bars):
    bars.answered.set()
    for _ in range(3):
        bar = ProgressBar(server(bars), "title")
        await settle()
        assert len(bars.tokens) == 1
        bar.end()
        bar.end()
        bar.report("late", None)
    assert bars.tokens == {}
    assert [each.kind for each in bars.said] == ["begin", "end"] * 3


async def test_a_bar_that_ends_before_the_client_answered_never_begins(bars):
    bar = ProgressBar(server(bars), "title")
    await settle()
    bar.end()
    bars.answered.set()
    await settle()
    assert (bars.said, bars.tokens) == ([], {})


async def test_a_client_that_refuses_or_has_no_bars_changes_nothing(bars):
    bars.refuse = True
    bars.answered.set()
    for can in (True, False):
        bar = ProgressBar(server(bars, can=can), "title")
        bar.report("x", None)
        await settle()
        bar.end()
    assert bars.said == []


async def test_cancelling_calls_back_once_and_not_after_the_end(bars):
    bars.answered.set()
    cancelled: list[int] = []
    for number in range(2):
        bar = ProgressBar(server(bars), "title", on_cancel=lambda number=number: cancelled.append(number))
        await settle()
        (token,) = bars.tokens.values()
        if number:
            bar.end()
        token.cancel()
        bar.end()
    assert cancelled == [0]


async def test_only_slow_work_that_really_runs_has_a_bar(bars, monkeypatch):
    monkeypatch.setattr(progress, "SLOW", 0.02)
    bars.answered.set()
    made: list[ProgressBar] = []

    def make() -> ProgressBar:
        made.append(ProgressBar(server(bars), "slow"))
        return made[-1]

    async with slow_work(make, lambda: True) as report:
        report("quick", None)
    async with slow_work(make, lambda: False):
        await asyncio.sleep(0.1)
    assert made == []
    async with slow_work(make, lambda: True) as report:
        report("half", 0.5)
        await asyncio.sleep(0.1)
        report("most", 0.9)
    assert [each.message for each in bars.said] == ["half", "most", None]
