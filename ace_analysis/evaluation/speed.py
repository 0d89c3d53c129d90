"""What a scan costs beside the model itself, and what a worker takes of the machine's memory.

Both sides of a ratio are measured in one run, in turns, on the same texts in the same batches: a number from
another day or another load says nothing.
"""

import json
import statistics
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch

from ace_analysis.engine import Engine
from ace_analysis.engine.cache import ResultCache
from ace_analysis.errors import AceError, InputError
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.document import CodeDocument

FUNCTIONS_PER_DOCUMENT = 20
STATUS_NAMES = {"now": "VmRSS", "peak": "VmHWM"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanThroughput:
    """Tokens per second of the plain forward pass and of whole scans; `ratios` has one value per round."""

    tokens: int
    plain_tokens_per_second: float
    scan_tokens_per_second: float
    ratios: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """A scan's share of the plain forward's throughput: the median round's."""
        return statistics.median(self.ratios)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerMemory:
    """Resident bytes of a worker process after a scan, and the most that it had until then."""

    resident: int
    peak: int


def measure_scan_throughput(
    engine: Engine, functions: Sequence[CodeFunction], *, rounds: int = 5
) -> ScanThroughput:
    """Compare scans of functions, from text to findings, with the plain forward over the same tokens.

    A scan parses, tokenizes, runs the model, encodes what candidate sites are read at, and scores. The plain
    forward runs the same padded batches through the same blocks, stopped at the same layer, and nothing else.
    """
    if not functions or rounds < 1:
        raise InputError(f"expected functions and at least one round, got {len(functions)} and {rounds}")
    forgetful = Engine(engine.scanner, engine.bundle, engine.settings, ResultCache(None, 0, memory_entries=0))
    documents = _documents(functions)
    batches = [forgetful.batches(document) for document in documents]
    sides = (
        lambda index: [forgetful.scanner.resid_post(ids, forgetful.bundle.layer) for ids in batches[index]],
        lambda index: forgetful.scan(documents[index]),
    )
    _in_turns(sides, len(documents), rounds=1)
    tokens = forgetful.counters.tokens_run
    if not tokens:
        raise InputError("expected functions with candidate sites, got none")
    plain, scan = _in_turns(sides, len(documents), rounds)
    return ScanThroughput(
        tokens=tokens,
        plain_tokens_per_second=tokens * rounds / sum(plain),
        scan_tokens_per_second=tokens * rounds / sum(scan),
        ratios=tuple(alone / whole for alone, whole in zip(plain, scan, strict=True)),
    )


def _documents(functions: Sequence[CodeFunction]) -> list[CodeDocument]:
    """Files of some functions each, since a scan batches what one file holds."""
    texts = [textwrap.dedent(function.text).strip("\n") + "\n" for function in functions]
    starts = range(0, len(texts), FUNCTIONS_PER_DOCUMENT)
    return [
        CodeDocument(uri=f"{start}.py", text="\n\n".join(texts[start : start + FUNCTIONS_PER_DOCUMENT]))
        for start in starts
    ]


def _in_turns(
    sides: tuple[Callable[[int], Any], Callable[[int], Any]], n_documents: int, rounds: int
) -> tuple[list[float], list[float]]:
    """Seconds of each side in each round; within a round they change places with every document."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        total = [0.0, 0.0]
        for index in range(n_documents):
            for side in (0, 1) if (index + number) % 2 else (1, 0):
                started = time.perf_counter()
                sides[side](index)
                _wait_for_device()
                total[side] += time.perf_counter() - started
        for side in (0, 1):
            seconds[side].append(total[side])
    return seconds


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def measure_worker_memory(
    settings: Mapping[str, Any], text: str, *, command: Sequence[str] | None = None
) -> WorkerMemory | None:
    """Resident memory of a new worker after it scanned a text; None where the system does not tell.

    Args:
        settings: as a server sends them with `ace/load`.
        text: what is scanned.
        command: how the worker is started.
    """
    command = command or [sys.executable, "-m", "ace_analysis.worker"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            if process.stdin is None or process.stdout is None:
                raise AceError(f"expected pipes to {command[0]}, got none")
            for number, (method, params) in enumerate(
                [("ace/load", {"settings": dict(settings)}), ("ace/scan", {"uri": "speed.py", "text": text})]
            ):
                _send(process.stdin, {"jsonrpc": "2.0", "id": number, "method": method, "params": params})
                _answer(process.stdout, number)
            return _memory_of(process.pid)
        finally:
            process.kill()


def _send(sink: IO[bytes], message: Mapping[str, Any]) -> None:
    body = json.dumps(message).encode()
    try:
        sink.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        sink.flush()
    except OSError as error:
        raise AceError(f"expected a worker that reads requests, and it ended before ({error})") from error


def _answer(source: IO[bytes], number: int) -> None:
    """Wait for the answer to a request; whatever is told before it is passed over."""
    while True:
        length = 0
        while (line := source.readline()).strip():
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        if not line:
            raise AceError("expected an answer from the worker, and it ended before")
        message = json.loads(source.read(length))
        if message.get("id") == number and "method" not in message:
            if "error" in message:
                raise AceError(f"the worker answered with an error: {message['error'].get('message')}")
            return


def _memory_of(pid: int) -> WorkerMemory | None:
    """From /proc, which needs no other package; other systems have none."""
    path = Path(f"/proc/{pid}/status")
    if not path.exists():
        return None
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    entries = dict(line.split(":", 1) for line in lines if ":" in line)
    sizes = {key: int(entries[name].split()[0]) * 1024 for key, name in STATUS_NAMES.items()}
    return WorkerMemory(resident=sizes["now"], peak=sizes["peak"])
