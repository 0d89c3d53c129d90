"""What fixes do to right and to wrong programs, whoever finds the places."""

from collections.abc import Sequence

import pytest

from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.repair_tasks import CleanProgram, Half, RepairTask
from ace_analysis.evaluation.repair_whole import (
    FoundPlace,
    measure_corruption,
    measure_end_to_end,
    places_of,
)
from ace_analysis.evaluation.sandbox import Limits, Sandbox

RIGHT = "def f(a):\n    b = a + 1\n    return b\n"
WRONG = RIGHT.replace("a + 1", "a - 1")
TESTS = "assert f(1) == 2"


class Scripted:
    """Finds what it was told to find."""

    identity = "scripted"

    def __init__(self, *places: FoundPlace) -> None:
        self.found = places
        self.asked = 0

    def places(self, text: str) -> Sequence[FoundPlace]:
        self.asked += 1
        return self.found


def program(name: str = "p", text: str = RIGHT) -> CleanProgram:
    return CleanProgram(id=name, text=text, tests=TESTS, half=Half.REPORT)


def task() -> RepairTask:
    return RepairTask(
        id="t",
        collection="ours",
        problem="t",
        buggy=WRONG,
        fixed=RIGHT,
        line=1,
        tests=TESTS,
        half=Half.REPORT,
    )


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(Limits(seconds=5))


@pytest.fixture
def ledger(tmp_path) -> Ledger:
    return Ledger(tmp_path / "kept.jsonl")


def silent(message: str, share: float | None) -> None:
    pass


@pytest.mark.parametrize(
    ("places", "corrupted"),
    [
        ([], 0),
        ([FoundPlace(1, None)], 0),
        ([FoundPlace(1, RIGHT.replace("a + 1", "1 + a"))], 0),
        ([FoundPlace(1, WRONG)], 1),
        ([FoundPlace(2, RIGHT), FoundPlace(1, WRONG)], 1),
    ],
)
def test_a_right_program_is_corrupted_by_any_first_fix_that_breaks_it(places, corrupted, sandbox, ledger):
    told = measure_corruption([program()], Scripted(*places), sandbox, ledger, silent)
    assert told["corrupted"]["value"] == corrupted
    assert told["corrupted_programs"] == ["p"] * corrupted
    assert told["findings"] == len(places)
    assert told["fixes_offered"] == sum(place.fixed is not None for place in places)


def test_programs_whose_own_tests_fail_say_nothing_of_corruption(sandbox, ledger):
    pipeline = Scripted(FoundPlace(1, WRONG))
    told = measure_corruption([program("bad", WRONG), program("good")], pipeline, sandbox, ledger, silent)
    assert (told["programs"], told["left_out"], told["corrupted_programs"]) == (1, 1, ["good"])


@pytest.mark.parametrize(
    ("places", "found", "mended"),
    [
        ([], 0, 0),
        ([FoundPlace(2, RIGHT)], 0, 0),
        ([FoundPlace(1, None)], 1, 0),
        ([FoundPlace(1, WRONG)], 1, 0),
        ([FoundPlace(1, RIGHT)], 1, 1),
    ],
)
def test_a_bug_is_mended_where_it_was_found(places, found, mended, sandbox, ledger):
    told = measure_end_to_end([task()], Scripted(*places), sandbox, ledger, silent)
    assert (told["found"]["value"], told["mended"]["value"]) == (found, mended)
    assert told["findings_elsewhere"] == sum(place.line != 1 for place in places)


def test_what_was_found_once_is_kept(tmp_path):
    pipeline = Scripted(FoundPlace(1, None), FoundPlace(0, RIGHT))
    path = tmp_path / "kept.jsonl"
    first = places_of(pipeline, RIGHT, Ledger(path))
    assert places_of(pipeline, RIGHT, Ledger(path)) == first == pipeline.found
    assert pipeline.asked == 1
    places_of(pipeline, WRONG, Ledger(path))
    assert pipeline.asked == 2


def test_progress_runs_over_all_programs(sandbox, ledger):
    seen: list[float | None] = []
    measure_corruption([program()] * 2, Scripted(), sandbox, ledger, lambda _, share: seen.append(share))
    assert seen == [0.0, 0.5]
