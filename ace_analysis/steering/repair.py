"""From a wrong place to texts that could replace it: candidates from several sources, gates, one ranking.

Everything that is written anew and every small edit of the line is scored by one model with one prompt in its
cache, in few passes. Then the gates of `gates.py`; for the best of what is left the error scores of the scope
with them in it, for the best of those its likelihood (`scope_pass.py`), and the ranking. What fails a gate is
never offered, however likely it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.bundle import Bundle
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.hooks import hooks
from ace_analysis.model.scan import never
from ace_analysis.model.store import Progress
from ace_analysis.report.repair import Fix, Gate, GateResult, Source
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.syntax import Scope, scopes_of
from ace_analysis.steering.gates import TextGates
from ace_analysis.steering.gathering import Candidate, Gathering
from ace_analysis.steering.opinion import rank_score
from ace_analysis.steering.options import RepairOptions
from ace_analysis.steering.regions import Level, region_of
from ace_analysis.steering.scope_pass import ScopePass, ScopeScores, ScopeText

__all__ = ["RepairOptions", "RepairRequest", "repair", "repair_line"]

AFTER = 100
"""Code points behind the region that a candidate's effect is read over, up to the end of a line. What is
farther away moves little and costs as much, and is better spent on more candidates."""

BEFORE = 1600
"""Code points of the scope before the region that are read, from the start of a line on."""


@dataclass(frozen=True, slots=True)
class RepairRequest:
    """What to repair: a place in a text.

    `threshold` (log-odds) is what a finding's score has to fall below; None for a place that a person named:
    its score must not rise.
    """

    document: CodeDocument
    span: TextSpan
    level: Level | None = None
    threshold: float | None = None


def repair_line(
    causal: CausalModel,
    bundle: Bundle | None,
    text: str,
    line: int,
    options: RepairOptions | None = None,
) -> tuple[Fix, ...]:
    """What could stand in place of a line (from 1), best first; empty where nothing passes the gates.

    Args:
        causal: the model that writes and judges.
        bundle: whose readout scores errors; None: without the gate of error scores.
        text: a whole file, or a function alone.
        line: the line that is wrong, counted from 1.
        options: how many candidates of which sources.

    Raises:
        InputError: a line that the text doesn't have, or an empty one.
    """
    document = CodeDocument(uri="<text>", text=text)
    starts = document.line_starts
    if not 1 <= line <= len(starts):
        raise InputError(f"expected a line from 1 to {len(starts)}, got {line}")
    start = starts[line - 1]
    span = TextSpan(start, start + len(document.line_text(line)))
    request = RepairRequest(document, span, Level.LINE)
    return repair(causal, bundle, request, options)


def repair(
    causal: CausalModel,
    bundle: Bundle | None,
    request: RepairRequest,
    options: RepairOptions | None = None,
    watch: "Watch | None" = None,
) -> tuple[Fix, ...]:
    """What could stand in a place, best first; see `repair_line`.

    Raises:
        InputError: a place without code.
        Cancelled: soon after `watch.cancelled()` turns true.
    """
    return _Repair(causal, bundle, request, options or RepairOptions(), watch or Watch()).run()


def _no_progress(message: str, fraction: float | None) -> None:
    """For a caller that doesn't ask how far it is."""


@dataclass(frozen=True, slots=True)
class Watch:
    """How a caller stops a repair, and hears how far it is."""

    cancelled: Callable[[], bool] = never
    progress: Progress = _no_progress


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    """A candidate with what the gates said so far."""

    candidate: Candidate
    gates: tuple[GateResult, ...] = field(default=())


