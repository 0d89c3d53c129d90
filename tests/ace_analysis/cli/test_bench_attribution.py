"""`ace bench attribution` on a tiny model, from its options to its tables, stopped and gone on with."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from ace_analysis.cli import app, attributing
from ace_analysis.cli.attributing import AttributionRequest, run_attribution
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.attribution import AttributionOptions
from ace_analysis.evaluation.attribution_methods import EAP, ONE_PASS
from ace_analysis.evaluation.attribution_recovery import EXACT, RecoveryOptions, measure_recovery
from ace_analysis.evaluation.known_circuits import TASKS
from ace_analysis.features.bundle import Bundle, Calibration, Readout
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.sites import Site
from ace_analysis.model.store import resolve_model
from ace_analysis.source.corpus import CodeFunction, functions_of_text
from ace_analysis.source.sites import SiteKind

MEASURE = AttributionOptions(methods=(ONE_PASS, EAP), slow_prompts=0, one_by_one=1)


@pytest.fixture
def bundle(tiny_qwen2: Path) -> Bundle:
    """A random bundle of the tiny model that finds something at every site."""
    torch.manual_seed(0)
    width, latents, layer = 32, 64, 1
    coder = SparseCoder(
        W_enc=torch.randn(width, latents),
        b_enc=torch.zeros(latents),
        W_dec=torch.randn(latents, width),
        b_dec=torch.zeros(width),
        threshold=torch.full((latents,), 0.3),
        site=Site(layer),
    )
    readout = Readout(
        weights=torch.randn(1, latents) * 0.1, kind_bias={kind.value: 0.0 for kind in SiteKind}, slots=(0,)
    )
    return Bundle(
        folder=Path("tiny"),
        model="tiny",
        fingerprint=resolve_model(str(tiny_qwen2)).fingerprint,
        layer=layer,
        coder=coder,
        readout=readout,
        calibration=Calibration(scale=1.0, offset=0.0, prior=0.1, thresholds={50.0: -1e6}),
    )


@pytest.fixture
def functions(some_python: str) -> list[CodeFunction]:
    texts = {f"p{n}": some_python.replace("items", f"items_{n}") for n in range(2)}
    return [
        each
        for project, text in texts.items()
        for each in functions_of_text(text, project=project, path="f.py")
    ]


@pytest.fixture
def request_for(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_qwen2: Path,
    bundle: Bundle,
    functions: list[CodeFunction],
) -> Callable[..., AttributionRequest]:
    """In a folder whose settings name the tiny model; with its bundle and a few functions."""
    monkeypatch.chdir(tmp_path)
    Path("ace.toml").write_text(
        f'[model]\nname = "{tiny_qwen2}"\ndevice = "cpu"\ndtype = "float32"\n', encoding="utf-8"
    )
    monkeypatch.setattr(attributing, "chosen_bundle", lambda name, settings: bundle)
    monkeypatch.setattr(attributing, "installed_functions", lambda count, **_: functions)
    small = {"findings": 1, "tokens": 1, "most_tokens": 160, "models": 0, "folder": tmp_path / "kept"}
    return lambda **changes: AttributionRequest(**{**small, "measure": MEASURE, **changes})


def silent(message: str, fraction: float | None) -> None:
    pass


def test_findings_and_tokens_are_measured_each_on_what_it_needs(
    request_for: Callable[..., AttributionRequest],
) -> None:
    report = run_attribution(request_for(), silent)
    findings, tokens = report["findings"], report["tokens"]
    assert (findings["prompts"], tokens["prompts"]) == (1, 1)
    assert (findings["nodes"], tokens["nodes"]) == (10, 20)
    assert findings["device"] == tokens["device"] == "cpu" and findings["dtype"] == "float32"
    assert set(findings["cost"]) == {"exact", "one by one", ONE_PASS, EAP}
    assert report["version"] == 1 and "recovery" not in report


def test_a_second_run_measures_nothing_again_and_more_texts_are_added(
    request_for: Callable[..., AttributionRequest],
) -> None:
    first = run_attribution(request_for(tokens=0), silent)
    lines = Path(first["folder"], "records.jsonl")
    before = lines.read_text(encoding="utf-8")
    assert run_attribution(request_for(tokens=0), silent) == first
    assert lines.read_text(encoding="utf-8") == before
    more = run_attribution(request_for(tokens=0, findings=2), silent)
    assert more["findings"]["prompts"] == 2 and lines.read_text(encoding="utf-8").startswith(before)


def test_a_run_that_is_cancelled_says_that_it_goes_on(
    request_for: Callable[..., AttributionRequest],
) -> None:
    with pytest.raises(Cancelled, match="what was measured is kept"):
        run_attribution(request_for(), silent, lambda: True)


def test_where_no_text_fits_that_is_said(
    request_for: Callable[..., AttributionRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attributing, "installed_functions", lambda count, **_: [])
    with pytest.raises(InputError, match="expected installed functions with tokens within 160 tokens"):
        run_attribution(request_for(findings=0), silent)


@pytest.fixture
def bench(request_for: Callable[..., AttributionRequest]) -> Callable[..., Result]:
    """The command, in the same folder."""
    request_for()
    small = ("--findings", "1", "--tokens", "0", "--slow", "0", "--most-tokens", "160")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["bench", "attribution", *small, *arguments], prog_name="ace")

    return run


@pytest.mark.parametrize(("slow", "one_by_one"), [(0, 0), (1, 1), (8, 2)])
def test_what_takes_long_is_left_out_where_no_slow_text_is_asked_for(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, slow: int, one_by_one: int
) -> None:
    asked: list[AttributionOptions] = []

    def run(request: AttributionRequest, *, quiet: bool) -> dict[str, Any]:
        asked.append(request.measure)
        return {}

    monkeypatch.setattr(attributing, "run_in_order", run)
    assert bench("--json", "--slow", str(slow)).exit_code == 0
    assert [(each.slow_prompts, each.one_by_one) for each in asked] == [(slow, one_by_one)]


def test_tables_and_json_tell_the_same(bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    methods = (EXACT, ONE_PASS)
    quick = RecoveryOptions(models=1, prompts=1, methods=methods)
    monkeypatch.setattr(attributing, "measure_recovery", lambda options, **_: measure_recovery(quick))
    done = bench("--models", "1", "--how", "zero", "--folder", "kept")
    assert done.exit_code == 0, done.output
    for text in ("exact zero ablation", "plain forward passes", "one pass in forward passes", *TASKS):
        assert text in done.stdout, text
    told: Any = json.loads(bench("--models", "1", "--how", "zero", "--folder", "kept", "--json").stdout)
    assert set(told["recovery"]) == {*methods} and set(told["findings"]["agreement"]) == {"zero"}


def test_another_sort_of_ablation_is_refused_in_one_line(bench: Callable[..., Result]) -> None:
    done = bench("--how", "noise")
    assert done.exit_code == 2 and done.stdout == ""
    assert done.stderr.startswith("ace: error: how: expected one of zero, mean, counterfactual")


def test_an_interrupted_run_tells_how_to_go_on(
    bench: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Any) -> None:
        raise Cancelled("the measurement was cancelled")

    monkeypatch.setattr(attributing, "run_attribution", stopped)
    done = bench()
    assert done.exit_code == 130 and "to go on, run the same command again" in done.stderr
