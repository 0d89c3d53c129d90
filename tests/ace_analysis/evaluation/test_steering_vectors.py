"""Every vector comes with the control that it needs, and tells its effect where it was not chosen."""

import json
from pathlib import Path

import pytest
import torch

from ace_analysis.errors import Cancelled
from ace_analysis.evaluation import steering_vectors
from ace_analysis.evaluation.corpora import CorpusRequest
from ace_analysis.evaluation.steering_vectors import SteeringRequest, make_vectors, planted
from ace_analysis.features.bundle import Bundle, Calibration, ErrorFeature, Readout
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.causal import CausalModel, load_causal
from ace_analysis.model.sites import Site
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.sites import SiteKind
from ace_analysis.steering.training import PairOptions
from ace_analysis.steering.vector import SteeringVector

FUNCTION = """def f{n}(a, b):
    total = a
    if a < b and b > {n}:
        total = a + b
    return total - {n}
"""


@pytest.fixture
def causal(tiny_qwen2: Path) -> CausalModel:
    return load_causal(str(tiny_qwen2), device="cpu", dtype="float32")


@pytest.fixture
def request_(tmp_path: Path) -> SteeringRequest:
    """Twenty projects with two functions each."""
    lines = [
        json.dumps({"code": FUNCTION.format(n=10 * project + n), "project": f"project-{project}"})
        for project in range(20)
        for n in (1, 2)
    ]
    path = tmp_path / "corpus.jsonl"
    path.write_text("\n".join(lines))
    corpus = CorpusRequest(names=(str(path),), functions=16)
    pairs = PairOptions(least=2, held_out=0.3)
    return SteeringRequest(corpus=corpus, layers=(1, 2), latents=3, cases=6, pairs=pairs)


def feature(index: int) -> ErrorFeature:
    return ErrorFeature(
        feature_idx=index,
        t_statistic=5.0,
        paired_t=5.0,
        q_value=0.0,
        separation=0.1,
        rate_buggy=0.1,
        rate_matched=0.01,
        density=0.01,
        replicated=True,
    )


@pytest.fixture
def bundle(causal: CausalModel, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """A bundle of the tiny model, where a scan would find it."""
    torch.manual_seed(1)
    width, size = causal.info.d_model, 40
    coder = SparseCoder(
        torch.randn(width, size),
        torch.zeros(size),
        torch.randn(size, width),
        torch.zeros(width),
        torch.full((size,), 0.5),
        Site(1),
    )
    made = Bundle(
        folder=Path("tiny"),
        model=causal.info.name,
        fingerprint=causal.info.fingerprint,
        layer=1,
        coder=coder,
        readout=Readout(
            weights=torch.randn(4, size),
            kind_bias={kind.value: 0.0 for kind in SiteKind},
            slots=(0, 1, 2, "line_end"),
        ),
        calibration=Calibration(scale=1.0, offset=0.0, prior=0.05, thresholds={1.0: 0.0}),
        max_tokens=256,
        catalog=tuple(feature(index) for index in range(12)),
    )
    monkeypatch.setattr(steering_vectors, "find_bundle", lambda name, fingerprint: made)
    return made


def silent(message: str, fraction: float | None) -> None:
    """Progress that nobody hears."""


def test_a_vector_and_its_random_control_are_written_for_each_layer(
    causal: CausalModel, request_: SteeringRequest, tmp_path: Path
) -> None:
    made = make_vectors(causal, request_, tmp_path / "out", silent)
    for layer in (1, 2):
        vector = SteeringVector.load(tmp_path / f"out/means-all-layer{layer}")
        control = SteeringVector.load(tmp_path / f"out/random-layer{layer}")
        assert vector.layer == control.layer == layer and vector.fingerprint == causal.info.fingerprint
        assert control.length == pytest.approx(vector.length, rel=1e-5)
        assert control.about["method"] == "random direction"
    assert {"latents", "indifferent"}.isdisjoint(made["vectors"])
    assert made["pairs"] > 0 and made["vectors"]["means-all-layer1"]["held_out_pairs"] > 0
    json.dumps(made)


def test_latents_come_with_their_effect_on_other_projects_and_a_control(
    causal: CausalModel, request_: SteeringRequest, bundle: Bundle, tmp_path: Path
) -> None:
    make_vectors(causal, request_, tmp_path / "out", silent)
    latents = SteeringVector.load(tmp_path / "out/latents")
    control = SteeringVector.load(tmp_path / "out/indifferent")
    assert 0 < len(latents.about["latents"]) <= 3
    assert set(latents.about["latents"]) <= set(range(12))
    assert set(control.about["latents"]).isdisjoint(range(12))
    assert {each["latent"] for each in latents.about["effects_on_other_projects"]} == set(
        latents.about["latents"]
    )


def test_each_pair_knows_its_project() -> None:
    functions = [
        CodeFunction(text=FUNCTION.format(n=n), project=f"p{n}", path=f"m.py::f{n}", header="")
        for n in (1, 2)
    ]
    pairs, projects = planted(functions, 3)
    assert len(pairs) == len(projects) == 6 and projects == ["p1"] * 3 + ["p2"] * 3
    assert all(f"def f{project[1:]}(" in pair.positive for pair, project in zip(pairs, projects, strict=True))


def test_it_can_be_cancelled(causal: CausalModel, request_: SteeringRequest, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        make_vectors(causal, request_, tmp_path / "out", silent, lambda: True)
    assert not (tmp_path / "out").exists()
