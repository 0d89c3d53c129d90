"""Candidates for a region from every source, each with its likelihood in the middle of its scope.

Two prompts are read, once each: the scope without the region, and the same told what stands there (`Opinion`
says why). The text that stands there is read behind both: that gives the model's own choice for every token
of it, and for every listed edit an upper bound of its likelihood, since a text can't be likelier than its
beginning. Only edits with the highest bounds are read to their ends behind the second prompt, and only the
best of those behind the first: reading is what costs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from ace_analysis.model.causal import CausalModel
from ace_analysis.model.store import Progress
from ace_analysis.report.repair import Source
from ace_analysis.source.sites import candidate_sites
from ace_analysis.steering.bounds import BOUND_WEIGHTS, bounds_of
from ace_analysis.steering.candidates import Programs, line_edits
from ace_analysis.steering.edits import EditKind
from ace_analysis.steering.opinion import Opinion, rank_score, removed_tokens
from ace_analysis.steering.options import RepairOptions
from ace_analysis.steering.prompts import end_ids, line_end_ids, middle_prompt, told_prompt
from ace_analysis.steering.regions import Level, Region
from ace_analysis.steering.stopping import Stop, block_end, line_end, statement_end
from ace_analysis.steering.token_tree import TokenTree
from ace_analysis.steering.writing import RowPlan, Writer, WritingOptions

LONGEST = 2000
"""Code points of one candidate; what is longer is a model that doesn't stop."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text for the region, and what is thought of it."""

    text: str
    opinion: Opinion
    detail: str = ""
    strength: float = 0.0


@dataclass(frozen=True, slots=True)
class _Proposal:
    text: str
    source: Source
    kind: EditKind | None = None
    strength: float = 0.0


