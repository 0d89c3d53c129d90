"""Edits of an engine's model: what is shown is what is written, and the model here stays as it is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ace_analysis.editing.ledger import EditLedger
from ace_analysis.engine import Engine, editing
from ace_analysis.engine.editing import Editor
from ace_analysis.errors import Cancelled, FingerprintError, InputError, ModelNotFound
from ace_analysis.model.edits import edits_dir
from ace_analysis.settings import EngineSettings

ASKED = {"direction": "latent:3", "measure": False, "reason": "a try"}


@pytest.fixture(autouse=True)
def own_ledger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def engine(engine_with: Callable[..., Engine], tmp_path: Path) -> Engine:
    """With its bundle where it is found, for the edited models too."""
    made = engine_with()
    made.bundle.save(tmp_path / "cache" / "bundles" / "tiny")
    return made


def loaded(name: str) -> Engine:
    model = replace(EngineSettings().model, name=name, device="cpu", dtype="float32")
    return Engine.load(replace(EngineSettings(), model=model))


def fingerprint_of(engine: Engine) -> str:
    return engine.scanner.info.fingerprint


def test_a_preview_is_the_receipt_of_the_edit_and_writes_nothing(engine: Engine) -> None:
    editor = Editor(engine)
    shown = editor.preview(ASKED)
    assert "layer 1 mlp.down: all" in shown["told"] and not edits_dir().exists()
    made = editor.apply({**ASKED, "name": shown["name"]}, shown["fingerprint_before"])
    assert {**made, "time": ""} == {**shown, "time": ""}
    assert EditLedger().show(shown["name"]).edits[0].reason == "a try"


def test_a_search_is_done_by_what_the_editor_was_given(disentangled: Path, some_python: str) -> None:
    asked = {"words": ["value"], "texts": [some_python], "search": True, "measure": False}
    told = Editor(loaded(str(disentangled)), lambda *_: (7.0, 0.9, {"searched": "all"})).preview(asked)
    assert (told["parameters"]["mu"], told["parameters"]["tau"]) == (7.0, 0.9)
    assert "searched all" in told["told"]


def test_measured_effects_are_told(engine: Engine) -> None:
    steps: list[str] = []
    told = Editor(engine).preview(
        {**ASKED, "measure": True}, progress=lambda message, fraction: steps.append(message)
    )
    assert "perplexity" in told["told"] and "perplexity" in told["measured"]
    assert "measuring after" in steps


def test_what_was_shown_is_not_worked_out_again_and_something_else_is(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    editor, made = Editor(engine), []
    prepare = editing.prepare
    monkeypatch.setattr(editing, "prepare", lambda *args: made.append(1) or prepare(*args))
    fingerprint = editor.preview(ASKED)["fingerprint_before"]
    editor.apply({**ASKED, "name": "mine"}, fingerprint)
    assert len(made) == 1
    other = editor.apply({**ASKED, "direction": "latent:4", "name": "other"}, fingerprint)
    assert len(made) == 2 and other["parameters"]["direction"] == "latent:4"


def test_the_model_here_stays_as_it_is_and_the_name_is_another(engine: Engine) -> None:
    before = {name: each.clone() for name, each in engine.causal().model.state_dict().items()}
    Editor(engine).apply({**ASKED, "name": "mine"}, fingerprint_of(engine))
    after = engine.causal().model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    edited = loaded("mine")
    assert fingerprint_of(edited) != fingerprint_of(engine)
    assert edited.info()["edited_from"] is not None


def test_an_edit_of_another_model_than_was_shown_is_refused(engine: Engine) -> None:
    with pytest.raises(FingerprintError, match="expected the model that the edit was planned for"):
        Editor(engine).apply(ASKED, "another")
    assert not edits_dir().exists()


def test_a_model_that_was_edited_since_it_was_loaded_is_refused(engine: Engine) -> None:
    Editor(engine).apply({**ASKED, "name": "mine"}, fingerprint_of(engine))
    edited = loaded("mine")
    more = Editor(edited)
    more.apply({**ASKED, "direction": "latent:4", "name": "mine"}, fingerprint_of(edited))
    with pytest.raises(FingerprintError, match="mine has been edited since it was loaded"):
        more.preview({**ASKED, "direction": "latent:5", "name": "mine"})


def test_a_cancel_leaves_no_edit_however_late_it_comes(engine: Engine) -> None:
    editor, fingerprint = Editor(engine), fingerprint_of(engine)
    with pytest.raises(Cancelled):
        editor.preview(ASKED, cancelled=lambda: True)
    for answers in ([True], [False, True], [False, False, True]):
        with pytest.raises(Cancelled):
            Editor(engine).apply(
                {**ASKED, "name": "mine"}, fingerprint, cancelled=lambda left=answers: left.pop(0)
            )
        assert not any(entry.edits for entry in EditLedger().entries())


def test_undoing_takes_the_last_back_and_says_what_is_left(engine: Engine) -> None:
    Editor(engine).apply({**ASKED, "name": "mine"}, fingerprint_of(engine))
    edited = loaded("mine")
    Editor(edited).apply({**ASKED, "direction": "latent:4", "name": "mine"}, fingerprint_of(edited))
    last = Editor(edited).undo()
    assert (last["name"], last["left"], last["parameters"]["direction"]) == ("mine", 1, "latent:4")
    first = Editor(engine).undo("mine")
    assert (first["left"], first["parameters"]["direction"]) == (0, "latent:3")
    assert fingerprint_of(loaded(first["base"])) == fingerprint_of(engine)


def test_undoing_needs_a_name_where_the_model_is_not_edited(engine: Engine) -> None:
    with pytest.raises(InputError, match=r"expected the name of an edited model \(none yet\), got none"):
        Editor(engine).undo()
    with pytest.raises(ModelNotFound, match="expected an edited model"):
        Editor(engine).undo("nothing")
