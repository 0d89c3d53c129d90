"""Work counted, not timed: the same figure on every machine, however busy."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

Count = Callable[[Callable[[], object]], int]


def count_lines(work: Callable[[], object]) -> int:
    """How many lines of Python `work` runs; what is done in C counts as the line that asks for it."""
    lines = 0

    def trace(_frame: FrameType, event: str, _value: Any) -> Callable[..., Any]:
        nonlocal lines
        lines += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


@pytest.fixture
def lines_run() -> Count:
    return count_lines