class Gathering:
    """All candidates for one region of a scope's text."""

    def __init__(
        self, causal: CausalModel, header: str, text: str, region: Region, options: RepairOptions
    ) -> None:
        self._causal, self._options = causal, options
        self._text, self._region = text, region
        self._old = region.source(text)
        span = region.span
        before, after = header + text[: span.start], text[span.end :]
        self._prompt = middle_prompt(causal.tokenizer, before, after)
        self._told = told_prompt(causal.tokenizer, before, self._old, after)
        self._listed = self._list_edits()
        self._ends = end_ids(causal.tokenizer, causal.end_ids)
        if region.level is not Level.EXPRESSION:
            self._ends_scored = self._ends | line_end_ids(causal.tokenizer)
        else:
            self._ends_scored = self._ends
        self._known_told: dict[str, float] = {}

    def candidates(self, cancelled: Callable[[], bool], progress: Progress) -> list[Candidate]:
        """Each text once; the one that stands there is not among them."""
        old = self._causal.tokenizer.encode(self._old).ids[1:]
        tree = TokenTree(self._causal.model, self._prompt, behind=old)
        progress("writing it anew", 0.2)
        proposals = self._written(tree, cancelled)
        tree.clear()
        progress("trying small edits", 0.4)
        asked = tree if self._told is None else TokenTree(self._causal.model, self._told, tree, old)
        proposals += self._edited(tree, asked)
        texts: dict[str, _Proposal] = {}
        for proposal in proposals:
            if proposal.text.strip() and proposal.text != self._old and len(proposal.text) < LONGEST:
                texts.setdefault(proposal.text, proposal)
        return self._scored(tree, asked, list(texts.values()))

    def _written(self, tree: TokenTree, cancelled: Callable[[], bool]) -> list[_Proposal]:
        options = self._options
        drawn = max(0, options.candidates - 1)
        plans = [RowPlan()] * min(1, options.candidates)
        plans += [RowPlan(temperature=options.temperature)] * drawn
        plans += [
            RowPlan(vector=vector, strength=strength, gate=options.gate)
            for vector in options.vectors
            for strength in options.strengths
        ]
        if not plans:
            return []
        lines = self._old.count("\n") + 1
        writing = WritingOptions(
            ends=self._ends,
            stop=self._stop(),
            top_p=options.top_p,
            max_new_tokens=min(options.max_new_tokens * lines, len(tree.trunk) + options.longer),
            seed=options.seed,
            draft=tree.trunk,
        )
        rows = Writer(self._causal, tree, self._prompt).write(plans, writing, cancelled)
        return [
            _Proposal(row.text.rstrip(), _source(plan), strength=plan.strength)
            for plan, row in zip(plans, rows, strict=True)
            if row.finished
        ]

    def _stop(self) -> Stop | None:
        """Where the region's text is over; an expression is over where the model says so, or its line is."""
        if self._region.level in (Level.LINE, Level.EXPRESSION) and "\n" not in self._old:
            return line_end
        if self._region.level is Level.BLOCK:
            start = self._region.span.start
            return block_end(start - (self._text.rfind("\n", 0, start) + 1))
        return statement_end

    def _edited(self, tree: TokenTree, asked: TokenTree) -> list[_Proposal]:
        """The most promising edits, and the model's own choices for single tokens."""
        tokens = self._tokens(asked.along)
        if not self._listed:
            return tokens
        edits = self._promising([*self._listed, *tokens], tree, asked)
        if asked is not tree and len(edits) > self._options.edits_read:
            edits = self._best_told(asked, edits)
        return [each for each, _ in edits[: self._options.edits_read]]

    def _promising(
        self, listed: Sequence[_Proposal], tree: TokenTree, asked: TokenTree
    ) -> list[tuple[_Proposal, float]]:
        """Those with the highest bounds, best first, each with its bound behind the first prompt."""
        ids = tree.trunk
        tokens = self._causal.tokenizer.encode_many([each.text for each in listed])
        found = [each.ids[1:] for each in tokens]
        bounds = bounds_of(tree.along.cpu(), ids, found, self._ends_scored)
        told = bounds
        if asked is not tree:
            told = bounds_of(asked.along.cpu(), ids, found, self._ends_scored)
        hopes = [
            rank_score(self._opinion(each, bound, 0.0, other), BOUND_WEIGHTS)
            for each, bound, other in zip(listed, bounds, told, strict=True)
        ]
        order = sorted(range(len(hopes)), key=lambda index: -hopes[index])
        kept = self._distinct([listed[index] for index in order])
        known = {each.text: bound for each, bound in zip(listed, bounds, strict=True)}
        return [(each, known[each.text]) for each in kept]

    def _best_told(
        self, asked: TokenTree, edits: Sequence[tuple[_Proposal, float]]
    ) -> list[tuple[_Proposal, float]]:
        """The same, in the order of what is known once they were read behind the second prompt."""
        tokens = self._causal.tokenizer.encode_many([each.text for each, _ in edits])
        told = [sum(values) for values in asked.score([each.ids[1:] for each in tokens], self._ends_scored)]
        asked.clear()
        self._known_told |= {each.text: value for (each, _), value in zip(edits, told, strict=True)}
        hopes = [
            rank_score(self._opinion(each, bound, 0.0, other))
            for (each, bound), other in zip(edits, told, strict=True)
        ]
        return [edits[index] for index in sorted(range(len(hopes)), key=lambda index: -hopes[index])]

    def _distinct(self, edits: Sequence[_Proposal]) -> list[_Proposal]:
        """The first of them that are valid and other programs, as many as are to be read."""
        span, kept = self._region.span, list[_Proposal]()
        programs = Programs(self._text)
        for each in edits:
            if len(kept) == self._options.edits:
                break
            if programs.is_new(self._text[: span.start] + each.text + self._text[span.end :]):
                kept.append(each)
        return kept

    def _list_edits(self) -> list[_Proposal]:
        if not self._options.edits:
            return []
        span = self._region.span
        first = self._text.count("\n", 0, span.start)
        proposals: list[_Proposal] = []
        for line in range(first, first + self._old.count("\n") + 1):
            for edit in line_edits(self._text, line):
                if span.start <= edit.start and edit.end <= span.end:
                    start, end = edit.start - span.start, edit.end - span.start
                    text = self._old[:start] + edit.replacement + self._old[end:]
                    proposals.append(_Proposal(text, Source.EDIT, edit.kind))
        return proposals

    def _tokens(self, rows: Tensor) -> list[_Proposal]:
        """At each site of one token, the tokens that the model finds likeliest there."""
        if not self._options.alternatives:
            return []
        tokenized = self._causal.tokenizer.encode(self._old)
        spans, span = tokenized.spans[1:], self._region.span
        proposals: list[_Proposal] = []
        for site in candidate_sites(self._text):
            start, end = site.span.start - span.start, site.span.end - span.start
            if start < 0 or end > len(self._old):
                continue
            for index, token in enumerate(spans):
                whole = self._old[token.start : token.end]
                if token.end != end or whole.strip() != site.text:
                    continue
                for found in rows[index].topk(self._options.alternatives + 1).indices.tolist():
                    spelled = self._causal.tokenizer.spell(found).strip()
                    if spelled and spelled != site.text and spelled.isprintable():
                        text = self._old[:start] + spelled + self._old[end:]
                        proposals.append(_Proposal(text, Source.TOKEN))
        return proposals

    def _scored(self, tree: TokenTree, asked: TokenTree, proposals: Sequence[_Proposal]) -> list[Candidate]:
        texts = [self._old, *(each.text for each in proposals)]
        ids = [each.ids[1:] for each in self._causal.tokenizer.encode_many(texts)]
        before, *middle = map(sum, tree.score(ids, self._ends_scored))
        told: list[float | None] = [None] * len(middle)
        if asked is not tree:
            known = self._known_told
            new = [
                each for each, proposal in zip(ids[1:], proposals, strict=True) if proposal.text not in known
            ]
            fresh = iter([sum(values) for values in asked.score(new, self._ends_scored)])
            told = [known[each.text] if each.text in known else next(fresh) for each in proposals]
        return [
            Candidate(
                each.text,
                self._opinion(each, value, before, other),
                detail=describe(self._old, each.text),
                strength=each.strength,
            )
            for each, value, other in zip(proposals, middle, told, strict=True)
        ]

    def _opinion(self, proposal: _Proposal, middle: float, before: float, told: float | None) -> Opinion:
        return Opinion(
            middle=middle,
            middle_before=before,
            told=told,
            removed=removed_tokens(self._old, proposal.text),
            source=proposal.source,
            kind=proposal.kind,
        )


def _source(plan: RowPlan) -> Source:
    if plan.is_steered:
        return Source.STEERED
    return Source.SAMPLE if plan.temperature > 0 else Source.GREEDY


def describe(old: str, new: str) -> str:
    """The change in a few words: the tokens between what two texts begin and what they end with."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    while start and any(_joined(text, start) for text in (old, new)):
        start -= 1
    end = 0
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    while end and any(_joined(text, len(text) - end) for text in (old, new)):
        end -= 1
    was, now = old[start : len(old) - end].strip(), new[start : len(new) - end].strip()
    if not was:
        return f"`{now}` is added"
    return f"`{was}` becomes `{now}`" if now else f"`{was}` is removed"


def _joined(text: str, at: int) -> bool:
    """Whether a place lies within a word or within an operator."""
    if not 0 < at < len(text):
        return False
    one, two = (char.isalnum() or char == "_" for char in text[at - 1 : at + 1])
    return (one and two) or {*text[at - 1 : at + 1]} <= set("<>=!+-*/%&|^")
