"""From scores to findings, on scores made by hand."""

import pytest

from ace_analysis.engine.reports import Rules, report_of
from ace_analysis.engine.scores import KeptSite
from ace_analysis.features.bundle import Calibration
from ace_analysis.features.scoring import LatentFiring
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.ignores import Ignores, ignores_of
from ace_analysis.source.kinds import KIND_OF_SITE, kind_of
from ace_analysis.source.sites import SiteKind
from ace_analysis.source.syntax import Scope

TEXT = "# head\ndef f(a):\n    x = a < 1\n    return a\n"
SCOPE = Scope(name="f", kind="function", span=TextSpan(7, len(TEXT)), header="", has_error=False)
CALIBRATION = Calibration(scale=1.0, offset=0.0, prior=0.5, thresholds={1.0: 0.0})


def at(text: str, kind: SiteKind, logit: float) -> KeptSite:
    start = TEXT.index(text) - 7
    firing = LatentFiring(9, TextSpan(start, start + 1), 2.0, 0.5, 0.75)
    return KeptSite(TextSpan(start, start + len(text)), kind, logit, (firing,))


def rules(**changes: object) -> Rules:
    values = {"calibration": CALIBRATION, "threshold": 0.0, "hook_name": "hook", "ignores": Ignores()}
    return Rules(**{**values, **changes})


SCORES = (
    at("a <", SiteKind.NAME, 1.0),
    at("<", SiteKind.COMPARISON, 2.0),
    at("1", SiteKind.NUMBER, -1.0),
    at("return", SiteKind.STATEMENT, 0.5),
)


def found(**changes: object) -> list[str]:
    document = CodeDocument(uri="", text=TEXT)
    report = report_of(document, SCOPE, SCORES, rules(**changes), from_cache=False)
    return [TEXT[each.span.start : each.span.end] for each in report.findings]


def test_the_worst_of_each_line_is_found_in_order() -> None:
    assert found() == ["<", "return"]


def test_a_threshold_hides_what_lies_below_it_and_shows_what_reaches_it() -> None:
    assert found(threshold=2.0) == ["<"]
    assert found(threshold=2.1) == []


@pytest.mark.parametrize("name", ["comparison"])
def test_a_hidden_kind_leaves_the_line_to_the_next_worst(name: str) -> None:
    assert found(hidden=frozenset({name})) == ["a <", "return"]


@pytest.mark.parametrize("name", ["missing-guard", "statement"])
def test_a_kind_is_hidden_by_its_own_name_and_by_its_sites(name: str) -> None:
    assert found(hidden=frozenset({name})) == ["<"]


def test_the_authors_comments_are_obeyed() -> None:
    document = CodeDocument(uri="", text=TEXT.replace("return a", "return a  # ace: ignore"))
    report = report_of(document, SCOPE, SCORES, rules(ignores=ignores_of(document)), from_cache=True)
    assert [each.kind for each in report.findings] == ["comparison"] and report.from_cache


def test_a_finding_says_how_sure_it_is_what_it_had_to_exceed_and_why() -> None:
    document = CodeDocument(uri="", text=TEXT)
    finding = report_of(document, SCOPE, SCORES, rules(), from_cache=False).findings[0]
    assert finding.score == pytest.approx(0.8808, abs=1e-4) and finding.threshold == 0.5
    (evidence,) = finding.evidence
    assert (evidence.feature, evidence.activation, evidence.threshold, evidence.weight) == (
        "hook/9",
        2.0,
        0.5,
        0.75,
    )
    assert TEXT[evidence.span.start : evidence.span.end] == "<"


def test_all_sites_are_told_where_they_are_wanted_hidden_or_not() -> None:
    document = CodeDocument(uri="", text=TEXT)
    wanted = rules(with_sites=True, hidden=frozenset({"comparison"}))
    report = report_of(document, SCOPE, SCORES, wanted, from_cache=False)
    assert [site.text for site in report.sites] == ["a <", "<", "1", "return"]
    assert not report_of(document, SCOPE, SCORES, rules(), from_cache=False).sites


def test_every_kind_of_site_has_a_kind_of_finding_of_its_own() -> None:
    assert KIND_OF_SITE.keys() == set(SiteKind)
    assert len({kind_of(kind) for kind in SiteKind}) == len(SiteKind)
