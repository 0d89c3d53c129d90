"""A fix survives its way between processes, and nothing else is taken for one."""

import json

import pytest

from ace_analysis.errors import InputError
from ace_analysis.report.repair import Fix, Gate, GateResult, Source
from ace_analysis.report.repair_wire import fix_from_wire, fix_to_wire
from ace_analysis.source.document import TextSpan

FIX = Fix(
    span=TextSpan(3, 5),
    replacement="<",
    source=Source.STEERED,
    score=-1.5,
    gates=(GateResult(Gate.PARSES, True), GateResult(Gate.LIKELIHOOD, True, "rises by 2.1 nats")),
    detail="`<=` becomes `<`",
    strength=1.5,
    verified_by_tests=True,
)


def test_a_fix_comes_back_as_it_was() -> None:
    assert fix_from_wire(json.loads(json.dumps(fix_to_wire(FIX)))) == FIX


def test_what_a_fix_need_not_say_has_a_default() -> None:
    data = {"span": [0, 1], "replacement": "x", "source": "edit", "score": 0}
    assert fix_from_wire(data) == Fix(span=TextSpan(0, 1), replacement="x", source=Source.EDIT, score=0.0)


@pytest.mark.parametrize(
    "change",
    [{"span": [1]}, {"source": "guess"}, {"gates": [{"gate": "luck", "passed": True}]}, {"score": "high"}],
)
def test_what_is_no_fix_is_refused_with_what_was_got(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="expected Fix as JSON"):
        fix_from_wire({**fix_to_wire(FIX), **change})


def test_another_releases_fix_is_refused() -> None:
    with pytest.raises(InputError, match="the same release"):
        fix_from_wire({**fix_to_wire(FIX), "version": 99})
