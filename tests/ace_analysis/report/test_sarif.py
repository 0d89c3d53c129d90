"""SARIF: the shape that code hosts expect, and fingerprints that stay."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from ace_analysis.report.finding import FileReport
from ace_analysis.report.run import CheckedFile, CheckRun
from ace_analysis.report.sarif import sarif_of
from ace_analysis.source.document import CodeDocument
from ace_analysis.source.kinds import KINDS

ROOT = Path("/project")


def log_of(run: CheckRun) -> dict[str, Any]:
    return json.loads(json.dumps(sarif_of(run, ROOT)))["runs"][0]


def test_the_frame_is_what_sarif_2_1_0_asks_for(run: CheckRun) -> None:
    whole = sarif_of(run, ROOT)
    assert whole["version"] == "2.1.0"
    assert whole["$schema"].endswith("sarif-2.1.0.json")
    (log,) = whole["runs"]
    assert log["tool"]["driver"]["name"] == "ace"
    assert log["columnKind"] == "unicodeCodePoints"
    assert log["originalUriBaseIds"]["ROOT"]["uri"] == "file:///project/"


def test_each_kind_has_a_rule_with_help(run: CheckRun) -> None:
    rules = log_of(run)["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(KINDS)
    for rule in rules:
        assert rule["shortDescription"]["text"] and rule["fullDescription"]["text"]
        assert f"# ace: ignore[{rule['id']}]" in rule["help"]["text"]


def test_results_point_at_their_rules(run: CheckRun) -> None:
    log = log_of(run)
    for result in log["results"]:
        assert log["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]


def test_an_unknown_kind_gets_a_rule_of_its_own(run: CheckRun) -> None:
    (first, *_) = run.files
    odd = replace(first.report.findings[0], kind="from-a-newer-engine")
    report = replace(first.report, findings=(odd,))
    log = log_of(replace(run, files=(replace(first, report=report),)))
    (result,) = log["results"]
    assert log["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == "from-a-newer-engine"


def test_regions_count_lines_and_columns_from_1(run: CheckRun) -> None:
    result = log_of(run)["results"][0]
    place = result["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 4, "startColumn": 14, "endLine": 4, "endColumn": 15}
    assert place["artifactLocation"] == {"uri": "src/a%20b.py", "uriBaseId": "ROOT"}
    assert (result["level"], result["rank"]) == ("warning", 81.25)
    assert "'<'" in result["message"]["text"]


def test_the_latents_are_related_locations(run: CheckRun) -> None:
    (related,) = log_of(run)["results"][0]["relatedLocations"]
    assert "blocks.9.hook_resid_post/7" in related["message"]["text"]
    assert related["id"] == 0


def test_a_hint_is_a_note(run: CheckRun) -> None:
    assert log_of(run)["results"][1]["level"] == "note"


def test_a_file_outside_of_the_root_has_an_absolute_uri(run: CheckRun) -> None:
    notifications = log_of(run)["invocations"][0]["toolExecutionNotifications"]
    places = [each["locations"][0]["physicalLocation"]["artifactLocation"] for each in notifications]
    assert {"uri": "file:///elsewhere/x.py"} in places


def test_what_could_not_be_done_is_a_notification(run: CheckRun) -> None:
    (invocation,) = log_of(replace(run, error="no engine", interrupted=True))["invocations"]
    assert invocation["executionSuccessful"] is False
    texts = [each["message"]["text"] for each in invocation["toolExecutionNotifications"]]
    expected = ["no engine", "interrupted before all was checked", "line 1: unknown kind", "binary"]
    assert texts == expected


def test_a_run_in_which_all_was_done_is_successful(run: CheckRun) -> None:
    (invocation,) = log_of(replace(run, files=run.files[:1]))["invocations"]
    assert invocation["executionSuccessful"] is True
    assert invocation["exitCode"] == 1


def fingerprints(run: CheckRun) -> list[str]:
    return [each["partialFingerprints"]["aceLine/v1"] for each in log_of(run)["results"]]


def moved_down(checked: CheckedFile, lines: int) -> CheckedFile:
    text = "#\n" * lines + checked.document.text
    findings = tuple(replace(each, span=each.span.shifted(2 * lines)) for each in checked.report.findings)
    return CheckedFile(
        report=replace(checked.report, findings=findings),
        document=CodeDocument(uri=checked.document.uri, text=text),
    )


def test_a_fingerprint_stays_when_lines_come_above(run: CheckRun) -> None:
    moved = replace(run, files=(moved_down(run.files[0], 3),))
    assert fingerprints(moved) == fingerprints(run)


def test_fingerprints_differ_by_kind_file_and_repetition(run: CheckRun) -> None:
    first = run.files[0]
    doubled = replace(first.report, findings=(*first.report.findings, first.report.findings[0]))
    elsewhere = replace(first.report, path="other.py")
    files = tuple(CheckedFile(report=each, document=first.document) for each in (doubled, elsewhere))
    found = fingerprints(replace(run, files=files))
    assert len(set(found)) == len(found) == 5


def test_a_text_with_lone_surrogates_has_fingerprints() -> None:
    run = CheckRun(
        max_false_alarms=1.0,
        files=(CheckedFile(report=FileReport(path="a\udcff.py"), document=CodeDocument(uri="", text="")),),
    )
    assert log_of(run)["results"] == []
