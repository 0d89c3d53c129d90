"""What a repair offers has passed every gate, is ranked, and comes again with the same seed."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.bundle import Bundle
from ace_analysis.model.causal import CausalModel
from ace_analysis.report.repair import Gate, Source
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.steering.candidates import program_of
from ace_analysis.steering.gates import undefined_names
from ace_analysis.steering.options import RepairOptions
from ace_analysis.steering.repair import RepairRequest, Watch, repair, repair_line, scope_at
from ace_analysis.steering.vector import SteeringVector

ANY = RepairOptions(least_gain=-1e9)
"""A random model finds nothing likely; what is offered is then all that passes the other gates."""

TEXT = '''import math


def mean(values):
    """The average; 0.0 of nothing."""
    total = 0.0
    for index, value in enumerate(values):
        if value is not None and index <= 0:
            total += value
    return total / len(values) if values else 0.0


class Stack:
    def __init__(self, items=()):
        self.items = list(
            items
        )
'''
LINE = 8


def test_a_fix_changes_its_region_and_nothing_else(causal: CausalModel) -> None:
    fixes = repair_line(causal, None, TEXT, LINE, ANY)
    assert 0 < len(fixes) <= 5
    before, after = TEXT.split("\n")[: LINE - 1], TEXT.split("\n")[LINE:]
    for fix in fixes:
        changed = fix.applied_to(TEXT).split("\n")
        assert changed[: LINE - 1] == before and changed[LINE:] == after


def test_a_fix_is_another_valid_program_without_new_undefined_names(causal: CausalModel) -> None:
    texts = [fix.applied_to(TEXT) for fix in repair_line(causal, None, TEXT, LINE, ANY)]
    programs = [program_of(text) for text in texts]
    assert None not in programs and program_of(TEXT) not in programs
    assert len(set(programs)) == len(programs)
    assert all(undefined_names(text) == frozenset() for text in texts)


def test_fixes_are_ranked_and_tell_every_gate_that_they_passed(causal: CausalModel) -> None:
    fixes = repair_line(causal, None, TEXT, LINE, replace(ANY, most_weighed=5))
    assert len(fixes) > 1
    assert [fix.score for fix in fixes] == sorted((fix.score for fix in fixes), reverse=True)
    for fix in fixes:
        assert [each.gate for each in fix.gates] == [Gate.PARSES, Gate.REGION, Gate.NAMES, Gate.LIKELIHOOD]
        assert all(each.passed for each in fix.gates)


def test_the_same_seed_gives_the_same_fixes(causal: CausalModel) -> None:
    assert repair_line(causal, None, TEXT, LINE, ANY) == repair_line(causal, None, TEXT, LINE, ANY)


def test_what_makes_the_scope_less_likely_is_not_offered(causal: CausalModel) -> None:
    assert repair_line(causal, None, TEXT, LINE, RepairOptions(least_gain=1e9)) == ()
    for fix in repair_line(causal, None, TEXT, LINE):
        assert fix.gates[-1].gate is Gate.LIKELIHOOD and fix.gates[-1].note.startswith("+")


def test_what_all_opinions_together_do_not_speak_for_is_not_offered(causal: CausalModel) -> None:
    fixes = repair_line(causal, None, TEXT, LINE, ANY)
    least = fixes[0].score
    assert repair_line(causal, None, TEXT, LINE, replace(ANY, least_score=least)) == fixes[:1]


def test_a_line_that_was_named_is_mended_alone_though_its_statement_goes_on(qwen: CausalModel) -> None:
    fixes = repair_line(qwen, None, TEXT, 16, ANY)
    assert fixes
    for fix in fixes:
        assert TEXT[fix.span.start : fix.span.end] == "items"


def test_a_place_within_a_longer_statement_is_mended_with_it(qwen: CausalModel) -> None:
    start = TEXT.index("            items\n")
    place = RepairRequest(CodeDocument(uri="m.py", text=TEXT), TextSpan(start, start + 17))
    for fix in repair(qwen, None, place, ANY):
        assert fix.span.start == TEXT.index("self.items") and fix.span.end == TEXT.index(")\n", 330) + 1


def test_a_model_that_can_fill_in_is_asked_to(filling: CausalModel) -> None:
    assert repair_line(filling, None, TEXT, LINE, ANY)


def place() -> TextSpan:
    start = TEXT.index("<=")
    return TextSpan(start, start + 2)


def request(threshold: float | None = None) -> RepairRequest:
    return RepairRequest(CodeDocument(uri="m.py", text=TEXT), place(), threshold=threshold)


def test_a_finding_has_to_fall_below_its_threshold(
    qwen: CausalModel, bundle_for: Callable[..., Bundle]
) -> None:
    assert repair(qwen, bundle_for(), request(threshold=-1e6), ANY) == ()
    fixes = repair(qwen, bundle_for(), request(threshold=1e6), ANY)
    assert fixes
    for fix in fixes:
        assert [each.gate for each in fix.gates][3:] == [Gate.ERROR_SCORE, Gate.LIKELIHOOD]


def test_where_the_model_alone_finds_something_both_likelihoods_have_to_rise(qwen: CausalModel) -> None:
    named = {fix.replacement: fix.gates[-1].note for fix in repair(qwen, None, request())}
    found = {fix.replacement: fix.gates[-1].note for fix in repair(qwen, None, request(threshold=1e6))}
    assert found.keys() <= named.keys()
    assert all(0 < _nats(note) <= _nats(named[text]) for text, note in found.items())


def _nats(note: str) -> float:
    return float(note.removesuffix(" nats"))


def test_what_the_whole_model_did_not_read_comes_behind_what_it_read(causal: CausalModel) -> None:
    one, all_of_them = (repair(causal, None, request(), replace(ANY, most_weighed=n)) for n in (1, 10))
    assert len(one) == len(all_of_them) == 5
    first = next(fix for fix in all_of_them if fix.replacement == one[0].replacement)
    assert one[0] == first and [fix.score for fix in one[1:]] == sorted(
        (fix.score for fix in one[1:]), reverse=True
    )


def test_a_finding_is_not_mended_by_what_the_whole_model_did_not_read(causal: CausalModel) -> None:
    fixes = repair(causal, None, request(threshold=1e6), replace(ANY, most_weighed=2))
    assert 0 < len(fixes) <= 2


def test_a_named_place_may_not_score_worse(qwen: CausalModel, bundle_for: Callable[..., Bundle]) -> None:
    bundle = bundle_for()
    strict = replace(bundle.calibration, thresholds={1.0: -1e6})
    fixes = repair(qwen, bundle_for(calibration=strict), request(), replace(ANY, tolerance=0.0))
    for fix in fixes:
        was, now = fix.gates[3].note.removesuffix(" log-odds").split(" to ")
        assert float(now) <= float(was)
    lenient = replace(bundle.calibration, thresholds={1.0: 1e6})
    assert len(repair(qwen, bundle_for(calibration=lenient), request(), ANY)) >= len(fixes)


def test_steered_text_is_a_source_of_its_own(qwen: CausalModel) -> None:
    vector = SteeringVector.from_prompts(qwen, "return total", "return index", 1)
    options = replace(ANY, vectors=(vector,), strengths=(1.0, 2.0), candidates=0, edits=0, alternatives=0)
    for fix in repair(qwen, None, request(), options):
        assert fix.source is Source.STEERED and fix.strength in (1.0, 2.0)


def test_each_source_alone_gives_its_own_kind(qwen: CausalModel) -> None:
    edits = repair(qwen, None, request(), replace(ANY, candidates=0, alternatives=0))
    assert {fix.source for fix in edits} == {Source.EDIT}
    tokens = repair(qwen, None, request(), replace(ANY, candidates=0, edits=0, alternatives=50))
    assert {fix.source for fix in tokens} <= {Source.TOKEN}


def test_progress_is_told_at_once_and_grows(qwen: CausalModel) -> None:
    told: list[float] = []
    repair(qwen, None, request(), ANY, Watch(progress=lambda message, fraction: told.append(fraction or 0.0)))
    assert told[0] < 0.1 and told == sorted(told) and told[-1] == 1.0


@pytest.mark.parametrize("after", [0, 1, 3, 8])
def test_it_can_be_stopped_wherever_it_is(qwen: CausalModel, after: int) -> None:
    asked: list[int] = []

    def cancelled() -> bool:
        asked.append(1)
        return len(asked) > after

    with pytest.raises(Cancelled):
        repair(qwen, None, request(), ANY, Watch(cancelled=cancelled))
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in qwen.blocks)


@pytest.mark.parametrize("line", [0, 19])
def test_a_line_that_is_not_there_is_refused(qwen: CausalModel, line: int) -> None:
    with pytest.raises(InputError, match=f"expected a line from 1 to 18, got {line}"):
        repair_line(qwen, None, TEXT, line)


def test_an_empty_line_is_refused(qwen: CausalModel) -> None:
    with pytest.raises(InputError, match="an empty line"):
        repair_line(qwen, None, TEXT, 2)


def test_a_place_that_no_scope_holds_is_read_with_the_whole_text() -> None:
    scope = scope_at(TEXT, TextSpan(0, 6))
    assert scope.span == TextSpan(0, len(TEXT)) and scope.header == ""
    assert scope_at(TEXT, place()).name == "mean"


@pytest.mark.parametrize("counts", [{"candidates": 0, "edits": 0, "alternatives": 0}, {"edits": -1}])
def test_options_without_any_source_are_refused(counts: dict[str, int]) -> None:
    with pytest.raises(InputError, match="one of them or a vector"):
        RepairOptions(**counts)


@pytest.mark.parametrize("name", ["most_fixes", "most_weighed", "longer"])
def test_options_that_offer_nothing_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="of at least 1"):
        RepairOptions(**{name: 0})  # pyright: ignore[reportArgumentType]
