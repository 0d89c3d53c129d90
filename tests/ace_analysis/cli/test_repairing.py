"""`ace bench repair` from data to numbers, with a tiny random model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from ace_analysis.cli import bench_repair, repairing
from ace_analysis.cli.bench import bench_app
from ace_analysis.cli.repairing import EnginePipeline, RepairRequestOptions, arms_of, run_repair
from ace_analysis.engine import Engine
from ace_analysis.engine.cache import ResultCache
from ace_analysis.errors import InputError
from ace_analysis.evaluation.repair_arms import ShippedArm
from ace_analysis.features.bundle import Bundle, Calibration, Readout
from ace_analysis.features.discovery import ErrorFeature
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.sites import Site
from ace_analysis.settings import EngineSettings, FixSettings, ModelSettings
from ace_analysis.source.document import CodeDocument
from ace_analysis.source.sites import SiteKind
from ace_analysis.steering.vector import vector_for

RIGHT = "def f(items):\n    total = 0\n    for item in items:\n        total += item\n    return total\n"
WIDTH, LATENTS, LAYER = 32, 48, 1


def quiet(message: str, fraction: float | None) -> None: ...


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    wrong = RIGHT.replace("+=", "-=")
    rows = [
        {
            "id": f"q/{n}",
            "buggy": wrong,
            "fixed": RIGHT,
            "tests": f"assert f([1, {n}]) == {1 + n}",
            "meta": {},
        }
        for n in (2, 3)
    ]
    passing = {**rows[0], "id": "q/passing", "tests": "assert f([]) == 0"}
    (folder / "quixbugs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, passing]))
    clean = {"id": "mbpp/1", "fixed": RIGHT, "tests": "assert f([1, 2]) == 3"}
    (folder / "clean_mbpp.jsonl").write_text(json.dumps(clean) + "\n")
    return folder


@pytest.fixture
def engine(tiny_qwen2: Path, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """A tiny engine in place of the one that is loaded; its bundle finds something in most lines."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    scanner = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=LAYER + 1)
    numbers = ("paired_t", "q_value", "separation", "rate_buggy", "rate_matched", "density")
    feature = ErrorFeature(feature_idx=3, t_statistic=3.0, replicated=True, **dict.fromkeys(numbers, 0.1))
    coder = SparseCoder(
        random(WIDTH, LATENTS),
        torch.zeros(LATENTS),
        random(LATENTS, WIDTH),
        torch.zeros(WIDTH),
        torch.zeros(LATENTS),
        Site(LAYER),
    )
    bundle = Bundle(
        folder=Path("tiny"),
        model=scanner.info.name,
        fingerprint=scanner.info.fingerprint,
        layer=LAYER,
        coder=coder,
        readout=Readout(
            weights=random(1, LATENTS), kind_bias={kind.value: 0.0 for kind in SiteKind}, slots=(0,)
        ),
        calibration=Calibration(scale=1.0, offset=0.0, prior=0.5, thresholds={1.0: -1e6}),
        catalog=(feature,),
    )
    made = Engine(scanner, bundle, EngineSettings(), ResultCache(None, 0))
    settings = EngineSettings(model=ModelSettings(name=str(tiny_qwen2), device="cpu", dtype="float32"))
    monkeypatch.setattr(repairing, "load_settings", lambda start: settings)
    monkeypatch.setattr(repairing.Engine, "load", lambda settings, progress: made)
    return made


def request(data: Path, **changes: Any) -> RepairRequestOptions:
    return RepairRequestOptions(
        **{"data": data, "sets": ("quixbugs",), "keep": data.parent / "kept", **changes}
    )


def test_each_arm_is_measured_on_the_bugs_that_tests_notice(data, engine):
    measured = run_repair(request(data, arms=("unsteered", "asked"), candidates=2), quiet)
    assert json.loads(json.dumps(measured, allow_nan=False)) == measured
    arms = measured["sets"]["quixbugs"]
    assert list(arms) == ["unsteered", "asked"]
    assert [told["tasks"] for told in arms.values()] == [2, 2]
    assert measured["notes"] == ["quixbugs: left out: 1 tests do not tell"]


def test_a_second_run_writes_and_runs_nothing(data, engine, monkeypatch):
    first = run_repair(request(data, arms=("unsteered",)), quiet)
    for name in ("failing", "attempt"):
        assert hasattr(repairing, name)
    monkeypatch.setattr("ace_analysis.evaluation.sandbox._run", lambda *_: pytest.fail("ran again"))
    monkeypatch.setattr(repairing.WrittenArm, "offer", lambda *_: pytest.fail("written again"))
    assert run_repair(request(data, arms=("unsteered",)), quiet) == first


def test_a_vector_has_an_arm_for_each_strength_gated_or_not_and_a_random_one(data, engine):
    vector = vector_for(engine.scanner.info, torch.randn(WIDTH), LAYER, normalize=False, about={})
    vector.save(data / "means.safetensors")
    asked = request(data, arms=("unsteered",), vectors=(data / "means.safetensors",), strengths=(1.0, 2.0))
    names = [arm.name for arm in arms_of(asked, engine)]
    assert names == [
        "unsteered",
        "means x1",
        "means x1, gated",
        "random x1",
        "means x2",
        "means x2, gated",
        "random x2",
    ]


