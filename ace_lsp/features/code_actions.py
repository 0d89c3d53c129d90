"""What can be done about a finding: pure, from findings and candidates at hand to code actions.

Nothing is generated here. Editors ask for code actions at each move of the cursor and wait for the answer
before they save, and resolve them when the mouse passes over a menu; so an action carries a command that
generates when it is chosen, or an edit that is there already.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from lsprotocol import types

from ace_analysis.report.finding import Finding
from ace_analysis.report.kinds import kind_text
from ace_analysis.report.repair import Fix
from ace_analysis.source.document import TextSpan
from ace_lsp.client import Client
from ace_lsp.features.diagnostics import SOURCE
from ace_lsp.features.edits import edit_of_fix, insertion, workspace_edit
from ace_lsp.features.ignoring import Insertion, ignore_finding, ignore_in_file
from ace_lsp.positions import LineIndex
from ace_lsp.units import Part, Unit

QUICKFIX = types.CodeActionKind.QuickFix
REWRITE = "refactor.rewrite.ace"
KINDS = (QUICKFIX, REWRITE)

MOST_CANDIDATES = 5
LONGEST_TITLE = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request for code actions, and what it may be answered with."""

    unit: Unit
    part: Part
    where: types.Range
    context: types.CodeActionContext
    client: Client
    regenerates: bool = False
    """Whether the engine can write something new."""
    preview: bool = False

    def wants(self, kind: str) -> bool:
        only = self.context.only
        return only is None or any(kind == each or kind.startswith(f"{each}.") or not each for each in only)

    @property
    def span(self) -> TextSpan:
        return self.part.lines.span_of(self.where).shifted(self.part.start)


def actions_of(
    asked: Asked, findings: Sequence[Finding], fixes: Sequence[Fix]
) -> list[types.CodeAction | types.Command]:
    """The actions for findings that the range touches, and for a selection; `fixes` are at hand."""
    actions: list[types.CodeAction] = []
    if asked.wants(QUICKFIX):
        for finding in findings:
            actions += _about(asked, finding, [fix for fix in fixes if _touch(fix.span, finding.span)])
        for finding in {finding.kind: finding for finding in findings}.values():
            actions += _about_file(asked, finding)
    if asked.wants(REWRITE) and len(asked.span):
        about = findings if asked.wants(QUICKFIX) else ()
        others = [fix for fix in fixes if not any(_touch(fix.span, each.span) for each in about)]
        actions += _about_selection(asked, [fix for fix in others if _touch(fix.span, asked.span)])
    if asked.client.action_literals:
        return list(actions)
    return [action.command for action in actions if action.command is not None]


def touching(findings: Iterable[Finding], span: TextSpan) -> list[Finding]:
    """The findings that a range touches; a cursor touches what it stands beside."""
    return [finding for finding in findings if _touch(finding.span, span)]


def _touch(one: TextSpan, other: TextSpan) -> bool:
    return one.start <= other.end and other.start <= one.end


def _about(asked: Asked, finding: Finding, fixes: Sequence[Fix]) -> Iterator[types.CodeAction]:
    place = asked.unit.place(finding.span)
    if place is None or place[0] is not asked.part:
        return
    where = asked.part.lines.range_of(place[1])
    diagnostics = [each for each in asked.context.diagnostics if _is(each, finding, where)] or None
    title = kind_text(finding.kind).title.lower()

    def action(title: str, **more: object) -> types.CodeAction:
        return types.CodeAction(title=title, kind=QUICKFIX, diagnostics=diagnostics, **more)  # pyright: ignore

    yield from _at_hand(asked, fixes, action)
    if asked.regenerates:
        again = "another fix" if fixes else "a fix"
        command = _regenerate(asked, where, f"Look for {again} with ACE: {title}")
        yield action(command.title, command=command, tags=_tags(asked))
    explain = types.Command(
        title=f"Explain with ACE: {title}", command="ace.explainHere", arguments=[asked.part.uri, where.start]
    )
    yield action(explain.title, command=explain)
    line = ignore_finding(_lines(asked.unit), finding.span, finding.kind)
    if (edit := _insert(asked, line)) is not None:
        yield action(f"Ignore this finding (# ace: ignore[{finding.kind}])", edit=edit)


