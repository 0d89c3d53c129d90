"""Texts to explain: findings at planted bugs, and tokens of right code, each with another text beside it.

Gradients, and ablations with counterfactual outputs, need a second text whose tokens stand opposite those of
the first. A mutant of a function is one where it keeps the number of tokens: for a finding the text is the
mutant and the right function stands beside it, for a token it is the other way round. Functions are those of
held-out installed projects, as a scan would read them, and what is behind the last token read is cut off.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.targets import LogitDifference, ReadoutTarget, Target
from ace_analysis.errors import InputError
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.positions import site_positions
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.model.tokens import CodeTokenizer, TokenizedText
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.mutation import MutationGenerator, MutationPair
from ace_analysis.source.mutation.generator import spread
from ace_analysis.source.sites import candidate_sites

Progress = Callable[[str, float | None], None]
Kind = Literal["finding", "token"]
KINDS: tuple[Kind, ...] = ("finding", "token")

BEHIND = 8
"""A token to explain is at most so many behind the place in which the two texts differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptOptions:
    """How many texts of each kind, how long they may be, and the seed that they are drawn with."""

    count: int = 40
    fewest_tokens: int = 16
    most_tokens: int = 64
    mutants: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.fewest_tokens <= self.most_tokens:
            raise InputError(
                f"expected texts of 2 tokens or more, got {self.fewest_tokens} to {self.most_tokens}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributionPrompt:
    """A text, the other text, and what is explained, as plain data.

    `positions` and `site` are a finding's: where the readout's slots are read, and the site's kind. `actual`
    is the token that is explained where it follows the text's end.
    """

    name: str
    project: str
    kind: Kind
    ids: tuple[int, ...]
    counterfactual: tuple[int, ...]
    positions: tuple[int, ...] = ()
    site: str = ""
    actual: int = -1

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> "AttributionPrompt":
        """From what `dataclasses.asdict` and JSON have made of one."""
        rows = {name: tuple(kept[name]) for name in ("ids", "counterfactual", "positions")}
        return cls(**{**kept, **rows})

    def target(self, bundle: Bundle) -> Target:
        if self.kind == "finding":
            return ReadoutTarget(bundle, self.positions, self.site)
        return LogitDifference(actual=self.actual)


def finding_prompts(
    functions: Sequence[CodeFunction],
    scanner: ResidualScanner,
    bundle: Bundle,
    options: PromptOptions | None = None,
    *,
    progress: Progress | None = None,
) -> list[AttributionPrompt]:
    """Planted bugs that the bundle's readout finds at its loosest threshold, one a function."""
    options = options or PromptOptions()
    anatomy = Anatomy.of(scanner)
    found: list[AttributionPrompt] = []
    for prompts in _by_function(functions, scanner.tokenizer, bundle, options):
        for prompt in prompts:
            if _log_odds(scanner, anatomy, bundle, prompt) >= bundle.calibration.loosest:
                found.append(replace(prompt, name=f"finding {len(found)}: {prompt.name}"))
                break
        if progress is not None:
            progress("looking for findings", len(found) / options.count)
        if len(found) == options.count:
            break
    return found


def token_prompts(
    functions: Sequence[CodeFunction], tokenizer: CodeTokenizer, options: PromptOptions | None = None
) -> list[AttributionPrompt]:
    """A token behind the place where a mutant would differ, in right code, one a function."""
    options = options or PromptOptions()
    found: list[AttributionPrompt] = []
    for function in functions:
        rng = random.Random(f"{options.seed}:{function.project}:{function.path}")
        for pair in _mutants(function, options, rng):
            prompt = _token(function, pair, tokenizer, options, rng)
            if prompt is not None:
                found.append(replace(prompt, name=f"token {len(found)}: {prompt.name}"))
                break
        if len(found) == options.count:
            break
    return found


def _by_function(
    functions: Sequence[CodeFunction], tokenizer: CodeTokenizer, bundle: Bundle, options: PromptOptions
) -> Iterator[list[AttributionPrompt]]:
    for function in functions:
        rng = random.Random(f"{options.seed}:{function.project}:{function.path}")
        prompts = (
            _finding(function, pair, tokenizer, bundle, options) for pair in _mutants(function, options, rng)
        )
        yield [prompt for prompt in prompts if prompt is not None]


def _mutants(function: CodeFunction, options: PromptOptions, rng: random.Random) -> list[MutationPair]:
    return spread(MutationGenerator(options.seed).mutations_of(function.text), options.mutants, rng)


def _finding(
    function: CodeFunction,
    pair: MutationPair,
    tokenizer: CodeTokenizer,
    bundle: Bundle,
    options: PromptOptions,
) -> AttributionPrompt | None:
    """The mutant up to the last token that its site is read at; None where the texts don't fit."""
    site = next((each for each in candidate_sites(pair.negative) if each.span == pair.negative_span), None)
    if site is None or site.kind not in bundle.readout.kind_bias:
        return None
    wrong, right = (tokenizer.encode(function.header + text) for text in (pair.negative, pair.positive))
    text, at = function.header + pair.negative, site.span.shifted(len(function.header))
    positions = site_positions(text, wrong.spans, [at], bundle.readout.slots)[0].tolist()
    length = max(positions) + 1
    if min(positions) < 0 or not _fit(wrong, right, length, options):
        return None
    return AttributionPrompt(
        name=f"{function.path} {pair.mutation_type.value}",
        project=function.project,
        kind="finding",
        ids=tuple(wrong.ids[:length]),
        counterfactual=tuple(right.ids[:length]),
        positions=tuple(positions),
        site=site.kind.value,
    )


def _token(
    function: CodeFunction,
    pair: MutationPair,
    tokenizer: CodeTokenizer,
    options: PromptOptions,
    rng: random.Random,
) -> AttributionPrompt | None:
    right, wrong = (tokenizer.encode(function.header + text) for text in (pair.positive, pair.negative))
    differ = [at for at, both in enumerate(zip(right.ids, wrong.ids, strict=False)) if both[0] != both[1]]
    if not differ or len(right) != len(wrong):
        return None
    first = max(differ[-1] + 1, options.fewest_tokens)
    last = min(first + BEHIND, options.most_tokens, len(right) - 1)
    if first > last:
        return None
    length = rng.randint(first, last)
    if not _fit(right, wrong, length, options):
        return None
    return AttributionPrompt(
        name=f"{function.path} before {right.ids[length]}",
        project=function.project,
        kind="token",
        ids=tuple(right.ids[:length]),
        counterfactual=tuple(wrong.ids[:length]),
        actual=right.ids[length],
    )


def _fit(first: TokenizedText, second: TokenizedText, length: int, options: PromptOptions) -> bool:
    """Whether the two texts have tokens opposite each other, and the part that is run the right length."""
    return (
        len(first) == len(second)
        and options.fewest_tokens <= length <= options.most_tokens
        and first.ids[:length] != second.ids[:length]
    )


def _log_odds(scanner: ResidualScanner, anatomy: Anatomy, bundle: Bundle, prompt: AttributionPrompt) -> float:
    resid = scanner.resid_post(torch.tensor([prompt.ids]), bundle.layer)
    bound: Any = prompt.target(bundle).bind(resid[0], anatomy)
    return float(bound.readout(resid[0]))
