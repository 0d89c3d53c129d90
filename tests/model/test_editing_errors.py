"""On the real model: error latents leave what it writes, and a small problem is solved as before."""

import pytest
import torch

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.editing.deltas import matrix_of, with_deltas
from ace_analysis.evaluation.editing_errors import ALL, error_latents, removal
from ace_analysis.evaluation.pass_at_1 import Answerer, AnswerOptions, Problem, program_in, prompt_of
from ace_analysis.evaluation.sandbox import Sandbox
from ace_analysis.features.bundle import find_bundle
from ace_analysis.model.causal import load_causal

pytestmark = pytest.mark.model

ASKED = Problem(
    id="sum", asked="Write a python function add that adds two numbers.", tests="assert add(2, 3) == 5\n"
)


@torch.no_grad()
def test_error_latents_are_gone_from_what_is_written_and_a_problem_is_still_solved() -> None:
    causal = load_causal("qwen2.5-coder-0.5b-instruct", "cpu", "float32")
    bundle = find_bundle(causal.info.name, causal.info.fingerprint)
    latents = error_latents(bundle, ALL, 2)
    directions = bundle.coder.W_dec[list(latents)].float()
    anatomy, answerer = Anatomy.of(causal.model), Answerer(causal, AnswerOptions(max_new_tokens=24))
    prompt = prompt_of(causal.tokenizer, ASKED)
    (base,) = answerer.answers([prompt])
    assert Sandbox().passes(program_in(causal.tokenizer.decode(base)), ASKED.tests)
    weight = matrix_of(anatomy, bundle.layer, "mlp.down")
    assert weight is not None
    kept = weight.clone()
    with with_deltas(causal.model, removal(causal.model, directions, len(causal.blocks) - 1)):
        left = float((weight @ directions.T).abs().max())
        (edited,) = answerer.answers([prompt], [base])
    assert left < 1e-5 < float((kept @ directions.T).abs().max())
    assert Sandbox().passes(program_in(causal.tokenizer.decode(edited)), ASKED.tests)
    assert torch.equal(weight, kept)
