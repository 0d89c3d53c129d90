"""Each hand-built model does its task, by its circuit and by nothing else."""

import pytest
import torch

from ace_analysis.decomposition.patching import AblationOptions, ablate, prepare
from ace_analysis.evaluation.known_circuits import (
    ABOVE,
    BELOW,
    LENGTH,
    START,
    TASKS,
    VALUES,
    KnownCircuit,
    KnownPrompt,
    Task,
    known_circuit,
)

PROMPTS = 6


@pytest.fixture(params=[(task, seed) for task in TASKS for seed in (0, 1)], ids=lambda it: f"{it[0]}-{it[1]}")
def known(request: pytest.FixtureRequest) -> KnownCircuit:
    return known_circuit(*request.param)


def right_answers(task: Task, prompt: KnownPrompt) -> set[int]:
    """What the task's own definition says should come next."""
    ids = prompt.ids[0].tolist()
    values = [token for token in ids if token in VALUES]
    if task == "copy":
        return set(values)
    if task == "induction":
        return {ids[ids.index(ids[-1]) + 1]}
    (given,) = values
    return {each for each in VALUES if (each > given if ABOVE in ids else each < given)}


def test_the_model_gives_a_right_answer(known: KnownCircuit) -> None:
    for prompt in known.prompts(20):
        logits = known.model(prompt.ids).logits[0, -1]
        assert int(logits.argmax()) in right_answers(known.task, prompt)
        assert prompt.target.actual in right_answers(known.task, prompt)


def test_the_other_text_is_as_long_and_has_another_answer(known: KnownCircuit) -> None:
    for prompt in known.prompts(20):
        assert prompt.ids.shape == prompt.counterfactual.shape == (1, LENGTH)
        assert prompt.ids[0, 0] == prompt.counterfactual[0, 0] == START
        other = ablate(known.model, prompt.counterfactual, [], prompt.target).clean
        assert other < 0.5 * ablate(known.model, prompt.ids, [], prompt.target).clean


def test_the_circuit_alone_does_the_task(known: KnownCircuit) -> None:
    for prompt in known.prompts(PROMPTS):
        found = ablate(known.model, prompt.ids, None, prompt.target)
        rest = [node for node in found.nodes if node not in known.circuit]
        alone, _ = prepare(known.model, prompt.ids, prompt.target).values([rest, found.nodes])
        assert alone[0] > 0.8 * found.clean > 0 and alone[1].abs() < 1e-6


@pytest.mark.parametrize("how", ["zero", "counterfactual"])
def test_every_part_of_the_circuit_matters_more_than_any_other(known: KnownCircuit, how: str) -> None:
    for prompt in known.prompts(PROMPTS):
        other = prompt.counterfactual if how == "counterfactual" else None
        options = AblationOptions(how="zero" if other is None else "counterfactual", counterfactual=other)
        found = ablate(known.model, prompt.ids, None, prompt.target, options)
        sizes = dict(zip(found.nodes, found.effects.abs().tolist(), strict=True))
        within = min(sizes[node] for node in known.circuit)
        assert within > max(size for node, size in sizes.items() if node not in known.circuit)


def test_the_suppressing_head_lowers_the_answer() -> None:
    known = known_circuit("copy", 1)
    (prompt,) = known.prompts(1)
    found = ablate(known.model, prompt.ids, sorted(known.circuit), prompt.target)
    assert sorted(found.effects.sign().tolist()) == [-1.0, 1.0]


def test_a_seed_chooses_the_circuit() -> None:
    circuits = {known_circuit("induction", seed).circuit for seed in range(6)}
    assert len(circuits) > 2
    assert torch.equal(
        known_circuit("induction", 2).prompts(2)[1].ids, known_circuit("induction", 2).prompts(3)[1].ids
    )


def test_both_directions_occur() -> None:
    ids = [prompt.ids[0].tolist() for prompt in known_circuit("greater-than").prompts(20)]
    assert any(ABOVE in row for row in ids) and any(BELOW in row for row in ids)
