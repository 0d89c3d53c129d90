"""The whole of ACE in one call, on a tiny model with and without a bundle."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ace_analysis.errors import InputError, ModelNotFound
from ace_analysis.features.bundle import Bundle, Calibration, ErrorFeature, Readout
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.storage import save_sparse_coder
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.sites import Site
from ace_analysis.pipeline import ACEPipeline, AnalysisResults
from ace_analysis.report.finding import Finding
from ace_analysis.settings import EngineSettings, ModelSettings
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.sites import SiteKind

LAYER, D_SAE = 1, 48
SNIPPETS = [
    "def mean(values):\n    total = 0\n    for value in values:\n        total += value\n"
    "    return total / len(values)\n",
    "def first(items, count):\n    if count < 1 or not items:\n        return None\n"
    "    return items[count - 1]\n",
]
SETTINGS = EngineSettings(model=ModelSettings(device="cpu", dtype="float32"))
FEATURE = ErrorFeature(
    feature_idx=3,
    t_statistic=4.0,
    paired_t=6.0,
    q_value=0.01,
    separation=0.04,
    rate_buggy=0.05,
    rate_matched=0.01,
    density=0.003,
    replicated=True,
)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def coder() -> SparseCoder:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(32, D_SAE, generator=generator)
    zeros = torch.zeros(D_SAE)
    return SparseCoder(weights, zeros, weights.T.contiguous(), torch.zeros(32), zeros + 1.0, Site(LAYER))


@pytest.fixture
def bundle(cache: Path, coder: SparseCoder, tiny_qwen2: Path) -> Path:
    """A bundle that shows about every site."""
    info = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=1).info
    folder = cache / "bundles" / "tiny"
    Bundle(
        folder=folder,
        model=info.name,
        fingerprint=info.fingerprint,
        layer=LAYER,
        coder=coder,
        readout=Readout(
            weights=torch.ones(1, D_SAE), kind_bias={kind.value: 0.0 for kind in SiteKind}, slots=(0,)
        ),
        calibration=Calibration(scale=0.1, offset=-1.0, prior=0.05, thresholds={1.0: -100.0}),
        catalog=(FEATURE,),
    ).save(folder, dtype="fp32")
    return folder


def test_a_model_with_a_bundle_gives_findings_pairs_and_error_features(
    bundle: Path, tiny_qwen2: Path
) -> None:
    told: list[tuple[str, float | None]] = []
    pipeline = ACEPipeline(
        str(tiny_qwen2),
        settings=SETTINGS,
        progress=lambda message, fraction: told.append((message, fraction)),
    )
    assert pipeline.load() is pipeline
    results = pipeline.full_analysis(SNIPPETS)
    assert len(results.findings) == 2 and all(results.findings)
    assert {pair.positive for pair in results.pairs} == set(SNIPPETS)
    assert results.catalog == (FEATURE,) and results.unavailable == ()
    assert told[-1] == ("done", 1.0) and ("reading snippet:1", 0.5) in told
    summary = results.summary()
    assert "2 snippets read with" in summary and "Findings:" in summary and "in 2 snippets" in summary
    assert "Error features of the bundle: 1, 1 replicated" in summary and "Not available" not in summary


def test_findings_are_those_of_the_engine(bundle: Path, tiny_qwen2: Path) -> None:
    pipeline = ACEPipeline(str(tiny_qwen2), settings=SETTINGS).load()
    assert pipeline.engine is not None
    reports = pipeline.engine.scan(CodeDocument(uri="x", text=SNIPPETS[0]))
    expected = [finding for report in reports for finding in report.findings]
    assert list(pipeline.full_analysis(SNIPPETS[0]).findings[0] or ()) == expected


def test_analysis_loads_what_was_not_loaded_and_is_the_same_for_the_same_seed(
    bundle: Path, tiny_qwen2: Path
) -> None:
    once, again = (
        ACEPipeline(str(tiny_qwen2), settings=SETTINGS, seed=5).full_analysis(SNIPPETS) for _ in range(2)
    )
    assert once.pairs == again.pairs and once.findings == again.findings


def test_without_a_bundle_the_rest_is_done_and_the_missing_is_said(cache: Path, tiny_qwen2: Path) -> None:
    results = ACEPipeline(str(tiny_qwen2), settings=SETTINGS).full_analysis(SNIPPETS)
    assert results.findings == (None, None) and results.pairs and not results.error_features
    assert "ace train bundle --model" in results.unavailable[0]
    assert 'pipeline.load_sae("path/to/sae")' in results.unavailable[1]
    assert "Findings" not in results.summary() and results.summary().count("Not available: ") == 2


def test_a_sparse_coder_gives_error_features_without_a_bundle(
    cache: Path, coder: SparseCoder, tiny_qwen2: Path, tmp_path: Path
) -> None:
    save_sparse_coder(tmp_path / "sae", coder, "fp32")
    pipeline = ACEPipeline(str(tiny_qwen2), settings=SETTINGS).load()
    pipeline.load_sae(tmp_path / "sae")
    assert pipeline.detector is not None and pipeline.detector.layer == LAYER
    assert pipeline.detector.model.n_blocks == LAYER + 1
    results = pipeline.full_analysis(SNIPPETS)
    assert not any(reason.startswith("error features") for reason in results.unavailable)


def test_another_coder_of_the_bundles_layer_shares_the_loaded_model(
    bundle: Path, coder: SparseCoder, tiny_qwen2: Path, tmp_path: Path
) -> None:
    save_sparse_coder(tmp_path / "sae", coder, "fp32")
    pipeline = ACEPipeline(str(tiny_qwen2), settings=SETTINGS).load()
    pipeline.load_sae(tmp_path / "sae")
    assert pipeline.engine is not None and pipeline.detector is not None
    assert pipeline.detector.model is pipeline.engine.scanner


def test_broken_python_is_read_and_only_no_bugs_are_planted_in_it(bundle: Path, tiny_qwen2: Path) -> None:
    results = ACEPipeline(str(tiny_qwen2), settings=SETTINGS).full_analysis([SNIPPETS[0], "def f(:\n"])
    assert results.findings[1] is not None
    assert results.unavailable == ("planted bugs in snippet 1 (it is not valid Python)",)


def test_a_snippet_without_anything_to_mutate_has_no_error_features(bundle: Path, tiny_qwen2: Path) -> None:
    results = ACEPipeline(str(tiny_qwen2), settings=SETTINGS).full_analysis("pass\n")
    assert "they need at least 2 planted bugs, got 0" in results.unavailable[0]


def test_a_model_that_is_not_here_is_an_error(cache: Path) -> None:
    with pytest.raises(ModelNotFound):
        ACEPipeline("no-such-model").load()


@pytest.mark.parametrize("snippets", [[], [3], ["x = 1", None]])
def test_anything_but_texts_is_refused(snippets: list, tiny_qwen2: Path) -> None:
    with pytest.raises(InputError, match="one or more texts of Python code"):
        ACEPipeline(str(tiny_qwen2), settings=SETTINGS).full_analysis(snippets)


def test_a_summary_names_the_place_and_a_limited_number() -> None:
    document = CodeDocument(uri="snippet:0", text="if a < b:\n    pass\n")
    finding = Finding(span=TextSpan(5, 6), kind="comparison", score=0.4321, threshold=0.1)
    results = AnalysisResults(
        model="m",
        snippets=(document,),
        findings=((finding,) * 25,),
        error_features=(FEATURE,),
        catalog=(FEATURE,),
    )
    summary = results.summary()
    assert "snippet 0, line 1, column 6: '<': this comparison looks wrong (probability 0.43)" in summary
    assert "Findings: 25 in 1 snippets" in summary and "  and 5 more" in summary
    assert "latent 3: fires on 5.0% of wrong places, 1.0% of right ones, t 4.0, also in the bundle" in summary


def test_a_summary_says_that_chance_may_explain_candidates() -> None:
    candidates = (replace(FEATURE, significant=False, q_value=0.6),)
    summary = AnalysisResults(model="m", snippets=(), findings=(), error_features=candidates).summary()
    assert "Error features found on these pairs alone: 0\n" in summary
    assert "strongest candidates, which chance may explain:\n  latent 3: fires on 5.0%" in summary
