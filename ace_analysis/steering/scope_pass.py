"""A scope with all that could replace a part of it, read as one text that branches: error scores, likelihood.

A scope with a candidate in it is read from the left, so the whole model tells how likely the candidate is and
how likely what follows becomes through it: that part is what tells a right candidate from a frequent one
(pointwise mutual information; Holtzman et al., arXiv:2104.08315, §3). The error scores need the first blocks
alone, a fifth of that work, so they are had first, and of more candidates. What stands before the region is
read once for all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ace_analysis.errors import Cancelled
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.scoring import SitePrompt, SiteScorer
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.scan import never
from ace_analysis.model.tokens import TokenizedText
from ace_analysis.source.document import TextSpan
from ace_analysis.source.sites import CandidateSite, candidate_sites
from ace_analysis.steering.drafts import common_start
from ace_analysis.steering.token_tree import ROOT, TokenTree

TOKENS_AT_ONCE = 256
"""Tokens of branches in one pass: between two passes somebody may ask to stop."""

ROWS_AT_ONCE = 48
"""Unembedded at once: on one core of 2020 that is a fifth of a second with 150,000 tokens."""


@dataclass(frozen=True, slots=True)
class ScopeText:
    """A scope's text as it could be. `region` is what was written anew, in the text's own code points.

    `end` is where the reading ends: behind it all candidates are equal and far away.
    """

    text: str
    region: TextSpan
    end: int


@dataclass(frozen=True, slots=True)
class SiteLogit:
    """Log-odds that a candidate site is wrong; its place is in the scope's text."""

    span: TextSpan
    logit: float
    in_region: bool


@dataclass(frozen=True, slots=True)
class ScopeScores:
    """Scores of a text's candidate sites."""

    sites: tuple[SiteLogit, ...] = ()

    def highest(self, *, in_region: bool) -> float:
        """The highest log-odds inside or outside of the region; minus infinity where no site is."""
        chosen = (site.logit for site in self.sites if site.in_region == in_region)
        return max(chosen, default=float("-inf"))


class ScopePass:
    """Reads the variants of one scope; `header` stands in front of each, as in a scan."""

    def __init__(self, causal: CausalModel, header: str) -> None:
        self._causal = causal
        self._header = header

    def logprobs(self, texts: Sequence[ScopeText], cancelled: Callable[[], bool] = never) -> list[float]:
        """For each text the log-probability, in nats, of what it doesn't begin with like the others.

        Raises:
            Cancelled: when `cancelled()` turns true, between two passes.
        """
        tokens, shared = self._tokenized(texts)
        branches = _Branches([each.ids[shared:] for each in tokens])
        _ask(cancelled)
        tree = TokenTree(self._causal.model, tokens[0].ids[:shared])
        branches.grow(tree, cancelled)
        return branches.logprobs(tree, cancelled)

    def scores(
        self, bundle: Bundle, texts: Sequence[ScopeText], cancelled: Callable[[], bool] = never
    ) -> list[ScopeScores]:
        """The error scores of each text, from the blocks that the bundle's readout needs alone.

        Raises:
            FingerprintError: the bundle was made from another model.
            Cancelled: when `cancelled()` turns true, before a block.
        """
        bundle.check_fingerprint(self._causal.info.fingerprint)
        tokens, shared = self._tokenized(texts)
        branches = _Branches([each.ids[shared:] for each in tokens])
        ids, mask, places = branches.as_one(tokens[0].ids[:shared])
        stream = self._causal.scanner.resid_post(
            ids, bundle.layer, attention_mask=mask, position_ids=places, cancelled=cancelled
        )[0]
        rows = [
            torch.cat([stream[:shared], stream[[shared + node for node in path]]]) for path in branches.paths
        ]
        return self._sites(bundle, texts, tokens, rows)

    def _tokenized(self, texts: Sequence[ScopeText]) -> tuple[list[TokenizedText], int]:
        """The texts as far as they are read, and how many tokens they begin with alike."""
        prompts = [self._header + each.text[: each.end] for each in texts]
        tokens = self._causal.tokenizer.encode_many(prompts)
        return tokens, _shared([each.ids for each in tokens])

    def _sites(
        self,
        bundle: Bundle,
        texts: Sequence[ScopeText],
        tokens: Sequence[TokenizedText],
        rows: Sequence[Float[Tensor, "pos d_model"]],
    ) -> list[ScopeScores]:
        scorer = SiteScorer(bundle, device=self._causal.info.device, dtype=self._causal.info.dtype)
        header = len(self._header)
        found = [
            [
                site
                for site in candidate_sites(each.text)
                if site.span.end <= each.end and scorer.can_score(site)
            ]
            for each in texts
        ]
        asked = [
            SitePrompt(
                self._header + text.text[: text.end], each.spans, [_shifted(site, header) for site in sites]
            )
            for text, each, sites in zip(texts, tokens, found, strict=True)
        ]
        scores = scorer.score(nn.utils.rnn.pad_sequence(list(rows), batch_first=True), asked)
        return [
            ScopeScores(
                tuple(
                    SiteLogit(site.span, logit, _is_in(site.span, each.region))
                    for site, logit in zip(sites, score.logits, strict=True)
                    if logit == logit
                )
            )
            for each, sites, score in zip(texts, found, scores, strict=True)
        ]


