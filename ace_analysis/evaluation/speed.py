"""What a scan costs beside the model itself.

Both sides of a ratio are measured in one run, in turns, on the same texts in the same batches: a number from
another day or another load says nothing.
"""

import statistics
import textwrap
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ace_analysis.engine import Engine
from ace_analysis.engine.cache import ResultCache
from ace_analysis.errors import InputError
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.document import CodeDocument

FUNCTIONS_PER_DOCUMENT = 20


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
