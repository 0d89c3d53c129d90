from dataclasses import replace

from ace_analysis.report.run import CheckRun


def test_what_could_not_be_done_weighs_more_than_findings(run: CheckRun) -> None:
    assert run.findings == 2
    assert run.exit_code == 2
    assert replace(run, files=run.files[:1], error="no engine").exit_code == 2


def test_findings_alone_are_1_and_nothing_is_0(run: CheckRun) -> None:
    assert replace(run, files=run.files[:1]).exit_code == 1
    assert CheckRun(max_false_alarms=1.0).exit_code == 0


def test_an_interruption_is_130_whatever_else(run: CheckRun) -> None:
    assert replace(run, interrupted=True, error="x").exit_code == 130


def test_the_failed_files_are_those_with_an_error(run: CheckRun) -> None:
    assert [each.path for each in run.failed] == ["/elsewhere/x.py"]
