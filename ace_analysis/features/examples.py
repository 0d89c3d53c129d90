"""Labelled prompts: each function of a corpus, clean and with one planted bug, with its candidate sites.

This is the only place where a training set is made. A prompt here is built exactly as a scan builds it (header,
then the scope's own text), because a readout is only as good as the match between the two.
"""

import gzip
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.document import TextSpan
from ace_analysis.source.mutation import MutationGenerator, MutationPair
from ace_analysis.source.syntax import CandidateSite, candidate_sites, scopes_of

CLEAN = "clean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One prompt with its candidate sites, in code points of the prompt.

    `bug` is the index of the planted bug's site in `sites`, or -1 in clean code; `origin` is, in a mutated
    prompt, the index of the matching site in the clean one (-1 where there is none). `group` names the function,
    `lines` counts the lines of its own text.
    """

    project: str
    group: str
    kind: str
    prompt: str
    sites: tuple[tuple[int, int, str], ...]
    bug: int
    origin: int
    lines: int


def examples_of(function: CodeFunction, generator: MutationGenerator, per_function: int) -> list[Example]:
    """The clean example first, then up to `per_function` mutants of different types where there are any."""
    pairs = generator.mutations_of(function.text)
    if not pairs:
        return []
    group = f"{function.project}/{function.path}"
    chosen = _spread(pairs, per_function, f"{group}:{len(function.text)}")
    clean = _example(function, group, function.text)
    if clean is None:
        return []
    examples = [clean]
    for pair in chosen:
        mutant = _example(function, group, pair.negative, pair=pair, clean=clean)
        if mutant is not None:
            examples.append(mutant)
    return examples if len(examples) > 1 else []


def _spread(pairs: list[MutationPair], count: int, seed: str) -> list[MutationPair]:
    """Up to `count` pairs, going round the mutation types so that common types don't crowd out rare ones."""
    rng = random.Random(seed)
    by_type: dict[str, list[MutationPair]] = {}
    for pair in rng.sample(pairs, len(pairs)):
        by_type.setdefault(pair.mutation_type, []).append(pair)
    queues = rng.sample(list(by_type.values()), len(by_type))
    chosen: list[MutationPair] = []
    while len(chosen) < count and any(queues):
        for queue in queues:
            if queue and len(chosen) < count:
                chosen.append(queue.pop())
    return chosen


def _example(
    function: CodeFunction,
    group: str,
    text: str,
    *,
    pair: MutationPair | None = None,
    clean: Example | None = None,
) -> Example | None:
    sites = _sites_of(text)
    shift = len(function.header)
    bug, origin = -1, -1
    if pair is not None and clean is not None:
        bug = _index_at(sites, pair.negative_span)
        origin = _index_starting(clean.sites, pair.positive_span.start + shift)
        if bug < 0:
            return None
    return Example(
        project=function.project,
        group=group,
        kind=pair.mutation_type.value if pair else CLEAN,
        prompt=function.header + text,
        sites=tuple((s.span.start + shift, s.span.end + shift, s.kind.value) for s in sites),
        bug=bug,
        origin=origin,
        lines=text.count("\n") + 1,
    )


def _sites_of(text: str) -> list[CandidateSite]:
    return [site for scope in scopes_of(text) for site in candidate_sites(text, scope)]


def _index_at(sites: list[CandidateSite], span: TextSpan) -> int:
    return next((i for i, site in enumerate(sites) if site.span.start == span.start), -1)


def _index_starting(sites: tuple[tuple[int, int, str], ...], start: int) -> int:
    return next((i for i, site in enumerate(sites) if site[0] == start), -1)


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write gzipped JSON lines; returns how many. The file appears only when complete."""
    partial = path.with_name(path.name + ".partial")
    count = 0
    with gzip.open(partial, "wt", encoding="utf-8", compresslevel=6) as file:
        for example in examples:
            file.write(json.dumps(asdict(example), separators=(",", ":"), ensure_ascii=False) + "\n")
            count += 1
    partial.replace(path)
    return count


def read_examples(path: Path) -> Iterator[Example]:
    """Stream the examples of a file written by `write_examples`."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            row["sites"] = tuple((start, end, kind) for start, end, kind in row["sites"])
            yield Example(**row)
