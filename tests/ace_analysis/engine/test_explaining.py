"""What an explanation promises: the scan's own number, split without loss, at places of the document."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ace_analysis.decomposition import memory
from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.relp import one_pass
from ace_analysis.engine import Engine, ExplainOptions, ScanOptions, explaining
from ace_analysis.engine.cache import ResultCache
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.features.bundle import Calibration, ErrorFeature
from ace_analysis.report.attribution import Attribution, TargetKind
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.sites import candidate_sites
from ace_analysis.source.syntax import scopes_of

FILE = """import os


def first(values, index):
    total = 0
    for value in values:
        if value > index and value < 10:
            total += value * 2
    return total - 1


class Reader:
    def read(self, path):
        if not os.path.exists(path):
            return None
        return open(path).read()[0]
"""
EVERYTHING = ExplainOptions(max_false_alarms=50.0)


def document(text: str = FILE) -> CodeDocument:
    return CodeDocument(uri="file.py", text=text)


def at(text: str, part: str = "") -> int:
    """The offset of the last code point of `text`'s first place in FILE, behind `part`."""
    return FILE.index(text, FILE.index(part)) + len(text) - 1


def every_site() -> list[TextSpan]:
    return [site.span for scope in scopes_of(FILE) for site in candidate_sites(FILE, scope.span)]


# --- a candidate site -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def explained(scanner, bundle_for) -> list[tuple[Attribution, float]]:
    """All candidate sites of the file, each with the probability that a scan gives it."""
    engine = Engine(scanner, bundle_for())
    reports = engine.scan(document(), options=ScanOptions(sites=True))
    scores = {site.span: site.score for report in reports for site in report.sites}
    return [
        (engine.explain(document(), span.start, options=EVERYTHING), scores[span]) for span in every_site()
    ]


def test_the_value_is_what_the_scan_reads(explained: list[tuple[Attribution, float]], engine: Engine) -> None:
    for why, score in explained:
        assert why.target.probability == score
        assert engine.bundle.calibration.probability(why.value) == pytest.approx(score, abs=1e-5)
        assert (why.unit, why.target.kind) == ("log-odds", TargetKind.FINDING)


def test_latents_and_constant_make_up_the_value(explained: list[tuple[Attribution, float]]) -> None:
    for why, _ in explained:
        total = why.constant + why.other_latents + sum(each.score for each in why.latents)
        assert total == pytest.approx(why.value, abs=1e-4)


def test_tokens_constants_and_the_unexplained_make_up_the_value(
    explained: list[tuple[Attribution, float]],
) -> None:
    for why, _ in explained:
        total = why.constant_of_tokens + why.unexplained + sum(each.score for each in why.tokens)
        assert total == pytest.approx(why.value, abs=1e-4)
        assert abs(why.unexplained) < 1e-3


def test_latents_fired_and_stand_where_they_fired(explained: list[tuple[Attribution, float]]) -> None:
    for why, _ in explained:
        line_end = FILE.index("\n", why.target.span.end)
        for each in why.latents:
            assert (
                each.activation > each.threshold and each.feature == f"blocks.1.hook_resid_post/{each.latent}"
            )
            assert why.target.span.start - 4 <= each.span.start and each.span.end <= line_end + 20


def test_tokens_are_those_of_the_document_up_to_the_place(
    explained: list[tuple[Attribution, float]],
) -> None:
    for why, _ in explained:
        spans = [each.span for each in why.tokens if each.span is not None]
        assert len(spans) == len(why.tokens)
        assert all(FILE[each.span.start : each.span.end] == each.text for each in why.tokens if each.span)
        covered = {offset for span in spans for offset in range(span.start, span.end)}
        assert covered >= set(range(why.target.span.start, why.target.span.end))