class _Branches:
    """Token sequences as one tree: what they share is one node."""

    def __init__(self, branches: Sequence[Sequence[int]]) -> None:
        numbers: dict[tuple[int, int], int] = {}
        self.paths: list[list[int]] = []
        self._tokens: list[int] = []
        self._parents: list[int] = []
        for branch in branches:
            parent, path = ROOT, []
            for token in branch:
                if (parent, token) not in numbers:
                    numbers[parent, token] = len(self._tokens)
                    self._tokens.append(token)
                    self._parents.append(parent)
                parent = numbers[parent, token]
                path.append(parent)
            self.paths.append(path)

    def as_one(
        self, shared: Sequence[int]
    ) -> tuple[Int[Tensor, "1 pos"], Bool[Tensor, "1 pos pos"], Int[Tensor, "1 pos"]]:
        """All of it as one text that branches: ids, who sees whom, and where each token stands."""
        start, count = len(shared), len(shared) + len(self._tokens)
        sees = torch.ones(count, count, dtype=torch.bool).tril()
        sees[start:, start:] = False
        places = list(range(start))
        for node, parent in enumerate(self._parents, start=start):
            if parent != ROOT:
                sees[node, start:] = sees[start + parent, start:]
            sees[node, node] = True
            places.append(start if parent == ROOT else places[start + parent] + 1)
        return torch.tensor([[*shared, *self._tokens]]), sees[None], torch.tensor([places])

    def grow(self, tree: TokenTree, cancelled: Callable[[], bool]) -> None:
        for start in range(0, len(self._tokens), TOKENS_AT_ONCE):
            _ask(cancelled)
            stop = start + TOKENS_AT_ONCE
            tree.grow(self._tokens[start:stop], self._parents[start:stop])

    def logprobs(self, tree: TokenTree, cancelled: Callable[[], bool]) -> list[float]:
        """The log-probability of each branch."""
        followers: dict[int, list[int]] = {}
        for node, parent in enumerate(self._parents):
            followers.setdefault(parent, []).append(node)
        values = [0.0] * len(self._tokens)
        parents = sorted(followers)
        for start in range(0, len(parents), ROWS_AT_ONCE):
            _ask(cancelled)
            part = parents[start : start + ROWS_AT_ONCE]
            for parent, row in zip(part, tree.log_probs(part), strict=True):
                for node in followers[parent]:
                    values[node] = float(row[self._tokens[node]])
        return [sum(values[node] for node in path) for path in self.paths]


def _ask(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Cancelled("the repair was cancelled by the caller; nothing was changed")


def _shared(rows: Sequence[Sequence[int]]) -> int:
    """How many tokens all rows begin with; at least one is left for each, and one is shared."""
    least = min(len(row) for row in rows) - 1
    return max(1, min(least, *(common_start(rows[0], row) for row in rows)))


def _shifted(site: CandidateSite, by: int) -> CandidateSite:
    return CandidateSite(site.span.shifted(by), site.kind, site.text)


def _is_in(span: TextSpan, region: TextSpan) -> bool:
    return region.start <= span.start and span.end <= region.end
