"""Latents with a known meaning, planted in sparse coders of tiny random models of three families."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from ace_analysis.errors import InputError
from ace_analysis.features.comparison import Identification
from ace_analysis.features.detector import SAEDetector
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.storage import save_sparse_coder
from ace_analysis.model.loading import load_hooked_model, load_scanner
from ace_analysis.model.sites import Site
from ace_analysis.model.tokens import CodeTokenizer
from ace_analysis.settings import SaeSettings

D_MODEL, D_SAE, LAYER, LENGTH, N = 32, 80, 1, 12, 40
ORDINARY, BUG, COMMON = 200, 350, 7
PLANTED = 5


@pytest.fixture(scope="module")
def models(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Hooked models whose streams still tell tokens apart, so that a latent can be planted that does."""
    hooked: dict[str, Any] = {}
    for family, folder in tiny_models.items():
        clear = shutil.copytree(folder, tmp_path_factory.mktemp("clear") / family)
        plain = AutoModelForCausalLM.from_pretrained(folder)
        plain.get_input_embeddings().weight.data *= 300
        plain.save_pretrained(clear)
        hooked[family] = load_hooked_model(str(clear), device="cpu", dtype="float32")
    return hooked


@pytest.fixture(params=["qwen2", "llama", "gemma2"])
def model(request: pytest.FixtureRequest, models: dict[str, Any]) -> Any:
    return models[request.param]


@pytest.fixture
def qwen(models: dict[str, Any]) -> Any:
    return models["qwen2"]


def ordinary(seed: int, length: int = LENGTH, n: int = N) -> Tensor:
    ids = torch.randint(1, ORDINARY, (n, length), generator=torch.Generator().manual_seed(seed))
    ids[:, 0] = 0
    return ids


