"""The whole model is loaded once, when asked, and only if it is the scanner's."""

from dataclasses import replace

import pytest

from ace_analysis.engine import Engine, ScanOptions
from ace_analysis.engine.whole import WholeModel
from ace_analysis.errors import FingerprintError
from ace_analysis.source.document import CodeDocument


def test_it_is_loaded_when_first_asked_for_and_kept(engine: Engine) -> None:
    whole = WholeModel(engine.scanner.info)
    told: list[str] = []
    assert not whole.is_loaded
    first = whole.get(lambda message, fraction: told.append(message))
    assert whole.get() is first and whole.is_loaded
    assert told == [f"loading all of {engine.scanner.info.name}"]


def test_an_engine_gives_one_whole_model_and_lets_go_of_it(engine: Engine) -> None:
    model = engine.causal()
    assert engine.causal() is model
    assert model.info.fingerprint == engine.scanner.info.fingerprint
    engine.close()
    assert engine.causal() is not model


def test_weights_that_changed_meanwhile_are_refused(engine: Engine) -> None:
    whole = WholeModel(replace(engine.scanner.info, fingerprint="0" * 64))
    with pytest.raises(FingerprintError, match="start again"):
        whole.get()


def test_a_scan_reads_the_same_with_the_whole_models_blocks(engine: Engine) -> None:
    document = CodeDocument(uri="m.py", text="def f(a, b):\n    return a <= b and a != 2\n")
    before = engine.scan(document, options=ScanOptions(sites=True))
    first = engine.scanner
    causal = engine.causal()
    assert engine.scanner is causal.scanner is not first
    again = engine.scan(document, options=ScanOptions(sites=True))
    for one, two in zip(before, again, strict=True):
        assert [site.score for site in one.sites] == pytest.approx(
            [site.score for site in two.sites], abs=1e-6
        )