def _about_selection(asked: Asked, fixes: Sequence[Fix]) -> Iterator[types.CodeAction]:
    """A selection may be rewritten where nothing was found, and what was written for it before is at hand."""

    def action(title: str, **more: object) -> types.CodeAction:
        return types.CodeAction(title=title, kind=REWRITE, **more)  # pyright: ignore

    yield from _at_hand(asked, fixes, action)
    if asked.regenerates:
        command = _regenerate(asked, asked.where, "Rewrite the selection with ACE")
        yield action(command.title, command=command, tags=_tags(asked))


def _at_hand(
    asked: Asked, fixes: Sequence[Fix], action: Callable[..., types.CodeAction]
) -> Iterator[types.CodeAction]:
    """Plain edits, the best first. Only what the user's tests have passed is preferred."""
    for fix in fixes[:MOST_CANDIDATES]:
        if (edit := _edit(asked, fix)) is not None:
            preferred = True if fix.verified_by_tests else None
            yield action(title_of(asked.unit, fix), edit=edit, is_preferred=preferred, tags=_tags(asked))


def _tags(asked: Asked) -> list[types.CodeActionTag] | None:
    """What a model wrote, or will write when it is chosen, says so."""
    return [types.CodeActionTag.LlmGenerated] if asked.client.tags_actions else None


def _about_file(asked: Asked, finding: Finding) -> Iterator[types.CodeAction]:
    if (edit := _insert(asked, ignore_in_file(_lines(asked.unit), finding.kind))) is not None:
        title = f"Ignore {finding.kind} in this file (# ace: ignore-file[{finding.kind}])"
        yield types.CodeAction(title=title, kind=QUICKFIX, edit=edit)


def title_of(unit: Unit, fix: Fix) -> str:
    """What a fix does, in one line."""
    before, after = unit.text[fix.span.start : fix.span.end], fix.replacement
    done = fix.detail or f"`{_line(before)}` becomes `{_line(after)}`"
    tested = "; the tests pass" if fix.verified_by_tests else ""
    return f"Fix: {_line(done)}{tested}"


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_TITLE else line[: LONGEST_TITLE - 1] + "…"


def _regenerate(asked: Asked, where: types.Range, title: str) -> types.Command:
    options = {"version": asked.part.version}
    return types.Command(title=title, command="ace.regenerate", arguments=[asked.part.uri, where, options])


def _edit(asked: Asked, fix: Fix) -> types.WorkspaceEdit | None:
    if (found := edit_of_fix(asked.unit, fix)) is None:
        return None
    part, edit = found
    preview = title_of(asked.unit, fix) if asked.preview else None
    return workspace_edit(asked.client, part, [edit], preview=preview)


def _insert(asked: Asked, wanted: Insertion | None) -> types.WorkspaceEdit | None:
    """A comment goes into the part that it belongs to, be it another cell of the notebook."""
    if wanted is None:
        return None
    place = asked.unit.place_of_edit(TextSpan(wanted.offset, wanted.offset))
    if place is None:
        return None
    part, at = place
    return workspace_edit(asked.client, part, [insertion(part, at.start, wanted.text)])


def _lines(unit: Unit) -> LineIndex:
    """Lines of the whole unit, which for a document are those that are there already."""
    first = unit.parts[0].lines
    return first if first.text == unit.text else LineIndex(unit.text)


def _is(diagnostic: types.Diagnostic, finding: Finding, where: types.Range) -> bool:
    """By place and kind, since not every client keeps a diagnostic's data."""
    return diagnostic.source == SOURCE and diagnostic.code == finding.kind and diagnostic.range == where
