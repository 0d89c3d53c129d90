"""`ace edit` from the outside: what is written, what is told, and which exit codes scripts get."""

import json

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from ace_analysis.cli import edit
from ace_analysis.cli.edit import edit_app
from ace_analysis.editing import requesting
from ace_analysis.editing.ledger import Edit, EditLedger
from ace_analysis.editing.pisces import PISCES
from ace_analysis.editing.requesting import EditRequest, request_from
from ace_analysis.errors import InputError
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


def test_a_request_names_one_thing_and_only_known_ones():
    asked = {"words": ["None"], "texts": ["x = None"], "layer": None}
    assert request_from(asked) == EditRequest(words=("None",), texts=("x = None",))
    for data, message in (
        ({}, "expected one of words, latents, kind and direction"),
        ({"words": ["a"], "latents": [1]}, "expected one of words, latents, kind and direction"),
        ({"word": "a"}, "got 'word'"),
        ({"words": ["a"]}, "expected texts that have the words together with them, got 0 texts and 1 words"),
        ({"latents": [1], "texts": ["a"]}, "got 1 texts and 0 words"),
        ({"latents": ["1"]}, "latents: expected a list of whole numbers"),
        ({"latents": [1], "mu": "big"}, "mu: expected a number"),
    ):
        with pytest.raises(InputError, match=message):
            request_from(data)


def test_a_text_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(InputError, match=r"--text: can't read .*none.py: No such file"):
        edit._texts([tmp_path / "none.py"])


def test_a_direction_comes_from_a_file_with_one_vector(tmp_path):
    file = tmp_path / "direction.safetensors"
    save_file({"direction": torch.ones(32)}, file)
    vector, layer = requesting._direction(str(file), None, 2)
    assert layer == 2 and vector.shape == (32,)
    with pytest.raises(InputError, match="expected a layer for the direction"):
        requesting._direction(str(file), None, None)
    with pytest.raises(InputError, match=r"or a .safetensors file with a vector"):
        requesting._direction(str(tmp_path / "none"), None, 1)
    save_file({"a": torch.ones(2), "b": torch.ones(2)}, file)
    with pytest.raises(InputError, match="expected one vector"):
        requesting._direction(str(file), None, 1)
