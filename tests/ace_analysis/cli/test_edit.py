"""`ace edit` from the outside: what is written, what is told, and which exit codes scripts get."""

import json

import pytest
import torch
from typer.testing import CliRunner

from ace_analysis.cli import edit
from ace_analysis.cli.edit import edit_app
from ace_analysis.editing.ledger import Edit, EditLedger
from ace_analysis.editing.pisces import PISCES
from ace_analysis.editing.search import MUS, TAUS
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.model.causal import load_causal
from ace_analysis.model.edits import edits_dir
from ace_analysis.model.store import resolve_model


@pytest.fixture(autouse=True)
def own_ledger(monkeypatch, tmp_path):
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def edited(tiny_qwen2) -> str:
    causal = load_causal(str(tiny_qwen2), "cpu", "float32")
    plan = PISCES(causal.model).remove_direction(torch.ones(32), 1)
    return (
        EditLedger().apply(Edit.of_plan(resolve_model(str(tiny_qwen2)), plan, name="mine", reason="a try")).id
    )


def ran(*arguments: str):
    return CliRunner().invoke(edit_app, list(arguments))


def test_what_was_edited_is_listed_and_shown_with_its_receipts(edited):
    assert "mine" in ran("list").stdout
    shown = ran("show", "mine").stdout
    assert " with 1 edit, its base's bundle" in shown
    assert edited in shown and "a try" in shown and "\n  layer 1 mlp.down: all rows" in shown
    (told,) = json.loads(ran("list", "--json").stdout)
    assert told["edits"][0]["sha256"].startswith(edited)
    assert json.loads(ran("show", "mine", "--json").stdout)["fingerprint"] == told["fingerprint"]


def test_verifying_ends_with_1_where_something_has_changed(edited):
    assert ran("verify", "mine", "--quiet").exit_code == 0
    assert json.loads(ran("verify", "mine", "--json", "--quiet").stdout)["holds"]
    for path in (edits_dir() / "mine").glob("*.safetensors"):
        path.write_bytes(b"other")
    assert ran("verify", "mine", "--quiet").exit_code == 1


def test_undoing_tells_which_and_exporting_where(edited, tmp_path):
    out = tmp_path / "out"
    told = json.loads(ran("export", "mine", str(out), "--json", "--quiet").stdout)
    assert told["folder"] == str(out) and (out / "config.json").is_file()
    assert json.loads(ran("undo", "mine", "--json").stdout)["undone"]
    assert EditLedger().show("mine").edits == ()


def test_a_text_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--text: can't read .*none.py: No such file"):
        edit._texts([tmp_path / "none.py"])


@pytest.fixture
def text(tmp_path, some_python) -> str:
    path = tmp_path / "text.py"
    path.write_text(some_python * 2)
    return str(path)


def on(model, *arguments: str) -> tuple[str, ...]:
    return (*arguments, "--model", str(model), "--device", "cpu", "--dtype", "float32")


def test_a_plan_is_told_and_nothing_is_written_and_applying_writes_the_same(disentangled, text):
    asked = on(disentangled, "--word", "value", "--text", text, "--limit", "2", "--name", "mine")
    planned = json.loads(ran("plan", *asked, "--json").stdout)
    assert planned["applied"] is False and not edits_dir().exists()
    assert len(planned["parameters"]["latents"]) == 2
    done = ran("apply", *asked)
    assert done.exit_code == 0 and "perplexity: " in done.stdout and "word probability: " in done.stdout
    assert "ace edit undo mine" in done.stderr
    assert EditLedger().show("mine").edits[0].sha256 == planned["sha256"]


def test_a_search_tells_the_best_of_the_grid_and_goes_on_where_it_was(disentangled, text):
    asked = on(disentangled, "--word", "value", "--text", text, "--search", "--no-measure")
    first = ran("plan", *asked)
    assert first.exit_code == 0 and "searched " in first.stdout and "efficacy " in first.stdout
    again = ran("plan", *asked)
    assert again.stdout == first.stdout
    planned = json.loads(ran("plan", *asked, "--json").stdout)["parameters"]
    assert planned["mu"] in MUS and planned["tau"] in TAUS and planned["score"] >= 0


def test_latents_without_a_text_are_noted_and_with_one_are_not(disentangled, text):
    assert "note: no text was given" in ran("plan", *on(disentangled, "--latent", "2", "--no-measure")).stdout
    asked = on(disentangled, "--latent", "2", "--text", text, "--no-measure")
    assert "signs read where the latents fire" in (told := ran("plan", *asked).stdout) and "note" not in told


def test_the_embedding_is_changed_only_with_its_option(disentangled):
    asked = on(disentangled, "--direction", "latent:3", "--component", "resid_writers", "--no-measure")
    assert "the embedding" not in ran("plan", *asked).stdout
    assert "the embedding: all" in ran("plan", *asked, "--embedding").stdout


def test_an_interrupted_plan_ends_with_130_and_writes_nothing(disentangled, monkeypatch):
    def interrupted(*_):
        raise Cancelled("stopped")

    monkeypatch.setattr("ace_analysis.editing.preparing.prepare", interrupted)
    done = ran("apply", *on(disentangled, "--latent", "2"))
    assert done.exit_code == 130 and "interrupted; nothing was written" in done.stderr
    assert not edits_dir().exists()