def test_the_controls_of_two_vectors_are_told_apart(data, engine):
    for name, length in (("means", 1.0), ("latents", 2.0)):
        direction = length * torch.ones(WIDTH)
        vector = vector_for(engine.scanner.info, direction, LAYER, normalize=False, about={})
        vector.save(data / f"{name}.safetensors")
    paths = (data / "means.safetensors", data / "latents.safetensors")
    measured = run_repair(request(data, arms=("unsteered",), vectors=paths, candidates=2), quiet)
    assert list(measured["sets"]["quixbugs"]) == [
        "unsteered",
        "means x1",
        "means x1, gated",
        "random, as long as means x1",
        "latents x1",
        "latents x1, gated",
        "random, as long as latents x1",
    ]


def test_a_vector_in_front_of_the_gates_layer_is_not_gated(data, engine):
    vector = vector_for(engine.scanner.info, torch.randn(WIDTH), 0, normalize=False, about={})
    vector.save(data / "early.safetensors")
    asked = request(data, arms=(), vectors=(data / "early.safetensors",))
    assert [arm.name for arm in arms_of(asked, engine)] == ["early x1", "random x1"]


def test_the_shipped_arm_offers_what_the_engine_does_with_a_line(engine):
    wrong = RIGHT.replace("+=", "-=")
    fixes = engine.fix(CodeDocument(uri="file:///program.py", text=wrong), 4)
    assert ShippedArm(engine).offer(wrong, 3) == [fix.applied_to(wrong) for fix in fixes]


def test_other_settings_or_another_bundle_make_another_shipped_arm(engine):
    def arm(settings: EngineSettings, bundle: Bundle = engine.bundle) -> str:
        return ShippedArm(Engine(engine.scanner, bundle, settings, ResultCache(None, 0))).identity

    fewer = EngineSettings(fix=FixSettings(candidates=2))
    other = replace(engine.bundle, calibration=replace(engine.bundle.calibration, thresholds={1.0: 3.0}))
    identities = {arm(EngineSettings()), arm(fewer), arm(EngineSettings(), other)}
    assert len(identities) == 3
    assert arm(EngineSettings()) == ShippedArm(engine).identity


def test_the_whole_pipeline_finds_places_and_offers_for_each_or_not(engine):
    places = EnginePipeline(engine).places(RIGHT)
    assert places
    assert all(0 <= place.line < RIGHT.count("\n") for place in places)


def test_clean_programs_and_bugs_go_through_the_whole_pipeline(data, engine):
    measured = run_repair(request(data, arms=("unsteered",), half=None, clean=5, end_to_end=True), quiet)
    assert measured["corruption"]["programs"] == 1
    assert measured["end_to_end"]["tasks"] == 2


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"arms": ("greedy",)}, "expected arms among shipped, unsteered, told, asked, got 'greedy'"),
        ({"half": "first"}, "expected a half of report, validation or all, got 'first'"),
        ({"sets": ()}, "expected at least one set and one arm"),
        ({"arms": ()}, "expected at least one set and one arm"),
    ],
)
def test_requests_that_can_not_be_met_are_refused(data, changes, told):
    with pytest.raises(InputError, match=told):
        request(data, **changes)


@pytest.fixture
def measured() -> dict[str, Any]:
    interval = {"value": 0.5, "low": 0.25, "high": 0.75}
    row = {
        "tasks": 12,
        **dict.fromkeys(("first", "any", "exact", "repeats"), interval),
        "gain_first": None,
        "gain_any": {"value": 0.1, "low": None, "high": None},
        "offered": 4.5,
        "median_seconds": 3.25,
    }
    whole = {"programs": 1200, "corrupted": interval, "corrupted_programs": ["p"]}
    return {"notes": ["a note"], "sets": {"ours": {"unsteered": row}}, "end_to_end": {}, "corruption": whole}


def test_the_command_tells_tables_on_stdout_and_notes_on_stderr(measured, monkeypatch):
    asked: list[Any] = []
    monkeypatch.setattr(repairing, "run_repair", lambda request, progress: asked.append(request) or measured)
    options = [
        "repair",
        "--data",
        "d",
        "--sets",
        "a, b",
        "--arms",
        "asked",
        "--strengths",
        "1,3",
        "--half",
        "all",
    ]
    done = CliRunner().invoke(bench_app, options)
    assert done.exit_code == 0, done.output
    (one,) = asked
    assert (one.data, one.sets, one.arms, one.strengths, one.half) == (
        Path("d"),
        ("a", "b"),
        ("asked",),
        (1.0, 3.0),
        None,
    )
    assert done.stderr == "ace: note: a note\n"
    for text in ("ours: 12 bugs", "unsteered", "50.0%", "25.0% to 75.0%", "10.0%", "3.2", "1,200"):
        assert text in done.stdout


def test_json_is_all_that_is_on_stdout(measured, monkeypatch):
    monkeypatch.setattr(repairing, "run_repair", lambda request, progress: measured)
    done = CliRunner().invoke(bench_app, ["repair", "--data", "d", "--json", "--quiet"])
    assert json.loads(done.stdout) == measured


def test_strengths_that_are_no_numbers_are_refused():
    done = CliRunner().invoke(bench_app, ["repair", "--data", "d", "--strengths", "much"])
    assert done.exit_code == 2
    assert "expected numbers with commas" in done.stderr
    assert bench_repair.SETS.startswith("quixbugs")
