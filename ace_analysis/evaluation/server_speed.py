"""How fast the language server is, seen from outside: a process that is spoken to on stdio, as by an editor.

The engine knows nothing of the server, so nothing of it is imported here; it is a command.
"""

import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ace_analysis.errors import InputError
from ace_analysis.evaluation.editor import running

SERVER = (sys.executable, "-P", "-m", "ace_lsp")
EMPTY_SERVER = (
    sys.executable,
    "-P",
    "-c",
    "from pygls.lsp.server import LanguageServer; LanguageServer('empty', '1').start_io()",
)
"""What any server that is built on pygls pays, and nothing else."""

FUNCTION = '''\
def merge_intervals(intervals, gap=0):
    """Join the intervals that touch or overlap, or lie at most `gap` apart."""
    if not intervals:
        return []
    ordered = sorted(intervals, key=lambda interval: (interval[0], interval[1]))
    merged = [list(ordered[0])]
    widest = 0
    for start, end in ordered[1:]:
        if end < start:
            raise ValueError(f"an interval ends at {end} before it starts at {start}")
        last = merged[-1]
        if start - last[1] <= gap:
            last[1] = max(last[1], end)
        else:
            merged.append([start, end])
        widest = max(widest, merged[-1][1] - merged[-1][0])
    total = 0
    for start, end in merged:
        length = end - start
        if length > 0:
            total += length
    if total > widest * len(merged):
        raise ArithmeticError("the whole is longer than its parts")
    result = []
    for start, end in merged:
        if end - start >= EDITED:
            result.append((start, end))
    if len(result) == 1 and result[0] == (0, 0):
        return []
    return result
'''
"""Thirty lines; EDITED is replaced by another number for each edit."""

LAST = 131
"""The number in the last function of the long file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitializeSpeed:
    """Seconds from starting a process to its answer to `initialize`, one value per round."""

    server: tuple[float, ...]
    empty: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How many times as long as an empty server it takes: the median round's."""
        return statistics.median(mine / least for mine, least in zip(self.server, self.empty, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class EditingSpeed:
    """What editing costs; scopes are those of a file of a thousand lines that the model had to read."""

    edit_to_diagnostic: tuple[float, ...]
    lines: int
    scopes: int
    scopes_read_after_edit: int
    scopes_read_unchanged: int
    worker_resident_bytes: int | None

    @property
    def seconds(self) -> float:
        """The median from an edit in a function of thirty lines to its diagnostics."""
        return statistics.median(self.edit_to_diagnostic)


def measure_initialize(rounds: int = 9) -> InitializeSpeed:
    """Start both servers in turns, after one start of each that fills the disk's cache."""
    if rounds < 1:
        raise InputError(f"expected at least one round, got {rounds}")
    for command in (EMPTY_SERVER, SERVER):
        _answer_time(command)
    times = [(_answer_time(SERVER), _answer_time(EMPTY_SERVER)) for _ in range(rounds)]
    return InitializeSpeed(server=tuple(each[0] for each in times), empty=tuple(each[1] for each in times))


def measure_editing(options: Mapping[str, Any] | None = None, *, rounds: int = 5) -> EditingSpeed:
    """Edit files on the real server with its real worker, as an editor with `options` would start it.

    Nothing is kept on disk, since what an earlier run has read would cost this one nothing.
    """
    if rounds < 1:
        raise InputError(f"expected at least one round, got {rounds}")
    with running(SERVER) as server:
        server.initialize({**(options or {}), "explainAhead": 0, "cache": {"max_megabytes": 0}})
        server.open(_function(0))
        server.rest()
        times = tuple(server.edit_time(_function(number + 1)) for number in range(rounds))
        text = _long_file()
        server.wait_to_be_asked()
        server.replace(text)
        first = server.analyse()
        server.replace(text.replace(f">= {LAST}:", f"> {LAST}:"))
        edited, unchanged = server.analyse(), server.analyse()
        pid = server.command("ace.showStatus")["workerPid"]
        return EditingSpeed(
            edit_to_diagnostic=times,
            lines=text.count("\n"),
            scopes=first["scopes"],
            scopes_read_after_edit=edited["analysed"],
            scopes_read_unchanged=unchanged["analysed"],
            worker_resident_bytes=_resident(pid),
        )


def _function(number: int) -> str:
    return FUNCTION.replace("EDITED", str(number))


def _long_file() -> str:
    """A thousand lines of functions, no two of which are the same."""
    functions = [
        _function(n).replace("merge_intervals", f"merge_intervals_{n}") for n in range(100, LAST + 1)
    ]
    return "\n\n".join(functions)


def _answer_time(command: Sequence[str]) -> float:
    begin = time.perf_counter()
    with running(command) as server:
        return server.initialize({}) - begin


def _resident(pid: int) -> int | None:
    """Resident bytes of a process; None where there is no /proc to tell."""
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        return None
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), None)