def test_every_head_and_layer_upstream_is_there_and_no_other(
    explained: list[tuple[Attribution, float]], engine: Engine
) -> None:
    anatomy = Anatomy.of(engine.scanner)
    nodes = {(layer, head) for layer in range(2) for head in range(anatomy.n_heads)}
    for why, _ in explained:
        assert {(each.layer, each.head) for each in why.heads} == nodes
        assert {each.layer for each in why.layers} == {0, 1}
        for each in why.layers:
            heads = sum(head.score for head in why.heads if head.layer == each.layer)
            assert heads == pytest.approx(each.attention, abs=1e-4)


def test_all_parts_are_sorted_by_size(explained: list[tuple[Attribution, float]]) -> None:
    for why, _ in explained:
        for parts in (why.latents, why.heads, why.layers, why.tokens):
            sizes = [abs(each.score) for each in parts]
            assert sizes == sorted(sizes, reverse=True)


def test_a_place_below_the_threshold_is_no_finding(engine_with: Callable[..., Engine]) -> None:
    high = Calibration(scale=0.5, offset=-1.0, prior=0.05, thresholds={1.0: 1e3})
    why = engine_with(calibration=high).explain(document(), at(">"))
    assert why.target.kind is TargetKind.SITE and why.target.finding_kind == "comparison"
    assert why.target.threshold == high.probability(1e3)


def test_the_settings_say_from_when_on_a_place_is_a_finding(engine: Engine) -> None:
    why = engine.explain(document(), at(">"))
    assert why.target.threshold == engine.bundle.calibration.probability(2.0)


def test_any_offset_inside_of_a_site_means_the_site(engine: Engine) -> None:
    start = FILE.index("values:")
    one, other = (engine.explain(document(), start + by) for by in (0, 5))
    assert one == other and one.target.text == "values" and "'values'" in one.target.description


def test_how_sure_is_said_in_words_and_without_percentages(engine: Engine) -> None:
    why = engine.explain(document(), at(">"))
    assert any("one wrong place in 20" in note for note in why.notes)
    assert any("held as they were" in part for part in (why.method, *why.notes))
    assert not any("%" in note for note in why.notes)


def test_latents_are_described_where_the_bundle_can(engine_with: Callable[..., Engine]) -> None:
    plain = engine_with().explain(document(), at(">"))
    latent = plain.latents[0].latent
    feature = ErrorFeature(
        feature_idx=latent,
        t_statistic=3.0,
        paired_t=3.0,
        q_value=0.0,
        separation=0.1,
        rate_buggy=0.2,
        rate_matched=0.1,
        density=0.01,
        kinds=("off_by_one",),
    )
    named = engine_with(labels={latent: (" <", "\n", "<", "  ", "\n\n")}, catalog=(feature,)).explain(
        document(), at(">")
    )
    assert plain.latents[0].label == ""
    assert named.latents[0].label == "fires most on '<', line end, blanks; an error feature: off by one"


@pytest.mark.parametrize("text", [">", "):"])
def test_the_strongest_parts_can_be_taken_out_of_the_model_for_a_check(engine: Engine, text: str) -> None:
    plain = engine.explain(document(), at(text))
    why = engine.explain(document(), at(text), options=ExplainOptions(check=4))
    parts = [(each.score, each.layer, each.head) for each in plain.heads]
    parts += [(each.mlp, each.layer, None) for each in plain.layers]
    strongest = sorted(parts, key=lambda part: -abs(part[0]))[:4]
    assert [(each.score, each.layer, each.head) for each in why.checks] == strongest
    assert all(abs(each.effect) > 0 for each in why.checks)
    assert (plain.checks, replace(why, checks=())) == ((), plain)


def test_a_check_measures_what_the_scan_reads_without_the_part(engine: Engine) -> None:
    """An independent way: the last block's MLP set to zero by its own weights."""
    why = engine.explain(document(), at(">"), options=ExplainOptions(check=99))
    (check,) = (each for each in why.checks if (each.layer, each.head) == (1, None))
    weight = cast(torch.Tensor, Anatomy.of(engine.scanner).blocks[1].mlp.down.weight)
    kept = weight.detach().clone()
    try:
        with torch.no_grad():
            weight.zero_()
        reports = Engine(engine.scanner, engine.bundle).scan(document(), options=ScanOptions(sites=True))
    finally:
        with torch.no_grad():
            weight.copy_(kept)
    score = next(s.score for r in reports for s in r.sites if s.span.start == at(">"))
    expected = engine.bundle.calibration.probability(why.value - check.effect)
    assert score == pytest.approx(expected, abs=1e-4)


