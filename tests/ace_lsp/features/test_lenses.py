from lsprotocol import types

from ace_analysis.report.finding import Finding
from ace_analysis.source.document import TextSpan
from ace_lsp.features.lenses import hints_of, lenses_of
from ace_lsp.positions import LineIndex
from ace_lsp.units import Part, Unit

TEXT = "x = 1\n\n\ndef f(a):\n    return a\n\n\ndef g(a):\n    return a < b\n"
PART = Part(uri="file:///a.py", version=3, start=0, lines=LineIndex(TEXT))
UNIT = Unit(uri=PART.uri, version=3, text=TEXT, parts=(PART,))
WHOLE = types.Range(types.Position(0, 0), types.Position(99, 0))


def finding(place: str, score: float = 0.9) -> Finding:
    start = TEXT.rindex(place)
    return Finding(span=TextSpan(start, start + len(place)), kind="comparison", score=score, threshold=0.5)


def test_one_lens_above_each_function_with_findings():
    lenses = lenses_of(UNIT, PART, [finding("a < b", 0.5), finding("<"), finding("1", 0.25)])
    assert [(each.range.start.line, each.command.title) for each in lenses] == [
        (0, "ACE: 1 finding, likeliest 0.25"),
        (7, "ACE: 2 findings, likeliest 0.90"),
    ]
    assert lenses[1].command.arguments == [PART.uri, types.Position(8, 13)]


def test_the_probability_stands_behind_each_finding_in_the_range():
    hints = hints_of(UNIT, PART, WHOLE, [finding("<"), finding("1", 0.25)])
    assert [(each.position, each.label) for each in hints] == [
        (types.Position(8, 14), "0.90"),
        (types.Position(0, 5), "0.25"),
    ]
    top = types.Range(types.Position(0, 0), types.Position(1, 0))
    assert [each.label for each in hints_of(UNIT, PART, top, [finding("<"), finding("1", 0.25)])] == ["0.25"]


def test_without_findings_there_is_nothing():
    assert lenses_of(UNIT, PART, []) == hints_of(UNIT, PART, WHOLE, []) == []