class _Repair:
    def __init__(
        self,
        causal: CausalModel,
        bundle: Bundle | None,
        request: RepairRequest,
        options: RepairOptions,
        watch: Watch,
    ) -> None:
        self._causal, self._bundle = causal, bundle
        self._request, self._options, self._watch = request, options, watch
        self._scope = scope_at(request.document.text, request.span)
        start = self._scope.span.start
        self._text = request.document.text[start : self._scope.span.end]
        inside = TextSpan(
            max(request.span.start, start) - start,
            max(min(request.span.end, self._scope.span.end), start) - start,
        )
        self._region = region_of(self._text, inside, request.level)

    def run(self) -> tuple[Fix, ...]:
        """The fixes; before each block of each pass, and each unembedding, it is asked whether to go on."""
        parts = (*self._causal.blocks, self._causal.model.get_output_embeddings())
        with hooks(before=[(part, self._ask) for part in parts]):
            return self._run()

    def _ask(self, module: Any, arguments: Any) -> None:
        if self._watch.cancelled():
            raise Cancelled("the repair was cancelled by the caller; nothing was changed")

    def _run(self) -> tuple[Fix, ...]:
        tell = self._watch.progress
        tell("reading the code around it", 0.05)
        gathering = Gathering(self._causal, self._scope.header, self._text, self._region, self._options)
        candidates = gathering.candidates(self._watch.cancelled, tell)
        tell("checking what could stand there", 0.6)
        tried = self._through_text_gates(candidates)
        if not tried:
            return ()
        tell("looking for errors in what could stand there", 0.7)
        passed = self._through_scope_gates(tried)
        tell("done", 1.0)
        return tuple(self._fix(each) for each in passed[: self._options.most_fixes])

    def _through_text_gates(self, candidates: Sequence[Candidate]) -> list[_Tried]:
        """The likeliest that pass the gates that cost nothing, as many as are to be read."""
        start = self._scope.span.start
        gates = TextGates(self._request.document.text, self._scope.span, self._region.span.shifted(start))
        kept: list[_Tried] = []
        programs: set[str | None] = set()
        for candidate in sorted(candidates, key=lambda each: -rank_score(each.opinion)):
            changed = self._changed(candidate)
            results = gates.results(changed)
            program = gates.program_in(changed)
            if not all(result.passed for result in results) or program in programs:
                continue
            programs.add(program)
            kept.append(_Tried(candidate, results))
            if len(kept) == self._options.most_read:
                break
        return kept

    def _changed(self, candidate: Candidate) -> str:
        text, at = self._request.document.text, self._region.span.shifted(self._scope.span.start)
        return text[: at.start] + candidate.text + text[at.end :]

    def _through_scope_gates(self, tried: Sequence[_Tried]) -> list[_Tried]:
        """Those that pass, in the order that they are offered in.

        The whole model reads the scope with the best few alone. What it did not read comes behind them, if
        the likelihood in the middle speaks for it and nobody has to be convinced by both.
        """
        reader = ScopePass(self._causal, self._scope.header)
        sound = self._through_error_gate(tried, reader)
        best = sound[: self._options.most_weighed]
        if not best:
            return []
        self._watch.progress("reading the whole scope with the best of them", 0.8)
        texts = [self._scope_text(each) for each in (None, *best)]
        before, *after = reader.logprobs(texts, self._watch.cancelled)
        gains = [logprob - before for logprob in after]
        weighed = [self._weighed(each, gain) for each, gain in zip(best, gains, strict=True)]
        weighed.sort(key=lambda each: -rank_score(each.candidate.opinion))
        if self._request.threshold is None:
            weighed += [self._weighed(each, None) for each in sound[len(best) :]]
        return [each for each in weighed if all(gate.passed for gate in each.gates)]

    def _through_error_gate(self, tried: Sequence[_Tried], reader: ScopePass) -> list[_Tried]:
        if self._bundle is None:
            return list(tried)
        texts = [self._scope_text(each) for each in (None, *tried)]
        before, *scores = reader.scores(self._bundle, texts, self._watch.cancelled)
        asked = [
            _Tried(each.candidate, (*each.gates, self._error_gate(before, after)))
            for each, after in zip(tried, scores, strict=True)
        ]
        return [each for each in asked if each.gates[-1].passed]

    def _weighed(self, tried: _Tried, gain: float | None) -> _Tried:
        """With the gate that the scope's likelihood has to rise by, in either way of writing it as a product.

        From left to right (`gain`), and as what is around the region times the region given that: both are
        the same probability, but a model knows neither exactly. Where a person names the place, it is enough
        that one rises; where the model found it, both have to.
        """
        opinion, options = replace(tried.candidate.opinion, scope=gain), self._options
        known = [opinion.gain] if gain is None else [gain, opinion.gain]
        rise = max(known) if self._request.threshold is None else min(known)
        passed = rise > options.least_gain and rank_score(opinion) >= options.least_score
        gate = GateResult(Gate.LIKELIHOOD, passed, f"{rise:+.1f} nats")
        return _Tried(replace(tried.candidate, opinion=opinion), (*tried.gates, gate))

    def _error_gate(self, before: ScopeScores, after: ScopeScores) -> GateResult:
        was, now = before.highest(in_region=True), after.highest(in_region=True)
        limit = self._request.threshold
        if limit is not None and now >= limit:
            return GateResult(Gate.ERROR_SCORE, False, f"still {now:+.1f} log-odds")
        if limit is None and now > max(was, self._shown) + self._options.tolerance:
            return GateResult(Gate.ERROR_SCORE, False, f"rises to {now:+.1f} log-odds")
        elsewhere = after.highest(in_region=False)
        if elsewhere > max(before.highest(in_region=False), self._shown) + self._options.tolerance:
            return GateResult(Gate.ERROR_SCORE, False, f"rises elsewhere, to {elsewhere:+.1f} log-odds")
        return GateResult(Gate.ERROR_SCORE, True, f"{was:+.1f} to {now:+.1f} log-odds")

    @property
    def _shown(self) -> float:
        """Log-odds from which a place would be shown; what moves below that is noise."""
        limit = self._request.threshold
        if limit is not None or self._bundle is None:
            return limit if limit is not None else float("-inf")
        return self._bundle.calibration.threshold(1.0)

    def _scope_text(self, tried: _Tried | None) -> ScopeText:
        """The scope with a candidate in it, from some lines before the region to some behind it."""
        span = self._region.span
        written = self._region.source(self._text) if tried is None else tried.candidate.text
        start = self._text.rfind("\n", 0, max(0, span.start - BEFORE)) + 1 if span.start > BEFORE else 0
        text = self._text[start : span.start] + written + self._text[span.end :]
        region = TextSpan(span.start - start, span.start - start + len(written))
        end = text.find("\n", min(len(text), region.end + AFTER))
        return ScopeText(text, region, len(text) if end < 0 else end + 1)

    def _fix(self, tried: _Tried) -> Fix:
        candidate = tried.candidate
        return Fix(
            span=self._region.span.shifted(self._scope.span.start),
            replacement=candidate.text,
            source=candidate.opinion.source,
            score=rank_score(candidate.opinion),
            gates=tried.gates,
            detail=candidate.detail,
            strength=candidate.strength if candidate.opinion.source is Source.STEERED else 0.0,
        )


def scope_at(text: str, span: TextSpan) -> Scope:
    """The scope that a place is in; what no scope holds is taken with the whole text."""
    for scope in scopes_of(text):
        if scope.span.start <= span.start < scope.span.end:
            return scope
    return Scope(name="<module>", kind="module", span=TextSpan(0, len(text)), header="", has_error=False)
