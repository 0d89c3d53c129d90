"""All arms are measured on the same bugs, code and problems; what was measured is kept and told."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ace_analysis.editing.disentangler import Disentangler
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.disentangler import Telling
from ace_analysis.evaluation.editing_errors_bench import ErrorOptions, Subject, bench_errors
from ace_analysis.evaluation.editing_errors_measured import ErrorBench
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.pass_at_1 import AnswerOptions, Problem
from ace_analysis.features.bundle import Bundle, ErrorFeature
from ace_analysis.features.discovery import DiscoveryOptions
from ace_analysis.model.causal import load_causal
from ace_analysis.source.corpus import CodeFunction

from .conftest import coder_along

KIND = "comparison"
FEW = ErrorOptions(
    kinds=(KIND,),
    limit=2,
    functions=4,
    learned=6,
    mutants=6,
    texts=3,
    longest=200,
    mus=(0.0, 2.0),
    taus=(0.5,),
    discovery=DiscoveryOptions(max_density=1.0, min_firing=1, min_pairs=10**9, resamples=0),
    answers=AnswerOptions(max_new_tokens=3, rows=2),
)
ASKED = [Problem(id="a", asked="Write f.", tests="f()"), Problem(id="b", asked="Nothing", tests="1")]


@pytest.fixture
def subject(tiny_qwen2: Path, tiny_bundle: Bundle) -> Subject:
    causal = load_causal(str(tiny_qwen2), "cpu", "float32")
    told = {"q_value": 0.0, "separation": 0.1, "rate_buggy": 0.2, "rate_matched": 0.1, "density": 0.01}
    catalog = tuple(
        ErrorFeature(feature_idx=at, t_statistic=3.0, paired_t=9.0 - at, kinds=(KIND,), **told)
        for at in range(4)
    )
    coder = coder_along(torch.randn(24, 32, generator=torch.Generator().manual_seed(3)), 3)
    found = Disentangler(coder=coder, model="tiny", fingerprint=causal.info.fingerprint, card={})
    return Subject(causal, replace(tiny_bundle, catalog=catalog), found)


def run(
    subject: Subject, functions: list[CodeFunction], path: Path, telling: Telling, **other: Any
) -> dict[str, Any]:
    given = ({"train": functions, "test": functions}, other.pop("problems", ASKED))
    return bench_errors(subject, given, replace(FEW, **other), (Ledger(path), "k"), telling)


def test_arms_are_told_beside_the_model_as_it_is(
    subject: Subject, few_functions: list[CodeFunction], tmp_path: Path
) -> None:
    before = {name: value.clone() for name, value in subject.causal.model.state_dict().items()}
    told = run(subject, few_functions, tmp_path / "k.jsonl", Telling())
    arms = told["arms"]
    assert list(arms) == [
        "as it is",
        "error latents removed",
        "random directions, same norm",
        "other latents removed",
        f"{KIND} latents removed",
        "PISCES, layer 3",
        "PISCES, layer 3, random rows",
    ]
    assert arms["as it is"]["perplexity"]["value"] == 0 and arms["as it is"]["norm"] == 0
    own, aside = arms["error latents removed"], arms["random directions, same norm"]
    assert own["norm"] == pytest.approx(aside["norm"], rel=1e-3) and own["perplexity"]["value"] != 0
    assert arms["as it is"]["wrong_share"]["own"]["change"]["value"] == 0 and told["choices"] > 3
    assert 0 < own["wrong_share"]["own"]["share"]["value"] < 1
    kind = arms[f"{KIND} latents removed"]
    assert set(kind["wrong_share"]) == {"own", "others"}
    assert kind["detection"]["own"]["bugs"] == told["bugs"][KIND] == kind["detection"][KIND]["bugs"]
    assert kind["detection"]["others"]["bugs"] == sum(told["bugs"].values()) - told["bugs"][KIND]
    assert kind["repair"]["own"] == kind["repair"][KIND] and kind["repair"]["others"]["bugs"] > 3
    assert own["repair"]["own"]["bugs"] == sum(kind["repair"][each]["bugs"] for each in ("own", "others"))
    assert arms["as it is"]["repair"]["own"]["preferred_change"]["value"] == 0
    behind = arms["PISCES, layer 3"]
    assert behind["detection"] == arms["as it is"]["detection"] and behind["activation_fall"] is not None
    assert all(each["pass_at_1"]["problems"] == 2 for each in arms.values())
    assert all(torch.equal(v, before[n]) for n, v in subject.causal.model.state_dict().items())
    assert told["pisces"]["mu"] in (0, 2) and told["pisces"]["tau"] == 0.5
    assert 0 <= told["pisces"]["efficacy"] <= 1
    assert len(told["pisces"]["latents"]) == 2 and told["latents"]["all"] == [0, 1]


def test_a_stopped_run_goes_on_and_ends_the_same(
    subject: Subject, few_functions: list[CodeFunction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(subject, few_functions, tmp_path / "whole.jsonl", Telling())
    asked = 0

    def at_the_60th() -> bool:
        nonlocal asked
        asked += 1
        return asked == 60

    with pytest.raises(Cancelled):
        run(subject, few_functions, tmp_path / "k.jsonl", Telling(cancelled=at_the_60th))
    assert 0 < len(Ledger(tmp_path / "k.jsonl")) < len(Ledger(tmp_path / "whole.jsonl"))
    assert run(subject, few_functions, tmp_path / "k.jsonl", Telling()) == whole
    for name in ("_written", "_sites"):
        monkeypatch.setattr(ErrorBench, name, lambda *_: pytest.fail("it was measured again"))
    assert run(subject, few_functions, tmp_path / "k.jsonl", Telling()) == whole


def test_without_a_disentangler_problems_and_repairs_there_is_less(
    subject: Subject, few_functions: list[CodeFunction], tmp_path: Path
) -> None:
    less = replace(subject, disentangler=None)
    told = run(less, few_functions, tmp_path / "k.jsonl", Telling(), problems=[], kinds=(), repairs=0)
    assert len(told["arms"]) == 4 and told["pisces"] == {}
    assert all("pass_at_1" not in each and "repair" not in each for each in told["arms"].values())


def test_a_kind_without_error_latents_is_refused(
    subject: Subject, few_functions: list[CodeFunction], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="expected a kind that has error latents"):
        run(subject, few_functions, tmp_path / "k.jsonl", Telling(), kinds=("nothing",))
