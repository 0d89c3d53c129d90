import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsprotocol import types

from ace_analysis.report.finding import Evidence, Finding, Severity
from ace_analysis.source.document import TextSpan
from ace_lsp.extras import Extras
from ace_lsp.features.diagnostics import diagnostics_of, result_id_of
from ace_lsp.positions import Encoding, LineIndex
from ace_lsp.units import Part, Unit

URI = "file:///a.py"
TEXT = "def f(a):\n    return a < b\n"


def unit(text: str = TEXT, encoding: Encoding = Encoding.Utf16) -> Unit:
    part = Part(uri=URI, version=3, start=0, lines=LineIndex(text, encoding))
    return Unit(uri=URI, version=3, text=text, parts=(part,))


def evidence(latent: int, start: int, activation: float, weight: float = 1.0) -> Evidence:
    return Evidence(f"blocks.9.hook_resid_post/{latent}", TextSpan(start, start + 1), activation, 0.5, weight)


def finding(start: int = 23, end: int = 24, *seen: Evidence, **more: object) -> Finding:
    fields = {"kind": "comparison", "score": 0.8349, "threshold": 0.5, **more}
    return Finding(span=TextSpan(start, end), evidence=seen, **fields)


def one(found: Finding, **extras: bool) -> types.Diagnostic:
    (diagnostic,) = diagnostics_of(unit(), [found], Extras(**extras))[URI]
    return diagnostic


@given(st.text(alphabet="ab\n\r\t😋é漢\u2028", max_size=40), st.sampled_from(list(Encoding)), st.data())
def test_the_range_covers_exactly_the_findings_text(text, encoding, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    if "\r\n" in (text[start - 1 : start + 1], text[end - 1 : end + 1]):
        return  # between the two there is no position
    (diagnostic,) = diagnostics_of(unit(text, encoding), [finding(start, end)])[URI]
    assert LineIndex(text, encoding).span_of(diagnostic.range) == TextSpan(start, end)


def test_kind_source_severity_and_words():
    diagnostic = one(finding())
    assert (diagnostic.code, diagnostic.source) == ("comparison", "ace")
    assert diagnostic.severity == types.DiagnosticSeverity.Warning
    assert diagnostic.message == "This comparison looks wrong: `<` (probability 0.83)"
    assert diagnostic.range == types.Range(types.Position(1, 13), types.Position(1, 14))


@pytest.mark.parametrize(
    ("severity", "expected"),
    [
        (Severity.HINT, types.DiagnosticSeverity.Hint),
        (Severity.INFORMATION, types.DiagnosticSeverity.Information),
        (Severity.WARNING, types.DiagnosticSeverity.Warning),
    ],
)
def test_each_severity_has_its_counterpart(severity, expected):
    assert one(finding(severity=severity)).severity == expected


def test_a_kind_that_only_a_newer_engine_knows_is_shown_too():
    assert one(finding(kind="new-kind")).message.startswith("This looks wrong: `<`")


def test_the_three_latents_that_added_most_are_told_where_they_fired():
    seen = (evidence(1, 21, 1.0), evidence(2, 23, 5.0), evidence(3, 25, 3.0), evidence(4, 25, 2.0, 2.0))
    diagnostic = one(finding(23, 24, *seen))
    latents = [each.message.split()[1] for each in diagnostic.related_information or ()]
    assert [latent.rpartition("/")[2] for latent in latents] == ["2", "4", "3"]
    assert diagnostic.data["features"] == latents


def test_without_related_information_the_latents_are_part_of_the_message():
    diagnostic = one(finding(23, 24, evidence(2, 23, 5.0)), related_information=False)
    assert diagnostic.related_information is None
    assert diagnostic.message.endswith("\nlatent blocks.9.hook_resid_post/2 is at 5.00, above 0.50")


def test_the_data_lets_an_action_find_the_finding_again():
    data = one(finding()).data
    assert (data["kind"], data["score"], data["threshold"], data["version"]) == ("comparison", 0.8349, 0.5, 3)
    elsewhere = diagnostics_of(unit("\n" + TEXT), [finding(24, 25)])[URI][0]
    assert elsewhere.data["line"] == data["line"]


def test_a_document_without_findings_has_an_empty_list():
    assert diagnostics_of(unit(), []) == {URI: []}


def test_the_result_id_names_what_is_seen():
    first, same = one(finding()), one(finding())
    same.data = {"version": 4}
    assert result_id_of([first]) == result_id_of([same])
    assert len({result_id_of(each) for each in ([], [first], [first, first], [one(finding(21, 22))])}) == 4


def test_the_code_leads_to_the_page_of_its_kind():
    page = one(finding()).code_description
    assert page is not None and page.href.startswith("file:") and page.href.endswith("/comparison.md")
    assert one(finding(), code_description=False).code_description is None
    assert one(finding(kind="new-kind")).code_description is None


def test_other_findings_with_the_same_latent_are_told_nearest_first():
    places = (4, 6, 9, 21, 23)
    findings = [
        finding(start, start + 1, evidence(7, start, 1.0), evidence(8, start, 2.0)) for start in places
    ]
    lonely = finding(1, 2, evidence(9, 1, 1.0))
    *_, last, alone = diagnostics_of(unit(), [*findings, lonely])[URI]
    also = [each for each in last.related_information or () if "also behind" in each.message]
    assert [LineIndex(TEXT).offset_at(each.location.range.start) for each in also] == [21, 9, 6]
    assert all(
        each.message == "latent blocks.9.hook_resid_post/8 is also behind this finding: comparison"
        for each in also
    )
    assert not any("also" in each.message for each in alone.related_information or ())
