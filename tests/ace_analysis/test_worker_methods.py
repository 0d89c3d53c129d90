"""What a handler makes of its params, and what it answers."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ace_analysis.errors import InputError
from ace_analysis.report.repair import Fix, Gate, GateResult, Source
from ace_analysis.report.repair_wire import fix_from_wire
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.worker_methods import METHODS, Desk, Job

FIX = Fix(
    span=TextSpan(2, 4),
    replacement="<",
    source=Source.GREEDY,
    score=0.5,
    gates=(GateResult(Gate.PARSES, True),),
)


class FixingEngine:
    """Remembers what it was asked, tells one step, and offers one fix."""

    def __init__(self) -> None:
        self.asked: list[tuple[CodeDocument, TextSpan, Any]] = []
        self.cancelled: Callable[[], bool] | None = None

    def fix(
        self, document: CodeDocument, place: TextSpan, *, options: Any, cancelled: Any, progress: Any
    ) -> tuple[Fix, ...]:
        self.asked.append((document, place, options))
        self.cancelled = cancelled
        progress("writing it anew", 0.2)
        return (FIX,)


def asked(params: Mapping[str, Any], engine: FixingEngine) -> tuple[Any, list[Any], Job]:
    notes: list[Any] = []
    job = Job(1, "ace/fix", params, lambda method, note: notes.append((method, note)))
    return METHODS["ace/fix"](Desk(engine), job), notes, job  # pyright: ignore[reportArgumentType]


PARAMS = {"uri": "file:///m.py", "version": 3, "text": "a <= b", "start": 2, "end": 4}


def test_fixes_are_answered_for_the_version_and_the_place_that_were_asked() -> None:
    engine = FixingEngine()
    answer, notes, _ = asked({**PARAMS, "options": {"candidates": 2}}, engine)
    ((document, place, options),) = engine.asked
    assert (document.text, document.version, place) == ("a <= b", 3, TextSpan(2, 4))
    assert options.candidates == 2
    assert [fix_from_wire(each) for each in answer["fixes"]] == [FIX]
    assert notes == [("ace/progress", {"id": 1, "message": "writing it anew", "fraction": 0.2})]


def test_a_cancel_of_the_request_is_what_the_engine_asks_for() -> None:
    engine = FixingEngine()
    _, _, job = asked(PARAMS, engine)
    assert engine.cancelled is not None and not engine.cancelled()
    job.stop.set()
    assert engine.cancelled()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"end": None}, r"a span \[start, end\]"),
        ({"end": 1}, r"a span \[start, end\]"),
        ({"options": {"candidate": 1}}, "expected options among"),
    ],
)
def test_params_that_can_not_be_used_are_told(change: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        asked({**PARAMS, **change}, FixingEngine())


def test_a_param_that_is_missing_is_told() -> None:
    with pytest.raises(InputError, match="expected a parameter 'start'"):
        asked({name: value for name, value in PARAMS.items() if name != "start"}, FixingEngine())


class Editing:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def preview(self, request: Any, *, cancelled: Any, progress: Any) -> dict[str, Any]:
        self.asked.append((request, cancelled))
        progress("planned", 1.0)
        return {"name": "mine"}

    def apply(self, request: Any, fingerprint: str, *, cancelled: Any, progress: Any) -> dict[str, Any]:
        self.asked.append((request, fingerprint, cancelled))
        return {"name": "mine"}

    def undo(self, name: Any, edit: Any, progress: Any) -> dict[str, Any]:
        self.asked.append((name, edit))
        return {"left": 0}


def edit_asked(method: str, params: Mapping[str, Any], editor: Any) -> tuple[Any, list[Any], Job]:
    notes: list[Any] = []
    job = Job(1, f"ace/edit/{method}", params, lambda method, note: notes.append((method, note)))
    desk = Desk(FixingEngine(), editor)  # pyright: ignore[reportArgumentType]
    return METHODS[job.method](desk, job), notes, job


def test_edits_are_previewed_applied_and_undone_as_they_were_asked_for() -> None:
    editor, request = Editing(), {"latents": [1]}
    answer, notes, job = edit_asked("preview", {"request": request}, editor)
    assert answer == {"name": "mine"} and editor.asked == [(request, job.cancelled)]
    assert notes == [("ace/progress", {"id": 1, "message": "planned", "fraction": 1.0})]
    _, _, job = edit_asked("apply", {"request": request, "fingerprint": "f"}, editor)
    assert editor.asked[-1] == (request, "f", job.cancelled)
    edit_asked("undo", {"name": "mine"}, editor)
    edit_asked("undo", {"name": "mine", "edit": "ab"}, editor)
    assert editor.asked[2:] == [("mine", None), ("mine", "ab")]


@pytest.mark.parametrize(
    ("method", "params", "told"),
    [
        ("preview", {}, "expected a parameter 'request'"),
        ("preview", {"request": 3}, "request: expected values by name, got 3"),
        ("apply", {"request": {}}, "expected a parameter 'fingerprint'"),
        ("undo", {"name": 3}, "expected a name and an edit as texts, got 3"),
    ],
)
def test_params_of_edits_that_can_not_be_used_are_told(
    method: str, params: Mapping[str, Any], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        edit_asked(method, params, Editing())


def test_edits_need_a_model() -> None:
    job = Job(1, "ace/edit/preview", {"request": {}}, lambda method, note: None)
    with pytest.raises(InputError, match="expected ace/load first"):
        METHODS["ace/edit/preview"](Desk(), job)
