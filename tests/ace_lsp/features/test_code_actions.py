from dataclasses import replace

from lsprotocol import types

from ace_analysis.report.finding import Finding
from ace_analysis.report.repair import Fix, Source
from ace_analysis.source.document import TextSpan
from ace_lsp.client import Client
from ace_lsp.features.code_actions import LONGEST_TITLE, Asked, actions_of, title_of, touching
from ace_lsp.positions import LineIndex
from ace_lsp.units import Part, Unit

URI = "file:///a.py"
TEXT = "x = a < b\ny = c < d\n"
PART = Part(uri=URI, version=3, start=0, lines=LineIndex(TEXT))
UNIT = Unit(uri=URI, version=3, text=TEXT, parts=(PART,))
ALL = types.Range(types.Position(0, 0), types.Position(2, 0))


def finding(start: int, kind: str = "comparison") -> Finding:
    return Finding(span=TextSpan(start, start + 1), kind=kind, score=0.9, threshold=0.5)


def fix(start: int, text: str, **more: object) -> Fix:
    fields: dict = {"source": Source.EDIT, "score": 0.0, **more}
    return Fix(span=TextSpan(start, start + 1), replacement=text, **fields)


def asked(**more: object) -> Asked:
    fields: dict = {
        "unit": UNIT,
        "part": PART,
        "where": ALL,
        "context": types.CodeActionContext(diagnostics=[]),
        "client": Client(action_literals=True, versioned_edits=True),
        "regenerates": True,
    }
    return Asked(**{**fields, **more})


def titles(*found: object) -> list[str]:
    return [action.title for action in found]


def test_each_finding_has_its_actions_and_each_kind_one_for_the_file():
    actions = titles(*actions_of(asked(), [finding(6), finding(16)], []))
    assert sum("Look for a fix" in each for each in actions) == 2
    assert sum("Ignore this finding" in each for each in actions) == 2
    assert sum("in this file" in each for each in actions) == 1


def test_without_an_engine_that_writes_there_is_nothing_to_look_for_one_with():
    actions = titles(*actions_of(asked(regenerates=False), [finding(6)], []))
    assert not any("Look for" in each or "Rewrite" in each for each in actions)
    assert any("Explain" in each for each in actions)


def test_candidates_stand_beside_their_finding_first_and_no_other():
    actions = titles(*actions_of(asked(), [finding(6), finding(16)], [fix(16, "<=")]))
    assert [each for each in actions if each.startswith("Fix")] == ["Fix: `<` becomes `<=`"]
    assert actions.index("Fix: `<` becomes `<=`") > actions.index(
        "Look for a fix with ACE: suspicious comparison"
    )
    assert any("another fix" in each for each in actions)


def test_at_most_five_candidates_are_offered():
    many = [fix(6, str(number)) for number in range(9)]
    assert sum(title.startswith("Fix") for title in titles(*actions_of(asked(), [finding(6)], many))) == 5


def test_titles_are_one_line_and_not_too_long():
    assert title_of(UNIT, fix(6, "<=\n  b")) == "Fix: `<` becomes `<= b`"
    assert title_of(UNIT, fix(6, "", detail="the guard is back", verified_by_tests=True)) == (
        "Fix: the guard is back; the tests pass"
    )
    assert len(title_of(UNIT, fix(6, "x" * 999))) <= LONGEST_TITLE + 10


def test_a_cursor_touches_what_it_stands_beside():
    findings = [finding(6), finding(16)]
    assert touching(findings, TextSpan(7, 7)) == findings[:1]
    assert touching(findings, TextSpan(8, 15)) == []
    assert touching(findings, TextSpan(0, 20)) == findings


def test_a_finding_of_another_cell_is_left_to_that_cell():
    other = replace(PART, uri="cell:1", start=len(TEXT))
    both = Unit(uri=URI, version=3, text=TEXT + TEXT, parts=(PART, other))
    found = actions_of(asked(unit=both), [finding(len(TEXT) + 6)], [])
    assert not any("Explain" in title for title in titles(*found))


def test_empty_kinds_ask_for_everything_and_only_whole_words_count():
    def kinds(*only: str) -> set:
        context = types.CodeActionContext(diagnostics=[], only=list(only))
        return {action.kind for action in actions_of(asked(context=context), [finding(6)], [])}

    assert kinds("") == {"quickfix", "refactor.rewrite.ace"}
    assert kinds("refactor.rewrite") == {"refactor.rewrite.ace"}
    assert kinds("refactor.rewrite.ac") == set()
    assert kinds("source.fixAll") == set()


def test_what_was_written_for_a_selection_is_at_hand_where_nothing_was_found():
    written = [fix(6, "<="), fix(16, ">")]
    first_line = replace(asked(), where=types.Range(types.Position(0, 4), types.Position(0, 9)))
    actions = actions_of(first_line, [], written)
    assert titles(*actions) == ["Fix: `<` becomes `<=`", "Rewrite the selection with ACE"]
    assert {action.kind for action in actions} == {"refactor.rewrite.ace"}
    assert [action.edit is None for action in actions] == [False, True]
    cursor = replace(first_line, where=types.Range(types.Position(0, 6), types.Position(0, 6)))
    assert actions_of(cursor, [], written) == []


def test_a_candidate_of_a_finding_is_offered_once():
    actions = titles(*actions_of(asked(), [finding(6)], [fix(6, "<="), fix(16, ">")]))
    assert sorted(each for each in actions if each.startswith("Fix")) == [
        "Fix: `<` becomes `<=`",
        "Fix: `<` becomes `>`",
    ]
    rewrites = types.CodeActionContext(diagnostics=[], only=["refactor"])
    assert "Fix: `<` becomes `<=`" in titles(
        *actions_of(asked(context=rewrites), [finding(6)], [fix(6, "<=")])
    )


def test_all_that_a_model_writes_is_marked_as_such_where_the_client_knows_it_and_nothing_else():
    for knows in (True, False):
        client = Client(action_literals=True, versioned_edits=True, tags_actions=knows)
        actions = actions_of(asked(client=client), [finding(6)], [fix(6, "<=")])
        marked = {each.title for each in actions if types.CodeActionTag.LlmGenerated in (each.tags or ())}
        written = {each.title for each in actions if each.title.startswith(("Fix", "Look", "Rewrite"))}
        assert len(written) == 3 and marked == (written if knows else set())