def with_token(ids: Tensor, token: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A copy with the token at one random position of each row, and those positions."""
    at = torch.randint(1, ids.shape[1], (len(ids),), generator=torch.Generator().manual_seed(seed))
    changed = ids.clone()
    changed[torch.arange(len(ids)), at] = token
    return changed, at


def stream(model: Any, ids: Tensor) -> Tensor:
    _, cache = model.run_with_cache(ids, names_filter=Site(LAYER).hook_name, stop_at_layer=LAYER + 1)
    return cache[Site(LAYER).hook_name]


def coder_that_fires_on(model: Any, token: int) -> SparseCoder:
    """A random coder, and one latent that a linear discriminant makes fire on one token and on no other."""
    ids, _ = with_token(ordinary(99, n=300), token, seed=99)
    acts = stream(model, ids)
    is_token = ids == token
    some, others = acts[is_token], acts[:, 1:][~is_token[:, 1:]]
    scatter = torch.cov(others.T) + torch.cov(some.T) + 1e-6 * acts.var() * torch.eye(D_MODEL)
    direction = torch.linalg.solve(scatter, some.mean(0) - others.mean(0))
    low, high = (some @ direction).min(), (others @ direction).max()
    assert low > high, "the token can be told apart"
    generator = torch.Generator().manual_seed(3)
    encoder = torch.randn(D_MODEL, D_SAE, generator=generator) / acts.std()
    encoder[:, PLANTED] = direction / (low - high)
    bias = torch.full((D_SAE,), -6.0)
    bias[PLANTED] = -(low + high) / 2 / (low - high)
    return SparseCoder(
        encoder, bias, torch.zeros(D_SAE, D_MODEL), torch.zeros(D_MODEL), torch.zeros(D_SAE), Site(LAYER)
    )


@pytest.fixture
def detector(model: Any) -> SAEDetector:
    detector = SAEDetector(model, layer=LAYER)
    detector.use_sae(coder_that_fires_on(model, BUG))
    return detector


# --- what is found --------------------------------------------------------------------------------------


def test_a_latent_that_fires_on_wrong_inputs_only_is_found_and_leads(detector: SAEDetector) -> None:
    right = ordinary(1)
    wrong, at = with_token(right, BUG)
    coder = detector.coder
    assert coder is not None
    on_wrong = coder.encode(stream(detector.model, wrong)[torch.arange(N), at])[:, PLANTED]
    assert (on_wrong > 0).all() and not coder.encode(stream(detector.model, right))[:, 1:, PLANTED].any()
    features = detector.identify_error_features(positive_inputs=right, negative_inputs=wrong)
    planted = next(each for each in features if each.feature_idx == PLANTED)
    assert planted.direction == "buggy" and planted.rate_buggy == 1.0 and planted.rate_matched == 0.0
    # A random latent may fire as surely by chance: none leads the planted one.
    assert planted.t_statistic == pytest.approx(features[0].t_statistic) and planted.t_statistic > 5
    assert [f.t_statistic for f in features] == sorted((f.t_statistic for f in features), reverse=True)


def test_inputs_of_any_number_and_length_are_compared_as_wholes(detector: SAEDetector) -> None:
    right = [row for length in (6, 9, 14) for row in ordinary(length, length, 15)]
    wrong = [row for length in (7, 9) for row in with_token(ordinary(length + 50, length, 14), BUG)[0]]
    for pooling in ("max", "mean"):
        features = detector.identify_error_features(right, wrong, Identification(pooling=pooling))
        assert features[0].feature_idx == PLANTED and features[0].separation == 1.0


def test_tokens_taken_away_make_pairs_of_unequal_lengths(detector: SAEDetector) -> None:
    right, _ = with_token(ordinary(1), COMMON)
    wrong = [torch.cat([row[:6], torch.tensor([BUG]), row[8:]]) for row in right]
    features = detector.identify_error_features(right, wrong)
    assert features[0].feature_idx == PLANTED and features[0].rate_buggy == 1.0


def test_a_latent_that_stands_for_a_token_of_right_inputs_is_no_error_feature(model: Any) -> None:
    detector = SAEDetector(model, layer=LAYER)
    detector.use_sae(coder_that_fires_on(model, COMMON))
    right = ordinary(1)
    right[:, 1::4] = COMMON
    wrong, _ = with_token(right, COMMON)
    changed = (right != wrong).any(dim=1)
    found = detector.identify_error_features(right[changed], wrong[changed])
    assert PLANTED not in {feature.feature_idx for feature in found}
    right[right == COMMON] = COMMON + 1
    found = detector.identify_error_features(right, with_token(right, COMMON)[0])
    assert PLANTED in {feature.feature_idx for feature in found}, "nothing to match the token with"


def test_chance_gives_no_discoveries(qwen: Any) -> None:
    """One ordinary token instead of another, in 10 sets of pairs: 5 % of them may list something."""
    detector = SAEDetector(qwen, layer=LAYER)
    detector.use_sae(coder_that_fires_on(qwen, BUG))
    listed = 0
    for seed in range(10):
        right, other = ordinary(2 * seed + 1000), ordinary(2 * seed + 1001)
        marked, _ = with_token(right, BUG, seed)
        wrong = torch.where(marked == BUG, other, right)
        differ = (wrong != right).any(dim=1)
        for found in (
            detector.identify_error_features(right[differ], wrong[differ]),
            detector.identify_error_features(right, other, Identification(paired=False)),
        ):
            assert len({feature.significant for feature in found}) <= 1
            listed += any(feature.significant for feature in found)
    assert listed <= 3, "of 20; 3 or fewer in 98 of 100 such tests"


@pytest.mark.parametrize("paired", [True, False])
def test_where_nothing_is_proven_the_strongest_candidates_are_listed_as_such(qwen: Any, paired: bool) -> None:
    """One pair in four has the bug: too few to prove a latent, and still it leads the candidates."""
    detector = SAEDetector(qwen, layer=LAYER, settings=SaeSettings(t_threshold=0.5))
    detector.use_sae(coder_that_fires_on(qwen, BUG))
    right = ordinary(1, n=16)
    marked, _ = with_token(right, BUG)
    wrong = torch.where(marked == BUG, right % (ORDINARY - 1) + 1, right)
    wrong[:4] = marked[:4]
    options = Identification(paired=paired, candidates=5)
    found = detector.identify_error_features(right, wrong, options)
    assert 0 < len(found) <= 5 and PLANTED in {feature.feature_idx for feature in found}
    for feature in found:
        assert not feature.significant and feature.q_value > options.fdr
        assert feature.t_statistic > 0 and feature.rate_buggy > feature.rate_matched
    assert detector.detect(marked[:4])[0].scores[0] == 0.0
    assert not detector.identify_error_features(right, wrong, Identification(paired=paired, candidates=0))


def test_proven_features_have_no_candidates_beside_them(detector: SAEDetector) -> None:
    right = ordinary(1)
    found = detector.identify_error_features(right, with_token(right, BUG)[0])
    assert found and all(feature.significant and feature.q_value <= 0.05 for feature in found)


def test_latents_of_right_code_come_last_and_only_on_request(detector: SAEDetector) -> None:
    right, _ = with_token(ordinary(1), BUG)
    wrong = torch.where(right == BUG, BUG + 1, right)
    assert PLANTED not in {f.feature_idx for f in detector.identify_error_features(right, wrong)}
    features = detector.identify_error_features(right, wrong, Identification(both_directions=True))
    directions = [feature.direction for feature in features]
    assert directions == sorted(directions) and directions[-1] == "correct"
    assert PLANTED in {feature.feature_idx for feature in features if feature.direction == "correct"}


def test_texts_are_read_as_their_tokens(qwen: Any) -> None:
    detector = SAEDetector(qwen)
    tokenizer = CodeTokenizer.from_folder(qwen.ace.folder)
    bug = tokenizer.encode("~").ids[1]
    detector.use_sae(coder_that_fires_on(qwen, bug))
    right = [f"return value[{a}] + total[{b}]\n" for a in range(6) for b in range(5)]
    wrong = [text.replace("+", "~") for text in right]
    from_texts = detector.identify_error_features(right, wrong)
    ids = [[tokenizer.encode(text).ids for text in texts] for texts in (right, wrong)]
    assert from_texts == detector.identify_error_features(*ids)
    assert PLANTED in {feature.feature_idx for feature in from_texts} and detector.layer == LAYER


def test_the_settings_bound_the_list(qwen: Any) -> None:
    right = ordinary(1)
    wrong, _ = with_token(right, BUG)
    coder = coder_that_fires_on(qwen, BUG)
    everything = Identification(fdr=1.0)

    def found(settings: SaeSettings) -> list[int]:
        detector = SAEDetector(qwen, LAYER, settings)
        detector.use_sae(coder)
        return [f.feature_idx for f in detector.identify_error_features(right, wrong, everything)]

    assert len(found(SaeSettings(t_threshold=0.0))) > 3
    assert found(SaeSettings(t_threshold=0.0, top_k_features=1)) == [PLANTED]
    assert PLANTED in found(SaeSettings(t_threshold=20.0)) and found(SaeSettings(t_threshold=99.0)) == []


# --- detection ------------------------------------------------------------------------------------------


def test_wrong_tokens_score_above_the_threshold_and_right_ones_below(detector: SAEDetector) -> None:
    right = ordinary(1)
    wrong, _ = with_token(right, BUG)
    detector.identify_error_features(right, wrong)
    fresh, at = with_token(ordinary(2), BUG, seed=4)
    for detection, position in zip(detector.detect(fresh), at.tolist(), strict=True):
        assert position in detection.flagged and len(detection.scores) == LENGTH
        assert detection.scores[0] == 0.0 and detection.ids[position] == BUG
    flagged = sum(len(detection.flagged) for detection in detector.detect(right))
    assert flagged <= 0.01 * right[:, 1:].numel()


def test_detections_in_texts_say_where_their_tokens_stand(qwen: Any) -> None:
    detector = SAEDetector(qwen)
    detector.use_sae(coder_that_fires_on(qwen, BUG))
    right = ordinary(1)
    detector.identify_error_features(right, with_token(right, BUG)[0])
    (detection,) = detector.detect("return x")
    assert "".join("return x"[span.start : span.end] for span in detection.spans) == "return x"


# --- coders ---------------------------------------------------------------------------------------------


def test_a_saved_coder_is_read_and_its_layer_taken(qwen: Any, tmp_path: Path) -> None:
    coder = coder_that_fires_on(qwen, BUG)
    save_sparse_coder(tmp_path, coder, "fp32")
    detector = SAEDetector(qwen)
    loaded = detector.load_sae(tmp_path)
    assert torch.equal(loaded.W_enc, coder.W_enc) and detector.layer == LAYER


def test_a_weight_file_is_read_for_the_detectors_layer(qwen: Any, tmp_path: Path) -> None:
    coder = coder_that_fires_on(qwen, BUG)
    names = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")
    save_file({name: getattr(coder, name).contiguous() for name in names}, tmp_path / "sae.safetensors")
    loaded = SAEDetector(qwen, layer=2).load_sae(str(tmp_path / "sae.safetensors"))
    assert loaded.site == Site(2)


def test_a_coder_of_another_layer_is_refused(qwen: Any) -> None:
    with pytest.raises(InputError, match=r"reads layer 1, not 2: use SAEDetector\(model, layer=1\)"):
        SAEDetector(qwen, layer=2).use_sae(coder_that_fires_on(qwen, BUG))


def test_a_coder_of_another_model_is_refused(qwen: Any) -> None:
    zeros = torch.zeros(9, 4)
    wide = SparseCoder(zeros, torch.zeros(4), zeros.T, torch.zeros(9), torch.zeros(4), Site(LAYER))
    with pytest.raises(InputError, match="reads 9 numbers per token, but the model has 32"):
        SAEDetector(qwen).use_sae(wide)


def test_without_a_coder_nothing_can_be_identified(qwen: Any) -> None:
    with pytest.raises(InputError, match="no sparse coder yet: call load_sae"):
        SAEDetector(qwen).identify_error_features(ordinary(1), ordinary(2))


def test_without_error_features_nothing_can_be_detected(detector: SAEDetector) -> None:
    with pytest.raises(InputError, match="no error features yet"):
        detector.detect(ordinary(1))


def test_one_input_of_a_sort_is_not_enough(detector: SAEDetector) -> None:
    with pytest.raises(InputError, match="at least 2 right and 2 wrong inputs, got 40 and 1"):
        detector.identify_error_features(ordinary(1), ordinary(2)[0])


def test_a_weight_file_needs_a_layer(qwen: Any, tmp_path: Path) -> None:
    (tmp_path / "sae.safetensors").touch()
    with pytest.raises(InputError, match="doesn't say which layer it reads; pass layer=N"):
        SAEDetector(qwen).load_sae(tmp_path / "sae.safetensors")


def test_a_scanner_finds_the_same_as_the_hooked_model(qwen: Any) -> None:
    scanner = load_scanner(str(qwen.ace.folder), device="cpu", dtype="float32", n_blocks=LAYER + 1)
    right = [f"return value[{a}] + total[{b}]\n" for a in range(5) for b in range(4)]
    wrong = [text.replace("+", "~") for text in right]
    coder = coder_that_fires_on(qwen, scanner.tokenizer.encode("~").ids[1])
    found = []
    for model in (qwen, scanner):
        detector = SAEDetector(model)
        detector.use_sae(coder)
        found.append({f.feature_idx: f for f in detector.identify_error_features(right, wrong)})
    assert found[0].keys() == found[1].keys()
    assert found[0][PLANTED].t_statistic == pytest.approx(found[1][PLANTED].t_statistic, rel=1e-3)


def test_a_scanner_refuses_streams_that_it_does_not_read(qwen: Any) -> None:
    scanner = load_scanner(str(qwen.ace.folder), device="cpu", dtype="float32", n_blocks=LAYER + 1)
    detector = SAEDetector(scanner)
    detector.use_sae(replace(coder_that_fires_on(qwen, BUG), site=Site(LAYER, "resid_pre")))
    with pytest.raises(InputError, match="a scanner reads resid_post, not resid_pre: use load_hooked_model"):
        detector.identify_error_features(ordinary(1), ordinary(2))
