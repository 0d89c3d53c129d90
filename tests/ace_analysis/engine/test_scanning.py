"""What an engine promises: right numbers, each text read once, the document's spans, an end when asked."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ace_analysis.engine import Engine, ScanOptions, scanning
from ace_analysis.engine.cache import ResultCache
from ace_analysis.errors import BundleError, Cancelled, FingerprintError, ModelNotFound, SettingsError
from ace_analysis.features.bundle import Bundle
from ace_analysis.model.loading import load_hooked_model, load_scanner
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.report.finding import ScopeReport
from ace_analysis.settings import CheckSettings, EngineSettings, ModelSettings
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.sites import candidate_sites
from ace_analysis.source.syntax import scopes_of

LOOSE = ScanOptions(sites=True, max_false_alarms=50.0)

FILE = """import os


LIMIT = 10


def first(values, index):
    total = 0
    for value in values:
        if value > index and value < LIMIT:
            total += value * 2
    return total - 1


class Reader:
    def read(self, path):
        if not os.path.exists(path):
            return None
        return open(path).read()[0]

    def size(self, path, exact=True):
        return os.path.getsize(path) if exact else len(self.read(path))
"""


def document(text: str) -> CodeDocument:
    return CodeDocument(uri="file.py", text=text)


def scores_of(reports: tuple[ScopeReport, ...]) -> list[tuple[TextSpan, float]]:
    return [(site.span, site.score) for report in reports for site in report.sites]


def without_origin(reports: tuple[ScopeReport, ...]) -> list[ScopeReport]:
    return [replace(report, from_cache=False) for report in reports]


# --- the numbers ----------------------------------------------------------------------------------------


def slow_truth(engine: Engine, folder: Path, text: str) -> dict[TextSpan, float]:
    """Each site's probability from the hooked model's cache, one prompt and one token at a time."""
    model = load_hooked_model(str(folder), device="cpu", dtype="float32")
    bundle, truth = engine.bundle, {}
    coder, weights = bundle.coder, bundle.readout.weights
    for scope in scopes_of(text):
        prompt = scope.prompt(text)
        tokens = engine.scanner.tokenizer.encode(prompt)
        hook = f"blocks.{bundle.layer}.hook_resid_post"
        _, cache = model.run_with_cache(torch.tensor([tokens.ids]), names_filter=[hook])
        resid = cache[hook][0]
        norms = resid.norm(dim=-1)
        masked = {0} | {i for i in range(len(norms)) if norms[i] >= 10 * norms[1:].median()}
        for site in candidate_sites(text, scope.span):
            end = site.span.end - scope.span.start + len(scope.header)
            token = max(i for i, span in enumerate(tokens.spans) if span.start < end <= span.end)
            newline = prompt.find("\n", end)
            line_end = max(
                [i for i, span in enumerate(tokens.spans) if span.start <= newline < span.end] or [token]
            )
            logit = bundle.readout.kind_bias[site.kind]
            for slot, position in enumerate([token, token + 1, token + 2, line_end]):
                position = min(position, len(tokens) - 1)
                if position in masked:
                    continue
                pre = (resid[position] - coder.b_dec) @ coder.W_enc + coder.b_enc
                logit += float(weights[slot] @ (pre * (pre > coder.threshold)))
            truth[site.span] = bundle.calibration.probability(logit)
    return truth


def test_scores_are_those_of_the_hooked_model_and_the_coder_computed_by_hand(
    tiny_model: Path, bundle_for: Callable[..., Bundle]
) -> None:
    """For each family of models."""
    scanner = load_scanner(str(tiny_model), device="cpu", dtype="float32", n_blocks=2)
    engine = Engine(scanner, bundle_for(fingerprint=scanner.info.fingerprint))
    truth = slow_truth(engine, tiny_model, FILE)
    scores = dict(scores_of(engine.scan(document(FILE), options=LOOSE)))
    assert scores.keys() == truth.keys() and len(scores) > 20
    assert max(abs(scores[span] - truth[span]) for span in truth) < 1e-4


def test_a_scopes_result_depends_on_no_other_scope(engine_with: Callable[..., Engine]) -> None:
    """Batches, padding and order change nothing."""
    together = engine_with().scan(document(FILE), options=LOOSE)
    for report in together:
        alone = engine_with().scan(document(FILE), options=replace(LOOSE, only=(report.scope,)))
        assert [each.scope for each in alone] == [report.scope]
        pairs = zip(alone[0].sites, report.sites, strict=True)
        assert all(a.span == b.span and abs(a.score - b.score) < 1e-5 for a, b in pairs)


def test_a_finding_names_latents_that_fired_above_their_threshold_and_speak_for_it(engine: Engine) -> None:
    findings = [each for report in engine.scan(document(FILE), options=LOOSE) for each in report.findings]
    evidence = [each for finding in findings for each in finding.evidence]
    assert len(evidence) > len(findings)
    assert all(each.activation > each.threshold and each.weight > 0 for each in evidence)
    assert all(each.feature.startswith("blocks.1.hook_resid_post/") for each in evidence)
    assert all(len(finding.evidence) <= 5 for finding in findings)
    contributions = [[each.weight * each.activation for each in finding.evidence] for finding in findings]
    assert all(row == sorted(row, reverse=True) for row in contributions)


def test_evidence_lies_at_its_site_or_behind_it(engine: Engine) -> None:
    reports = engine.scan(document(FILE), options=LOOSE)
    for finding in (each for report in reports for each in report.findings):
        assert all(each.span.end >= finding.span.end for each in finding.evidence)


# --- what is shown --------------------------------------------------------------------------------------


def test_a_line_has_one_finding_at_most_and_it_is_the_worst(engine: Engine) -> None:
    text = document(FILE)
    reports = engine.scan(text, options=LOOSE)
    findings = [finding for report in reports for finding in report.findings]
    lines = [text.line_column(finding.span.start)[0] for finding in findings]
    assert len(lines) == len(set(lines)) > 5
    best: dict[int, float] = {}
    for span, score in scores_of(reports):
        line, _ = text.line_column(span.start)
        best[line] = max(score, best.get(line, 0.0))
    assert {line: finding.score for line, finding in zip(lines, findings, strict=True)} == best


def test_fewer_false_alarms_mean_fewer_findings_and_no_new_ones(engine: Engine) -> None:
    def spans(rate: float) -> set[TextSpan]:
        reports = engine.scan(document(FILE), options=ScanOptions(max_false_alarms=rate))
        return {finding.span for report in reports for finding in report.findings}

    assert spans(0.5) <= spans(1.0) <= spans(5.0) <= spans(50.0)
    assert len(spans(0.5)) < len(spans(50.0))


def test_the_rate_of_the_settings_counts_where_none_is_asked_for(engine_with: Callable[..., Engine]) -> None:
    few = engine_with(EngineSettings(check=CheckSettings(max_false_alarms=0.5)))
    many = engine_with(EngineSettings(check=CheckSettings(max_false_alarms=50.0)))
    counts = [sum(len(r.findings) for r in each.scan(document(FILE))) for each in (few, many)]
    assert counts[0] < counts[1]


def test_sites_are_told_only_when_asked_for(engine: Engine) -> None:
    assert not scores_of(engine.scan(document(FILE)))
    sites = [site for report in engine.scan(document(FILE), options=LOOSE) for site in report.sites]
    assert all(FILE[site.span.start : site.span.end] == site.text for site in sites)


def test_an_ignored_line_is_silent_and_its_neighbours_are_not(engine: Engine) -> None:
    line = "    return total - 1\n"
    ignored = FILE.replace(line, line.rstrip("\n") + "  # ace: ignore\n")
    start = FILE.index(line)

    def lines(text: str) -> set[int]:
        reports = engine.scan(document(text), options=LOOSE)
        return {document(text).line_column(f.span.start)[0] for r in reports for f in r.findings}

    number = document(FILE).line_column(start)[0]
    assert number in lines(FILE) and number not in lines(ignored)
    assert len(lines(ignored)) > 5


def test_a_kind_that_the_settings_ignore_is_never_found(engine_with: Callable[..., Engine]) -> None:
    engine = engine_with(EngineSettings(check=CheckSettings(ignore=("variable-misuse",))))
    findings = [f for r in engine.scan(document(FILE), options=LOOSE) for f in r.findings]
    assert findings and all(finding.kind != "variable-misuse" for finding in findings)


def test_an_unknown_kind_in_the_settings_is_refused(engine_with: Callable[..., Engine]) -> None:
    with pytest.raises(SettingsError, match=r"expected kinds among comparison, .*, got 'nmae'"):
        engine_with(EngineSettings(check=CheckSettings(ignore=("nmae",))))


# --- what is read again, and what is not ----------------------------------------------------------------


def test_an_unchanged_file_is_not_read_again(engine: Engine) -> None:
    first = engine.scan(document(FILE), options=LOOSE)
    passes = engine.counters.forward_passes
    second = engine.scan(document(FILE), options=LOOSE)
    assert engine.counters.forward_passes == passes
    assert all(report.from_cache for report in second) and not any(report.from_cache for report in first)
    assert without_origin(first) == without_origin(second)


def test_another_threshold_needs_no_model(engine: Engine) -> None:
    engine.scan(document(FILE), options=ScanOptions(max_false_alarms=0.5))
    passes = engine.counters.forward_passes
    loose = engine.scan(document(FILE), options=LOOSE)
    assert engine.counters.forward_passes == passes
    assert all(finding.evidence for report in loose for finding in report.findings if finding.score > 0.9)


def test_an_edit_in_one_function_of_a_long_file_reads_one_scope(engine: Engine) -> None:
    functions = [f"def f{i}(a, b):\n    c = a + {i}\n    return c - b\n\n\n" for i in range(200)]
    text = "".join(functions)
    assert text.count("\n") >= 1000
    engine.scan(document(text))
    read = engine.counters.scopes_read
    assert read == 200
    edited = engine.scan(document(text.replace("c = a + 77\n", "c = a - 77\n")))
    assert engine.counters.scopes_read == read + 1
    assert [report.name for report in edited if not report.from_cache] == ["f77"]


def test_a_scope_that_only_moved_is_not_read_and_its_findings_move_with_it(engine: Engine) -> None:
    before = engine.scan(document(FILE), options=LOOSE)
    read = engine.counters.scopes_read
    shift = "# one more line\n"
    after = engine.scan(document(shift + FILE), options=LOOSE)
    assert engine.counters.scopes_read == read
    moved = [site.span.shifted(len(shift)) for report in before for site in report.sites]
    assert moved == [site.span for report in after for site in report.sites]


def test_two_scopes_of_the_same_text_are_read_once(engine: Engine) -> None:
    function = "def f(a, b):\n    return a + b\n\n\n"
    reports = engine.scan(document(function + function), options=LOOSE)
    assert len(reports) == 2 and engine.counters.tokens_run < 2 * len(function)
    assert [site.score for site in reports[0].sites] == [site.score for site in reports[1].sites]


def test_results_outlive_the_process_on_disk(engine_with: Callable[..., Engine], tmp_path: Path) -> None:
    first = engine_with(cache=ResultCache(tmp_path, 10**7))
    before = first.scan(document(FILE), options=LOOSE)
    first.close()
    second = engine_with(cache=ResultCache(tmp_path, 10**7))
    after = second.scan(document(FILE), options=LOOSE)
    assert second.counters.forward_passes == 0
    assert without_origin(before) == without_origin(after)


def test_another_bundle_finds_nothing_of_the_first_ones_results(
    engine_with: Callable[..., Engine], bundle_for: Callable[..., Bundle], tmp_path: Path
) -> None:
    engine_with(cache=ResultCache(tmp_path, 10**7)).scan(document(FILE))
    readout = bundle_for().readout
    other = engine_with(
        cache=ResultCache(tmp_path, 10**7), readout=replace(readout, weights=readout.weights * 2)
    )
    assert not any(report.from_cache for report in other.scan(document(FILE)))


def test_kept_bytes_that_make_no_sense_are_computed_again(engine: Engine) -> None:
    engine.scan(document(FILE), options=LOOSE)
    cache = engine._cache
    for key in list(cache._memory):
        cache.put(key, b'{"not": "scores"}')
    assert not any(report.from_cache for report in engine.scan(document(FILE), options=LOOSE))


# --- order, and an end when asked -----------------------------------------------------------------------


def test_each_scope_is_told_once_and_the_visible_ones_first(engine: Engine) -> None:
    start = FILE.index("def size")
    told: list[str] = []
    options = ScanOptions(first=TextSpan(start, start + 4))
    reports = engine.scan(document(FILE), options=options, on_scope=lambda report: told.append(report.name))
    assert told[0] == "Reader.size"
    assert sorted(told) == sorted(report.name for report in reports)
    assert [report.scope for report in reports] == sorted(report.scope for report in reports)


def test_only_the_scopes_that_are_asked_for_are_read(engine: Engine) -> None:
    start = FILE.index("total += value")
    reports = engine.scan(document(FILE), options=ScanOptions(only=(TextSpan(start, start + 1),)))
    assert [report.name for report in reports] == ["first"]
    assert engine.counters.scopes_read == 1


def test_a_cancel_ends_the_scan_within_a_layer_and_what_was_done_is_kept(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "TOKENS_PER_BATCH_CPU", 1)
    told: list[ScopeReport] = []
    with pytest.raises(Cancelled, match="cancelled"):
        engine.scan(document(FILE), cancelled=lambda: len(told) == 2, on_scope=told.append)
    assert len(told) == 2
    again = engine.scan(document(FILE))
    assert sum(report.from_cache for report in again) == 2


def test_a_cancel_before_the_start_reads_nothing(engine: Engine) -> None:
    with pytest.raises(Cancelled):
        engine.scan(document(FILE), cancelled=lambda: True)
    assert engine.counters.forward_passes == 0


# --- all kinds of text ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# only a comment\n", '"""Only a docstring."""\n', "\ufeff", "\x00"]
)
def test_a_text_without_code_has_no_findings(engine: Engine, text: str) -> None:
    assert not scores_of(engine.scan(document(text), options=LOOSE))


def test_a_scope_without_sites_is_reported_and_costs_nothing(engine: Engine) -> None:
    (report,) = engine.scan(document("def f():\n    pass\n"), options=LOOSE)
    assert report.name == "f" and not report.sites and engine.counters.forward_passes == 0


def test_broken_syntax_costs_only_the_scope_that_it_is_in(engine: Engine) -> None:
    whole = engine.scan(document(FILE), options=LOOSE)
    broken = FILE.replace("return total - 1", "return total - - (")
    names = {report.name: report for report in engine.scan(document(broken), options=LOOSE)}
    for name in ("Reader.read", "Reader.size"):
        before = next(report for report in whole if report.name == name)
        assert [site.text for site in names[name].sites] == [site.text for site in before.sites]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "text", ['x = "🐍🐍" + name\n', 'déf = "日本" if a > b else 漢\n', "\tx = [1,\t2][0]\n"]
)
def test_spans_are_code_points_of_the_document(engine: Engine, text: str, newline: str) -> None:
    source = f'# 🦀\n"""é"""\n\n\ndef f(a, b):\n    {text.strip()}\n    return a <= b\n'.replace(
        "\n", newline
    )
    reports = engine.scan(document(source), options=LOOSE)
    sites = {site.text: site.span for report in reports for site in report.sites}
    assert "<=" in sites
    assert all(source[span.start : span.end] == text for text, span in sites.items())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200))
def test_any_text_is_scanned(engine: Engine, text: str) -> None:
    for report in engine.scan(document(text), options=LOOSE):
        assert report.scope.end <= len(text)
        assert all(text[site.span.start : site.span.end] == site.text for site in report.sites)


def test_a_lone_surrogate_is_text_like_any_other(engine: Engine, tmp_path: Path) -> None:
    assert scores_of(engine.scan(document("x = '\ud800' + name\n"), options=LOOSE))


def test_a_scope_longer_than_the_model_is_read_in_windows_that_score_every_site_once(
    engine_with: Callable[..., Engine],
) -> None:
    engine = engine_with(max_tokens=64)
    body = "".join(f"    value_{i} = total + {i % 7} * index\n" for i in range(60))
    text = f"def long(total, index):\n{body}    return total\n"
    assert len(engine.scanner.tokenizer.encode(text)) > 3 * engine.bundle.max_tokens
    sites = scores_of(engine.scan(document(text), options=LOOSE))
    assert [span for span, _ in sites] == [site.span for site in candidate_sites(text)]


# --- what belongs together ------------------------------------------------------------------------------


def test_a_bundle_of_another_model_is_refused(engine_with: Callable[..., Engine]) -> None:
    with pytest.raises(FingerprintError, match=r"made for .* with fingerprint 0000"):
        engine_with(fingerprint="0000")


def test_a_coder_of_another_width_is_refused(
    scanner: ResidualScanner, bundle_for: Callable[..., Bundle]
) -> None:
    bundle = bundle_for()
    coder = replace(bundle.coder, W_enc=torch.zeros(8, 64), W_dec=torch.zeros(64, 8), b_dec=torch.zeros(8))
    with pytest.raises(BundleError, match=r"reads 8 dimensions, .* has 32"):
        Engine(scanner, replace(bundle, coder=coder))


def test_what_runs_is_told_as_json(engine: Engine) -> None:
    info = engine.info()
    assert json.loads(json.dumps(info)) == info
    assert info["layer"] == 1 and info["dtype"] == "float32" and info["device"] == "cpu"
    assert info["fingerprint"] == engine.bundle.fingerprint


def test_loading_finds_the_models_own_bundle_and_keeps_results(
    tiny_qwen2: Path,
    bundle_for: Callable[..., Bundle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path))
    bundle_for().save(tmp_path / "bundles" / "mine", dtype="fp32")
    told: list[str] = []
    wanted = EngineSettings(model=ModelSettings(name=str(tiny_qwen2), device="cpu", dtype="float32"))
    engine = Engine.load(wanted, progress=lambda message, fraction: told.append(message))
    assert engine.scanner.n_blocks == 2 and told[-1] == "ready"
    engine.scan(document(FILE))
    engine.close()
    assert Engine.load(wanted).scan(document(FILE))[0].from_cache


def test_a_model_without_a_bundle_is_told_the_command_that_makes_one(
    tiny_qwen2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path))
    with pytest.raises(BundleError, match=r"ace train bundle --model .* CORPUS") as caught:
        Engine.load(EngineSettings(model=ModelSettings(name=str(tiny_qwen2), device="cpu")))
    assert "\n" not in str(caught.value)


def test_a_model_that_is_not_here_is_told_the_command_that_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path))
    with pytest.raises(ModelNotFound, match="ace model pull"):
        Engine.load(EngineSettings())
