"""Answers are greedy whatever is written beside them, and a draft changes only what has to be written."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.pass_at_1 import (
    Answerer,
    AnswerOptions,
    Kept,
    Problem,
    program_in,
    prompt_of,
    read_problems,
    solved,
    told_passes,
)
from ace_analysis.model.causal import CausalModel, load_causal

PROMPTS = [[5, 9, 11, 40, 41], [7, 30], [50, 51, 52, 53, 60, 61, 62, 3]]
FEW = AnswerOptions(max_new_tokens=9, rows=2)


@pytest.fixture
def causal(tiny_model: Path) -> CausalModel:
    return load_causal(str(tiny_model), "cpu", "float32")


@torch.no_grad()
def greedy(causal: CausalModel, prompt: list[int], options: AnswerOptions) -> list[int]:
    """One at a time, the whole text again for each token."""
    written: list[int] = []
    while len(written) < options.max_new_tokens:
        token = int(causal.model(input_ids=torch.tensor([prompt + written])).logits[0, -1].argmax())
        if token in causal.end_ids:
            break
        written.append(token)
        text = causal.tokenizer.decode(written)
        if len(program_in(text)) < len(text):
            break
    return written


def test_answers_are_those_of_one_prompt_at_a_time(causal: CausalModel) -> None:
    assert Answerer(causal, FEW).answers(PROMPTS) == [greedy(causal, each, FEW) for each in PROMPTS]


def test_a_draft_changes_no_answer(causal: CausalModel) -> None:
    right = [greedy(causal, each, FEW) for each in PROMPTS]
    other = [[*right[0][:3], right[0][3] + 1, 4], right[1], [2]]
    for drafts in (right, other, [[], right[1][:2], right[2]]):
        assert Answerer(causal, FEW).answers(PROMPTS, drafts) == right


def test_a_right_draft_is_read_and_not_written(causal: CausalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Answerer(causal, FEW).answers(PROMPTS)
    monkeypatch.setattr(Answerer, "_write", lambda *_: pytest.fail("it was written"))
    assert Answerer(causal, FEW).answers(PROMPTS, right) == right


def test_writing_stops_when_it_is_asked_to(causal: CausalModel) -> None:
    with pytest.raises(Cancelled, match="writing answers was stopped"):
        Answerer(causal, FEW).answers(PROMPTS, cancelled=lambda: True)


@pytest.mark.parametrize(
    ("text", "program"),
    [
        ("def f():\n    pass\n```\nIt works", "def f():\n    pass\n"),
        ("def f():\n    pass\n\nprint(f())", "def f():\n    pass\n"),
        ("def f():\n    print(1)", "def f():\n    print(1)"),
    ],
)
def test_a_program_is_over_where_talk_about_it_begins(text: str, program: str) -> None:
    assert program_in(text) == program


def test_answers_are_run_kept_and_not_written_again(
    causal: CausalModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems = [Problem(id="a", asked="Write f.", tests="f()"), Problem(id="b", asked="Nothing", tests="1")]
    monkeypatch.setattr("ace_analysis.evaluation.pass_at_1.program_in", lambda text: "")
    told: list[Any] = []
    kept = Kept(Ledger(tmp_path / "k.jsonl"), lambda *each: told.append(each))
    assert solved(Answerer(causal, FEW), problems, "base", kept) == [False, True] and told
    again = Kept(Ledger(tmp_path / "k.jsonl"))
    monkeypatch.setattr(Answerer, "answers", lambda *_: pytest.fail("it was written again"))
    assert solved(Answerer(causal, FEW), problems, "base", again) == [False, True]


def test_a_prompt_names_the_function_and_begins_the_program(causal: CausalModel) -> None:
    problem = Problem(id="a", asked="Write f.", tests="assert f(1) == 2\nassert f(2) == 3\n")
    text = causal.tokenizer.decode(prompt_of(causal.tokenizer, problem))
    assert "assert f(1) == 2" in text and "f(2)" not in text and text.endswith("```python\n")


def test_differences_are_of_the_same_problems() -> None:
    told = told_passes({"base": [True, True, False, False], "edit": [True, False, True, False]}, "base")
    assert told["edit"]["pass_at_1"]["value"] == 0.5 and told["edit"]["difference"]["value"] == 0
    assert (told["edit"]["lost"], told["edit"]["won"], told["base"]["solved"]) == (1, 1, 2)
    assert told["edit"]["difference"]["low"] < 0 < told["edit"]["difference"]["high"]


def test_problems_come_in_an_order_of_their_own(tmp_path: Path) -> None:
    rows = [{"id": f"p/{at}", "spec": "s", "tests": "t"} for at in range(9)]
    (tmp_path / "clean_mbpp.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, all_ = read_problems(tmp_path, 3), read_problems(tmp_path, 99)
    assert first == all_[:3] and len(all_) == 9 and [e.id for e in all_] != [r["id"] for r in rows]


def test_a_missing_file_and_a_broken_line_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected clean_mbpp\.jsonl"):
        read_problems(tmp_path, 1)
    (tmp_path / "clean_mbpp.jsonl").write_text('{"id": 1, "spec": null, "tests": ""}\n')
    with pytest.raises(InputError, match=r"clean_mbpp.jsonl:1: expected text as `spec` of 1"):
        read_problems(tmp_path, 1)
