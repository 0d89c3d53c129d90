"""Wrong lines set right by the real weights, decided by tests in the sandbox."""

import pytest

from ace_analysis.engine import Engine
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.repair import attempt
from ace_analysis.evaluation.repair_arms import ShippedArm, WrittenArm
from ace_analysis.evaluation.repair_tasks import Half, RepairTask
from ace_analysis.evaluation.sandbox import Sandbox
from ace_analysis.settings import EngineSettings, FixSettings

pytestmark = [pytest.mark.model, pytest.mark.slow]

RIGHT = """def index_of_largest(values):
    best = 0
    for index in range(1, len(values)):
        if values[index] > values[best]:
            best = index
    return best
"""
TASK = RepairTask(
    id="largest",
    collection="ours",
    problem="largest",
    buggy=RIGHT.replace("> values[best]", "> values[index]"),
    fixed=RIGHT,
    line=3,
    tests="assert index_of_largest([3, 1, 7, 2]) == 2\nassert index_of_largest([5]) == 0",
    half=Half.REPORT,
)


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load(EngineSettings(fix=FixSettings(candidates=1)))


def test_a_wrong_name_is_set_right_by_the_first_fix(engine, tmp_path):
    tried = attempt(ShippedArm(engine), TASK, 5, Sandbox(), Ledger(tmp_path / "kept.jsonl"))
    assert 1 <= len(tried.offered) <= 5
    assert tried.measure("first") == tried.measure("exact") == 1


def test_the_unsteered_greedy_line_is_a_line_of_code(engine, tmp_path):
    arm = WrittenArm(causal=engine.causal(), count=1)
    tried = attempt(arm, TASK, 5, Sandbox(), Ledger(tmp_path / "kept.jsonl"))
    assert tried.offered[0].split("\n")[3].strip().endswith(":")
