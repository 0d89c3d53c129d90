"""Attempts, what is kept of them, and what is said of them."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.repair import Attempt, attempt, exact_rate, failing, summary
from ace_analysis.evaluation.repair_tasks import Half, RepairTask
from ace_analysis.evaluation.sandbox import Limits, Sandbox

RIGHT = "def f(a, b):\n    return a + b\n"


class Fixed:
    """Offers the same second lines for every task."""

    offered_in: float | None = None

    def __init__(self, *lines: str, name: str = "fixed") -> None:
        self.lines, self.name = lines, name
        self.identity = f"{name}:{lines}"
        self.asked = 0

    def offer(self, text: str, line: int) -> Sequence[str]:
        self.asked += 1
        return [f"def f(a, b):\n{each}\n" for each in self.lines]


def task(problem: str = "p", wrong: str = "    return a - b") -> RepairTask:
    return RepairTask(
        id=problem,
        collection="ours",
        problem=problem,
        buggy=f"def f(a, b):\n{wrong}\n",
        fixed=RIGHT,
        line=1,
        tests="assert f(2, 3) == 5",
        half=Half.REPORT,
    )


@pytest.fixture
def sandbox() -> Sandbox:
    return Sandbox(Limits(seconds=5))


def test_the_tests_decide_and_not_the_text(tmp_path, sandbox):
    ledger = Ledger(tmp_path / "kept.jsonl")
    tried = attempt(Fixed("    return b + a", "    return a + b", "    pass"), task(), 5, sandbox, ledger)
    assert tried.passed == (True, True, False)
    assert [tried.measure(name) for name in ("first", "any", "exact", "repeats")] == [1, 1, 0, 0]


def test_the_first_counts_alone_and_the_bug_again_is_told(tmp_path, sandbox):
    ledger = Ledger(tmp_path / "kept.jsonl")
    tried = attempt(Fixed("    return (a - b)", "    return a + b"), task(), 5, sandbox, ledger)
    assert [tried.measure(name) for name in ("first", "any", "exact", "repeats")] == [0, 1, 0, 1]


def test_an_arm_that_writes_with_others_tells_its_own_share_of_the_time(tmp_path, sandbox):
    shared = Fixed("    return a + b")
    shared.offered_in = 0.125
    assert attempt(shared, task(), 5, sandbox, Ledger(tmp_path / "kept.jsonl")).seconds == 0.125


def test_nothing_offered_is_nothing_right(tmp_path, sandbox):
    tried = attempt(Fixed(), task(), 5, sandbox, Ledger(tmp_path / "kept.jsonl"))
    assert [tried.measure(name) for name in ("first", "any", "exact", "repeats")] == [0, 0, 0, 0]


def test_no_more_than_the_allowed_number_is_tried(tmp_path, sandbox):
    arm = Fixed("    pass", "    return 0", "    return a + b")
    tried = attempt(arm, task(), 2, sandbox, Ledger(tmp_path / "kept.jsonl"))
    assert len(tried.offered) == 2
    assert not tried.measure("any")


def test_what_was_offered_is_kept_for_this_arm_and_this_text_alone(tmp_path, sandbox):
    path = tmp_path / "kept.jsonl"
    arm, other = Fixed("    return a + b"), Fixed("    return a + b", name="other")
    first = attempt(arm, task(), 5, sandbox, Ledger(path))
    again = attempt(arm, task(), 5, sandbox, Ledger(path))
    assert arm.asked == 1
    assert again == first
    attempt(other, task(), 5, sandbox, Ledger(path))
    attempt(arm, task(wrong="    return a * b"), 5, sandbox, Ledger(path))
    assert (arm.asked, other.asked) == (2, 1)


def test_tasks_whose_tests_do_not_tell_right_from_wrong_are_left_out(sandbox):
    unnoticed = task("unnoticed", wrong="    return b + a")
    broken = replace(task("broken"), fixed="def f(a, b):\n    return 0\n")
    good, left_out = failing([task("good"), unnoticed, broken], sandbox)
    assert ([each.id for each in good], left_out) == (["good"], 2)


def tried(passed: Sequence[bool], problems: Sequence[str]) -> list[Attempt]:
    return [
        Attempt(task=task(problem), offered=(RIGHT,), passed=(each,), seconds=1.0)
        for each, problem in zip(passed, problems, strict=True)
    ]


def test_a_gain_is_that_of_the_same_tasks():
    problems = [f"p{n}" for n in range(20)]
    base = tried([n % 2 == 0 for n in range(20)], problems)
    better = tried([n % 2 == 0 or n == 1 for n in range(20)], problems)
    told = summary({"base": base, "better": better, "same": base}, "base")
    assert told["base"]["first"]["value"] == 0.5
    assert told["base"]["gain_first"] is None
    assert told["better"]["gain_first"]["value"] == pytest.approx(0.05)
    assert told["better"]["gain_first"]["low"] >= 0
    assert told["same"]["gain_first"] == {"value": 0, "low": 0, "high": 0}


def test_problems_are_drawn_and_not_tasks():
    """Twenty bugs of one problem are one observation."""
    told = summary({"base": tried([True] * 10 + [False] * 10, ["p"] * 20)}, "base")
    assert told["base"]["first"] == {"value": 0.5, "low": None, "high": None}


def test_a_rate_of_none_in_many_is_not_known_to_be_none():
    rate = exact_rate(0, 100)
    assert (rate.value, rate.low) == (0, 0)
    assert rate.high == pytest.approx(0.0362, abs=1e-3)
    assert exact_rate(100, 100).low == pytest.approx(1 - rate.high)
    assert exact_rate(5, 10).low == pytest.approx(0.187, abs=1e-3)
