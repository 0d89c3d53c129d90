"""What a request means is worked out, with signs and numbers that it can be judged by; nothing is changed."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ace_analysis.editing import preparing
from ace_analysis.editing.concept import concept_of_tokens, token_spellings
from ace_analysis.editing.disentangler import find_disentangler
from ace_analysis.editing.firing import firing_on
from ace_analysis.editing.pisces import PISCES
from ace_analysis.editing.plan import EditPlan
from ace_analysis.editing.preparing import UNSIGNED, WINDOW, WINDOWS, Erasure, prepare
from ace_analysis.editing.requesting import EditRequest, request_from
from ace_analysis.editing.signs import signs_on
from ace_analysis.errors import BundleError, Cancelled, FingerprintError, InputError
from ace_analysis.features.bundle import find_bundle
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.model.disk import silent
from ace_analysis.model.edits import edits_dir
from ace_analysis.model.scan import never

LAYER = 3
WORD = "value"


@pytest.fixture
def causal(disentangled: Path) -> CausalModel:
    return load_causal(str(disentangled), "cpu", "float32")


def planned(causal: CausalModel, **asked: Any) -> tuple[EditPlan, dict[str, Any]]:
    edit, plan = prepare(causal, request_from({"measure": False, **asked}), silent, never)
    return plan, dict(edit.measured)


def coder_of(causal: CausalModel) -> Any:
    bundle = find_bundle(causal.info.name, causal.info.fingerprint)
    return find_disentangler(bundle.folder).coder


def pieces_of(causal: CausalModel, text: str) -> list[torch.Tensor]:
    return [each for each in torch.tensor(causal.tokenizer.encode(text).ids).split(WINDOW) if len(each) > 1]


def same(one: EditPlan, other: EditPlan) -> bool:
    pairs = zip(one.deltas, other.deltas, strict=True)
    return all(torch.equal(a.left, b.left) and a.rows == b.rows for a, b in pairs)


# --- signs ----------------------------------------------------------------------------------------------


def test_latents_with_a_text_have_the_signs_of_where_they_fire(causal: CausalModel, some_python: str) -> None:
    plan, _ = planned(causal, latents=[2, 5], texts=[some_python])
    fired = firing_on(causal.model, coder_of(causal), [2, 5], pieces_of(causal, some_python)[::2])
    pisces = PISCES(causal.model, coder_of(causal))
    assert same(plan, pisces.erase([2, 5], 4.0, 0.5, signs=fired.signs()))
    assert not same(plan, pisces.erase([2, 5], 4.0, 0.5))
    assert plan.parameters["signs"] == "activations"
    read = f"where the latents fire, at {fired.places} of {fired.tokens} tokens of the text"
    assert plan.parameters["signs_read"] == read and read in plan.describe()


def test_latents_without_a_text_have_the_papers_signs_and_a_note_says_what_that_can_do(
    causal: CausalModel,
) -> None:
    plan, _ = planned(causal, latents=[2, 5])
    assert same(plan, PISCES(causal.model, coder_of(causal)).erase([2, 5], 4.0, 0.5))
    assert plan.parameters["signs"] == "paper"
    assert plan.describe().endswith(f"  note: {UNSIGNED}")


def test_a_kinds_latents_are_those_nearest_to_its_error_features_and_have_signs_too(
    causal: CausalModel, some_python: str
) -> None:
    plan, _ = planned(causal, kind="comparison", texts=[some_python], limit=2)
    coder, bundle = coder_of(causal), find_bundle(causal.info.name, causal.info.fingerprint)
    near = torch.cosine_similarity(coder.W_dec, bundle.coder.W_dec[2][None]).topk(2).indices.tolist()
    assert plan.parameters["latents"] == near and plan.parameters["signs"] == "activations"


def test_words_have_the_signs_of_where_they_come(causal: CausalModel, some_python: str) -> None:
    plan, _ = planned(causal, words=[WORD], texts=[some_python], limit=2)
    tokens = token_spellings(causal.tokenizer.spell, causal.tokenizer.vocabulary_size, [WORD])
    having = [
        p for p in pieces_of(causal, some_python) if bool(torch.isin(p[1:], torch.tensor(tokens)).any())
    ]
    signs = signs_on(causal.model, LAYER, having[::2], tokens)
    concept = concept_of_tokens(causal.model, coder_of(causal), tokens, limit=2)
    assert same(plan, PISCES(causal.model, coder_of(causal)).erase(concept, 4.0, 0.5, signs=signs))
    assert plan.parameters["latents"] == list(concept.latents) and len(concept.latents) == 2
    assert plan.parameters["signs_read"].startswith("before the words, at ")


def test_a_text_on_which_no_latent_fires_is_refused_instead_of_taking_other_signs(
    causal: CausalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent_coder = replace(coder_of(causal), threshold=torch.full((24,), 1e6))
    found = find_disentangler(find_bundle(causal.info.name, causal.info.fingerprint).folder)
    monkeypatch.setattr(preparing, "find_disentangler", lambda *_: replace(found, coder=silent_coder))
    with pytest.raises(InputError, match="expected a text on which one of the latents fires"):
        planned(causal, latents=[2], texts=["x = 1\n"])


# --- what is read and what is measured ------------------------------------------------------------------


def test_effects_are_told_of_pieces_that_the_signs_were_not_read_off(
    causal: CausalModel, some_python: str
) -> None:
    long = some_python * 3
    pieces = preparing._pieces(causal, (long,), ())[0]
    assert 1 < len(pieces) <= WINDOWS
    plan, measured = planned(causal, latents=[2, 5], texts=[long], measure=True)
    told = measured["latent_activation"]
    fired = firing_on(causal.model, coder_of(causal), [2, 5], pieces[1::2])
    assert told["before"] == fired.activation
    assert f"the latents in {len(pieces[1::2])} other piece" in measured["on"]
    assert f"of {sum(len(each) - 1 for each in pieces[::2])} tokens" in plan.parameters["signs_read"]


def test_one_piece_serves_for_both_and_that_is_told(causal: CausalModel) -> None:
    _, measured = planned(causal, latents=[2, 5], texts=["def f(value):\n    return value\n"], measure=True)
    assert "the latents in the one piece of the given text" in measured["on"]
    _, measured = planned(causal, latents=[2, 5], measure=True)
    assert measured["on"].endswith("buggy_example.py, the latents too") and "latent_activation" in measured


def test_the_words_probability_is_told_where_they_come(causal: CausalModel, some_python: str) -> None:
    _, measured = planned(causal, words=[WORD], texts=[some_python], measure=True)
    assert measured["word_probability"]["before"] > 0 and "perplexity" in measured
    assert "latent_activation" not in measured


def test_pieces_come_from_all_over_the_texts_and_never_more_than_a_few(
    causal: CausalModel, some_python: str
) -> None:
    texts = (some_python * 12, "zebra = 1\n" * 40)
    having, others = preparing._pieces(causal, texts, ())
    assert others == () and len(having) <= WINDOWS
    assert "zebra" in "".join(causal.tokenizer.decode(each.tolist()) for each in having)
    wanted = token_spellings(causal.tokenizer.spell, causal.tokenizer.vocabulary_size, [WORD])
    having, others = preparing._pieces(causal, texts, wanted)
    assert others and not any(bool(torch.isin(each[1:], torch.tensor(wanted)).any()) for each in others)


def test_an_edit_is_worked_out_without_writing_or_changing_anything(
    causal: CausalModel, some_python: str
) -> None:
    kept = {name: each.clone() for name, each in causal.model.state_dict().items()}
    planned(causal, words=[WORD], texts=[some_python], measure=True)
    assert all(torch.equal(each, kept[name]) for name, each in causal.model.state_dict().items())
    assert not edits_dir().exists()


# --- search ---------------------------------------------------------------------------------------------


def test_a_search_chooses_mu_and_tau_and_is_told(causal: CausalModel, some_python: str) -> None:
    asked: list[Erasure] = []

    def searcher(erasure: Erasure, progress: Any, cancelled: Any) -> tuple[float, float, dict[str, Any]]:
        asked.append(erasure)
        return 7.0, 0.9, {"searched": "two settings"}

    request = EditRequest(words=(WORD,), texts=(some_python,), search=True, measure=False, mu=99.0)
    edit, plan = prepare(causal, request, silent, never, searcher)
    assert (edit.parameters["mu"], edit.parameters["tau"]) == (7.0, 0.9)
    assert edit.parameters["searched"] == "two settings" and "searched two settings" in plan.describe()
    (erasure,) = asked
    assert same(plan, erasure.pisces.erase(erasure.concept, 7.0, 0.9, signs=erasure.signs))
    with pytest.raises(InputError, match=r"got search, and nothing that searches; use `ace edit plan`"):
        prepare(causal, request, silent, never)


# --- directions -----------------------------------------------------------------------------------------


def test_a_direction_is_a_latent_of_the_bundles_coder_at_its_layer(causal: CausalModel) -> None:
    plan, _ = planned(causal, direction="latent:3")
    bundle = find_bundle(causal.info.name, causal.info.fingerprint)
    assert same(plan, PISCES(causal.model).remove_direction(bundle.coder.W_dec[3], 1))
    assert plan.parameters["direction"] == "latent:3"
    assert planned(causal, direction="latent:3", layer=2)[0].deltas[0].layer == 2


def test_the_embedding_is_changed_only_where_that_is_asked_for(causal: CausalModel) -> None:
    asked = {"direction": "latent:3", "component": "resid_writers"}
    assert (-1, "embedding") not in planned(causal, **asked)[0].rows
    plan, _ = planned(causal, **asked, embedding=True)
    assert (-1, "embedding") in plan.rows and plan.parameters["tied"] is True


def test_a_direction_comes_from_a_file_with_one_vector(causal: CausalModel, tmp_path: Path) -> None:
    file = tmp_path / "direction.safetensors"
    save_file({"direction": torch.ones(32)}, file)
    plan, _ = planned(causal, direction=str(file), layer=2)
    assert same(plan, PISCES(causal.model).remove_direction(torch.ones(32), 2))
    for direction, layer, said in (
        (str(file), None, "expected a layer for the direction"),
        (str(tmp_path / "none"), 1, "or a .safetensors file with a vector, got"),
        ("latent:24", None, "expected latent:0 to latent:23, got 'latent:24'"),
        ("latent:x", None, "expected latent:0 to latent:23, got 'latent:x'"),
    ):
        with pytest.raises(InputError, match=re.escape(said)):
            planned(causal, direction=direction, layer=layer)
    save_file({"a": torch.ones(2), "b": torch.ones(2)}, file)
    with pytest.raises(InputError, match=r"expected one vector in .*, got 2"):
        planned(causal, direction=str(file), layer=1)


# --- what can't be done ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"latents": [24]}, InputError, "expected latents from 0 to 23, got [24]"),
        ({"latents": [1], "layer": 2}, BundleError, "expected a disentangler of layer 3, got layer 2"),
        ({"latents": [1], "layer": 4}, InputError, "expected a layer from 0 to 3, got 4"),
        ({"latents": [1], "tau": 1.0}, InputError, "tau: expected a share"),
        ({"latents": [1], "mu": -1.0}, InputError, "mu: expected 0 or a positive number"),
        ({"kind": "names"}, InputError, "expected a kind that has error features (comparison), got 'names'"),
        ({"words": ["zzz"], "texts": ["a"]}, InputError, "expected words that are one token, got ['zzz']"),
        ({"words": [WORD], "texts": ["a"]}, InputError, "expected a text in which one of the concept's"),
        ({"direction": "latent:1", "component": "mlp"}, InputError, "expected a component among"),
        ({"direction": "latent:1", "layer": 9}, InputError, "expected a layer from 0 to 3, got 9"),
    ],
)
def test_what_the_model_does_not_have_is_told(
    causal: CausalModel, asked: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=re.escape(said)):
        planned(causal, **asked)
    assert not edits_dir().exists()


def test_a_disentangler_that_is_missing_or_another_models_is_refused(causal: CausalModel) -> None:
    bundle = find_bundle(causal.info.name, causal.info.fingerprint)
    folder = bundle.folder / "disentanglers" / "layer-3"
    replace(find_disentangler(bundle.folder), fingerprint="other").save(folder)
    with pytest.raises(FingerprintError, match="expected the model that this disentangler was made for"):
        planned(causal, latents=[1])
    for path in folder.iterdir():
        path.unlink()
    with pytest.raises(BundleError, match=r"found none; train one with `ace train disentangler`, or remove"):
        planned(causal, latents=[1])


def test_a_cancel_is_heard_before_anything_is_measured(causal: CausalModel) -> None:
    steps: list[str] = []
    with pytest.raises(Cancelled, match="nothing was written"):
        prepare(causal, EditRequest(latents=(1,)), lambda step, _: steps.append(step), lambda: True)
    assert steps == ["working the edit out"]
