"""The JSON of `ace explain --json`, held against its own schema."""

import json
from dataclasses import replace
from typing import Any

import pytest

import ace_analysis
from ace_analysis.report.attribution import TargetKind
from ace_analysis.report.explanation import SCHEMA, Explained, explanation_of
from ace_analysis.report.schema import or_null


@pytest.fixture
def told(explained: Explained) -> dict[str, Any]:
    return json.loads(json.dumps(explanation_of(explained)))


def test_an_explanation_is_as_its_schema_says(told: dict[str, Any], problems) -> None:
    assert problems(told, SCHEMA) == []


def test_an_error_is_as_the_schema_says_and_says_why(explained: Explained, problems) -> None:
    told = explanation_of(replace(explained, why=None, error="white space", engine={}))
    assert problems(told, SCHEMA) == [] and told["error"] == "white space"
    assert "target" not in told and told["model"] is None


def test_an_explanation_of_a_token_is_as_its_schema_says(explained: Explained, problems) -> None:
    why = explained.why
    assert why is not None
    target = replace(
        why.target,
        kind=TargetKind.TOKEN,
        finding_kind=None,
        threshold=None,
        alternative=">",
        alternative_probability=0.5,
    )
    of_token = replace(why, target=target, latents=(), unit="logits")
    told = explanation_of(replace(explained, why=of_token))
    assert problems(json.loads(json.dumps(told)), SCHEMA) == []
    assert (told["target"]["alternative"], told["latents"]) == (">", [])


def test_what_is_not_as_the_schema_says_is_noticed(told: dict[str, Any], problems) -> None:
    """Else the tests above would pass for a wrong reason."""
    del told["target"]["line"]
    told["heads"][0]["score"] = "much"
    told["extra"] = 1
    assert len(problems(told, SCHEMA)) == 3


def test_places_are_lines_from_1_and_code_points_from_0(told: dict[str, Any]) -> None:
    place = {name: told["target"][name] for name in ("line", "column", "end_line", "end_column")}
    assert place == {"line": 4, "column": 13, "end_line": 4, "end_column": 14}
    assert told["tokens"][1] | {"score": 0} == {"text": "a", "score": 0, "line": 4, "column": 11} | {
        "end_line": 4,
        "end_column": 12,
    }


def test_a_token_that_is_not_in_the_file_has_no_place(told: dict[str, Any]) -> None:
    (nowhere,) = (each for each in told["tokens"] if each["text"] == "gone")
    assert [nowhere[name] for name in ("line", "column", "end_line", "end_column")] == [None] * 4


def test_numbers_and_words_of_the_explanation_are_all_there(
    told: dict[str, Any], explained: Explained
) -> None:
    why = explained.why
    assert why is not None
    for name in ("unit", "value", "constant", "other_latents", "constant_of_tokens", "unexplained", "method"):
        assert told[name] == getattr(why, name)
    assert told["notes"] == list(why.notes)
    assert told["ace"] == ace_analysis.__version__ and told["path"] == "src/a b.py"
    assert [(each["layer"], each["head"], each["score"]) for each in told["heads"]] == [
        (each.layer, each.head, each.score) for each in why.heads
    ]
    assert told["layers"][0]["score"] == told["layers"][0]["attention"] + told["layers"][0]["mlp"]
    assert told["latents"][0]["label"] == why.latents[0].label


def test_or_null_allows_null_beside_the_type(problems) -> None:
    assert problems(None, or_null({"type": "string"})) == [] and problems(3, or_null({"type": "string"}))
