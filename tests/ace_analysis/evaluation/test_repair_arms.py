"""What each arm offers with a tiny random model, and that arms differ in what they are named for alone."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ace_analysis.evaluation.repair_arms import Steering, Together, WrittenArm, asking_prompt
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.steering.vector import SteeringVector, vector_for

TEXT = (
    "def f(items, limit):\n    total = 0\n    for item in items:\n        total -= item\n    return total\n"
)
LINE = 3


@pytest.fixture(scope="session")
def causal(tiny_qwen2: Path) -> CausalModel:
    return load_causal(str(tiny_qwen2), device="cpu", dtype="float32")


@pytest.fixture
def vector(causal: CausalModel) -> SteeringVector:
    direction = torch.randn(causal.info.d_model, generator=torch.Generator().manual_seed(3)) * 20
    return vector_for(causal.info, direction, 1, normalize=False, about={})


@pytest.mark.parametrize("prompt", ["unsteered", "told", "asked"])
def test_only_the_line_differs_and_no_text_comes_twice(causal, prompt):
    offered = WrittenArm(causal=causal, count=4, prompt=prompt).offer(TEXT, LINE)
    assert len(set(offered)) == len(offered) <= 4
    before, behind = TEXT[: TEXT.index("total -=")], "\n    return total\n"
    assert all(text.startswith(before) and text.endswith(behind) for text in offered)
    assert all(text.count("\n") == TEXT.count("\n") for text in offered)


def test_the_greedy_line_comes_first_and_does_not_depend_on_the_others(causal):
    alone = WrittenArm(causal=causal, count=1).offer(TEXT, LINE)
    assert WrittenArm(causal=causal, count=4).offer(TEXT, LINE)[:1] == alone


def test_the_same_arm_offers_the_same(causal):
    arm = WrittenArm(causal=causal, count=4)
    assert arm.offer(TEXT, LINE) == arm.offer(TEXT, LINE)


def test_strength_0_is_no_steering_and_another_strength_is(causal, vector):
    def offered(strength: float) -> list[str]:
        how = Steering(name="v", vector=vector, strength=strength)
        return WrittenArm(causal=causal, count=4, steering=how).offer(TEXT, LINE)

    unsteered = WrittenArm(causal=causal, count=4).offer(TEXT, LINE)
    assert offered(0) == unsteered
    assert offered(5) != unsteered


def test_whatever_changes_the_offer_changes_the_identity(causal, vector):
    def arm(**changes: object) -> WrittenArm:
        return WrittenArm(**{"causal": causal, **changes})

    def steered(of: SteeringVector, strength: float) -> Steering:
        return Steering(name="v", vector=of, strength=strength)

    arms = [
        arm(),
        arm(count=4),
        arm(prompt="told"),
        arm(prompt="asked"),
        arm(temperature=0.5),
        arm(seed=1),
        arm(steering=steered(vector, 1)),
        arm(steering=steered(vector, 2)),
        arm(steering=steered(vector.scaled(2), 1)),
        arm(steering=steered(vector.random_like(), 1)),
    ]
    assert len({each.identity for each in arms}) == len(arms)
    assert arm().identity == arm().identity


def test_arms_that_write_together_offer_what_each_does_alone_and_read_the_prompt_once(
    causal, vector, monkeypatch
):
    def arm(of: SteeringVector, strength: float) -> WrittenArm:
        how = Steering(name="v", vector=of.scaled(1.0), strength=strength)
        return WrittenArm(causal=causal, count=4, steering=how)

    alone = [arm(vector, 1), arm(vector, 4), arm(vector.random_like(), 4)]
    alone[2] = replace(alone[2], steering=replace(alone[2].steering, name="random"))
    offered = [each.offer(TEXT, LINE) for each in alone]
    together = Together()
    arms = [together.add(each) for each in alone]
    prompts: list[str] = []
    asked_with = WrittenArm.asked_with
    monkeypatch.setattr(
        WrittenArm,
        "asked_with",
        lambda self, text, line: prompts.append(self.name) or asked_with(self, text, line),
    )
    assert [each.offer(TEXT, LINE) for each in arms] == offered
    assert len(prompts) == 1
    assert [each.identity for each in arms] == [each.identity for each in alone]
    assert len({each.offered_in for each in arms}) == 1 and arms[0].offered_in > 0
    assert alone[0].offered_in is None
    arms[1].offer(TEXT, 1)
    assert len(prompts) == 2


def test_asking_names_the_line_and_the_answer_has_got_as_far_as_it(causal):
    prompt = asking_prompt(causal.tokenizer, TEXT, LINE)
    assert prompt.count(causal.tokenizer.id_of("<|im_start|>")) == 2
    text = causal.tokenizer.decode(prompt)
    assert "the line `total -= item` is wrong" in text and text.count("        total -= item\n") == 1
    before = TEXT.split("        total -= item")[0]
    assert text.endswith(f"```python\n{before}") and before.endswith("\n")


def test_a_line_that_was_asked_for_stands_where_the_old_one_did(causal):
    texts = WrittenArm(causal=causal, count=4, prompt="asked").offer(TEXT, LINE)
    assert texts
    for offered in texts:
        line = offered.split("\n")[LINE]
        assert line.startswith(" " * 8) and not line[8:].startswith(" ")


def test_asking_is_plain_text_where_there_are_no_turns(tiny_gemma2):
    tokenizer = load_causal(str(tiny_gemma2), device="cpu", dtype="float32").tokenizer
    prompt = asking_prompt(tokenizer, TEXT, LINE)
    assert prompt[0] == tokenizer.prefix_id
    assert "the line `total -= item` is wrong" in tokenizer.decode(prompt)
