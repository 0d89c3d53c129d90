"""The JSON of `ace check --json`, held against its own schema."""

import json

import ace_analysis
from ace_analysis.report.listing import SCHEMA, listing_of
from ace_analysis.report.run import CheckRun


def test_the_listing_is_as_its_schema_says(run: CheckRun, problems) -> None:
    assert problems(json.loads(json.dumps(listing_of(run))), SCHEMA) == []
    assert problems(json.loads(json.dumps(listing_of(run, sites=True))), SCHEMA) == []


def test_a_listing_that_is_not_as_the_schema_says_is_noticed(run: CheckRun, problems) -> None:
    """Else the test above would pass for a wrong reason."""
    listing = listing_of(run, sites=True)
    del listing["files"][0]["findings"][0]["score"]
    listing["files"][0]["sites"][0]["line"] = 0
    listing["files"][0]["extra"] = 1
    listing["version"] = 2
    found = problems(listing, SCHEMA)
    assert len(found) == 4, found


def test_lines_count_from_1_and_columns_from_0_in_code_points(run: CheckRun) -> None:
    finding = listing_of(run)["files"][0]["findings"][0]
    places = [finding[name] for name in ("line", "column", "end_line", "end_column")]
    assert places == [4, 13, 4, 14]
    assert finding["evidence"] == [
        {
            "feature": "blocks.9.hook_resid_post/7",
            "activation": 3.0,
            "threshold": 1.0,
            "weight": 0.5,
            "line": 4,
            "column": 13,
        }
    ]


def test_sites_are_there_only_when_asked_for(run: CheckRun) -> None:
    assert "sites" not in listing_of(run)["files"][0]
    assert listing_of(run, sites=True)["files"][0]["sites"] == [
        {"line": 4, "column": 13, "text": "<", "kind": "comparison", "score": 0.8125}
    ]


def test_a_file_that_could_not_be_read_says_why_and_the_others_have_no_error(run: CheckRun) -> None:
    read, unread = listing_of(run)["files"]
    assert "error" not in read
    assert unread == {"path": "/elsewhere/x.py", "findings": [], "notes": [], "error": "binary"}


def test_the_head_says_what_looked(run: CheckRun) -> None:
    listing = listing_of(run)
    assert (listing["model"], listing["bundle"], listing["engine"]["layer"]) == ("m", "b", 9)
    assert listing["ace"] == ace_analysis.__version__


def test_a_run_without_an_engine_still_is_as_the_schema_says(problems) -> None:
    run = CheckRun(max_false_alarms=1.0, error="no engine", interrupted=True)
    listing = listing_of(run)
    assert problems(listing, SCHEMA) == []
    assert listing["model"] is None
    assert listing["error"] == "no engine"
