"""One pass over a scope and over all that could replace a part of it: its likelihood and its error scores.

A scope with a candidate in it is read from the left, so the pass tells how likely the candidate is and how
likely what follows becomes through it: that part is what tells a right candidate from a frequent one
(pointwise mutual information; Holtzman et al., arXiv:2104.08315, §3). The scanner's readout wants the stream
of the very same tokens, so it is taken on the way and costs nothing more. What stands before the region is
read once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ace_analysis.errors import Cancelled
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.scoring import SitePrompt, SiteScorer
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.hooks import hooks
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
class ScopeReading:
    """Log-probability (nats) of what a text doesn't share with the others, and the scores of its sites."""

    logprob: float
    sites: tuple[SiteLogit, ...] = ()

    def highest(self, *, in_region: bool) -> float:
        """The highest log-odds inside or outside of the region; minus infinity where no site is."""
        chosen = (site.logit for site in self.sites if site.in_region == in_region)
        return max(chosen, default=float("-inf"))


class ScopePass:
    """Reads the variants of one scope; `header` stands in front of each, as in a scan."""

    def __init__(self, causal: CausalModel, header: str, bundle: Bundle | None) -> None:
        self._causal = causal
        self._header = header
        self._bundle = bundle
        self._scorer: SiteScorer | None = None
        if bundle is not None:
            bundle.check_fingerprint(causal.info.fingerprint)
            self._scorer = SiteScorer(bundle, device=causal.info.device, dtype=causal.info.dtype)

    def read(self, texts: Sequence[ScopeText], cancelled: Callable[[], bool] = never) -> list[ScopeReading]:
        """A reading of each text. All of them begin alike.

        Raises:
            Cancelled: when `cancelled()` turns true, between two passes.
        """
        prompts = [self._header + each.text[: each.end] for each in texts]
        tokens = self._causal.tokenizer.encode_many(prompts)
        shared = _shared([each.ids for each in tokens])
        branches = _Branches([each.ids[shared:] for each in tokens])
        resid: list[Tensor] = []

        def keep(module: nn.Module, arguments: Any, output: Any) -> None:
            resid.append((output[0] if isinstance(output, tuple) else output)[0])

        watched = [] if self._bundle is None else [(self._causal.blocks[self._bundle.layer], keep)]
        with hooks(after=watched):
            tree = TokenTree(self._causal.model, tokens[0].ids[:shared])
            branches.grow(tree, cancelled)
        sums = branches.logprobs(tree, cancelled)
        if not resid or self._scorer is None:
            return [ScopeReading(total) for total in sums]
        stream = torch.cat(resid)
        rows = [
            torch.cat([stream[:shared], stream[[shared + node for node in path]]]) for path in branches.paths
        ]
        sites = self._sites(texts, prompts, tokens, rows)
        return [ScopeReading(total, each) for total, each in zip(sums, sites, strict=True)]

    def _sites(
        self,
        texts: Sequence[ScopeText],
        prompts: Sequence[str],
        tokens: Sequence[TokenizedText],
        rows: Sequence[Float[Tensor, "pos d_model"]],
    ) -> list[tuple[SiteLogit, ...]]:
        scorer, header = self._scorer, len(self._header)
        if scorer is None:
            return [() for _ in texts]
        found = [
            [
                site
                for site in candidate_sites(each.text)
                if site.span.end <= each.end and scorer.can_score(site)
            ]
            for each in texts
        ]
        asked = [
            SitePrompt(prompt, each.spans, [_shifted(site, header) for site in sites])
            for prompt, each, sites in zip(prompts, tokens, found, strict=True)
        ]
        scores = scorer.score(nn.utils.rnn.pad_sequence(list(rows), batch_first=True), asked)
        return [
            tuple(
                SiteLogit(site.span, logit, _is_in(site.span, each.region))
                for site, logit in zip(sites, score.logits, strict=True)
                if logit == logit
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