# --- a long scope ---------------------------------------------------------------------------------------


def test_a_place_in_a_long_scope_is_explained_in_the_window_that_the_scan_reads(
    engine_with: Callable[..., Engine],
) -> None:
    text = "def f(a):\n" + "".join(f"    a = a + {n}\n" for n in range(60)) + "    return a < 3\n"
    engine = engine_with(max_tokens=64)
    why = engine.explain(document(text), text.index("<"))
    reports = engine.scan(document(text), options=ScanOptions(sites=True))
    score = next(site.score for site in reports[0].sites if site.text == "<")
    assert engine.bundle.calibration.probability(why.value) == pytest.approx(score, abs=1e-5)
    assert len(why.tokens) <= 64 and any("too long" in note for note in why.notes)
    assert all(each.span and text[each.span.start : each.span.end] == each.text for each in why.tokens)


def test_a_token_in_a_long_scope_is_explained_by_what_stands_just_before(
    engine_with: Callable[..., Engine],
) -> None:
    text = "def f(a):\n" + "".join(f"    a = a + {n}\n" for n in range(60)) + "    return (a)\n"
    why = engine_with(max_tokens=64).explain(document(text), text.index("(a)\n", 20))
    assert len(why.tokens) <= 64 and any("too long" in note for note in why.notes)
    last = max(each.span.end for each in why.tokens if each.span)
    assert last == why.target.span.start


# --- any other token ------------------------------------------------------------------------------------


def logits_before(engine: Engine, token: int, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return engine.causal().model(torch.tensor([ids[:token]])).logits[0, -1]


@pytest.mark.parametrize(("text", "part"), [("def", ""), (":", "def first"), ("(", "def read")])
def test_a_token_is_explained_by_what_the_full_model_expects_there(
    engine: Engine, text: str, part: str
) -> None:
    offset = at(text, part)
    why = engine.explain(document(), offset)
    scope = next(each for each in scopes_of(FILE) if each.span.start <= offset < each.span.end)
    tokens = engine.scanner.tokenizer.encode(scope.prompt(FILE))
    inside = offset - scope.span.start + len(scope.header)
    token = next(i for i, span in enumerate(tokens.spans) if span.start <= inside < span.end)
    logits = logits_before(engine, token, tokens.ids)
    others = logits.clone()
    others[tokens.ids[token]] = float("-inf")
    best = int(others.argmax())
    assert (why.unit, why.target.kind, why.latents) == ("logits", TargetKind.TOKEN, ())
    assert why.value == pytest.approx(float(logits[tokens.ids[token]] - logits[best]), abs=1e-3)
    assert why.target.alternative == engine.scanner.tokenizer.spell(best)
    odds = logits.softmax(dim=0)
    assert why.target.probability == pytest.approx(float(odds[tokens.ids[token]]), abs=1e-4)
    assert why.target.alternative_probability == pytest.approx(float(odds[best]), abs=1e-4)
    assert why.target.text == FILE[why.target.span.start : why.target.span.end]
    assert why.target.span.start <= offset < why.target.span.end


def test_all_layers_of_the_full_model_have_a_part_in_what_it_expects(engine: Engine) -> None:
    why = engine.explain(document(), at("def", "class"))
    assert {each.layer for each in why.layers} == set(range(4)) and len(why.heads) == 16
    total = why.constant_of_tokens + why.unexplained + sum(each.score for each in why.tokens)
    assert total == pytest.approx(why.value, abs=1e-3)


def test_the_model_can_be_asked_what_it_expects_at_a_candidate_site_too(engine: Engine) -> None:
    why = engine.explain(document(), at(">"), options=ExplainOptions(expectation=True))
    assert (why.target.kind, why.target.text.strip()) == (TargetKind.TOKEN, ">")


def test_a_site_needs_no_full_model(engine: Engine) -> None:
    engine.explain(document(), at(">"))
    assert not engine._whole.is_loaded


# --- kept, moved, stopped -------------------------------------------------------------------------------


def test_what_was_explained_is_kept_and_moves_with_its_scope(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = engine.explain(document(), at(">"))
    token = engine.explain(document(), at("def", "class"))

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("the model was run again")

    monkeypatch.setattr(explaining, "one_pass", fail)
    assert engine.explain(document(), at(">")) == first
    moved = FILE.replace("import os\n", "import os\nLIMIT = 3\n")
    shift = len(moved) - len(FILE)
    again = engine.explain(document(moved), at(">") + shift)
    assert again.target.span == first.target.span.shifted(shift)
    assert [each.score for each in again.tokens] == [each.score for each in first.tokens]
    assert all(moved[each.span.start : each.span.end] == each.text for each in again.tokens if each.span)
    assert engine.explain(document(moved), at("def", "class") + shift).value == token.value
    with pytest.raises(AssertionError, match="run again"):
        engine.explain(document(FILE.replace("< 10", "< 11")), at(">"))


def test_what_is_kept_on_disk_serves_the_next_engine(
    engine_with: Callable[..., Engine], tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = engine_with(cache=ResultCache(tmp_path, 10**7)).explain(document(), at(">"))
    monkeypatch.setattr(explaining, "one_pass", None)
    assert engine_with(cache=ResultCache(tmp_path, 10**7)).explain(document(), at(">")) == first


def test_what_was_kept_and_cannot_be_read_is_explained_again(engine_with: Callable[..., Engine]) -> None:
    class Broken(ResultCache):
        def get(self, key: bytes) -> bytes | None:
            return b"{}"

    why = engine_with(cache=Broken(None, 0)).explain(document(), at(">"))
    assert why.heads


def test_a_difference_from_the_scan_is_said(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def shifted(*arguments, **options):
        scores = one_pass(*arguments, **options)
        return replace(scores, total=scores.total + 1.0)

    monkeypatch.setattr(explaining, "one_pass", shifted)
    why = engine.explain(document(), at(">"))
    assert any("The scan, which reads the whole scope, says" in note for note in why.notes)


@pytest.mark.parametrize("options", [ExplainOptions(), ExplainOptions(expectation=True)])
def test_an_explanation_stops_when_it_is_cancelled(engine: Engine, options: ExplainOptions) -> None:
    engine.scan(document())
    calls: list[None] = []

    def cancelled() -> bool:
        calls.append(None)
        return len(calls) > 1

    with pytest.raises(Cancelled):
        engine.explain(document(), at(">"), options=options, cancelled=cancelled)
    assert engine.explain(document(), at(">"), options=options).heads


def test_progress_is_told(engine: Engine) -> None:
    told: list[str] = []
    engine.explain(document(), at("def", "class"), progress=lambda message, fraction: told.append(message))
    assert told[-1] == "explaining" and any(message.startswith("loading all of") for message in told)


@pytest.mark.parametrize("text", [">", "def"])
def test_a_scope_that_memory_is_too_small_for_is_told_before_it_is_run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    monkeypatch.setattr(explaining, "one_pass", None)
    with pytest.raises(InputError, match="the scope is too long to be explained here"):
        engine.explain(document(), at(text))


@pytest.mark.parametrize("offset", [-1, len(FILE), FILE.index("\n"), 0])
def test_where_nothing_can_be_explained_a_message_says_why(engine: Engine, offset: int) -> None:
    with pytest.raises(InputError, match="expected a place"):
        engine.explain(document(), offset)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(FILE) - 1))
def test_any_place_of_a_file_has_an_explanation_or_a_message(engine: Engine, offset: int) -> None:
    try:
        why = engine.explain(document(), offset)
    except InputError:
        return
    assert why.target.span.start <= offset < why.target.span.end
