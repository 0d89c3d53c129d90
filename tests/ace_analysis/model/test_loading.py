"""The hooked model is the plain one with hooks, whatever the folder is called."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from ace_analysis.errors import InputError, ModelError
from ace_analysis.model import aliases
from ace_analysis.model.loading import load_hooked_model, load_scanner
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.model.sites import STREAMS, Site

Close = Callable[[Tensor, Tensor], None]


def plain_logits(folder: Path, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)(ids).logits


def test_logits_are_those_of_the_plain_forward(
    hooked: Any, tiny_model: Path, ids: Tensor, close: Close
) -> None:
    with torch.no_grad():
        close(hooked(ids), plain_logits(tiny_model, ids))


def test_the_cache_takes_the_fields_hook_names_and_stops_early(hooked: Any, ids: Tensor) -> None:
    name = Site(2).hook_name
    _, whole = hooked.run_with_cache(ids, names_filter=[name])
    stopped, cache = hooked.run_with_cache(ids, names_filter=[name], stop_at_layer=3)
    assert not any("blocks.1." in each for each in cache) and stopped.shape == (1, 24, 32)
    torch.testing.assert_close(cache[name], whole[name])


def test_every_site_names_a_hook_that_fires(hooked: Any, ids: Tensor) -> None:
    names = [Site(1, stream).hook_name for stream in STREAMS]
    _, cache = hooked.run_with_cache(ids, names_filter=names)
    assert set(names) <= set(cache)


def test_a_hook_changes_what_comes_behind_it(hooked: Any, ids: Tensor, close: Close) -> None:
    erase = (Site(1).hook_name, lambda resid, hook: torch.zeros_like(resid))
    with torch.no_grad():
        assert not torch.allclose(hooked.run_with_hooks(ids, fwd_hooks=[erase]), hooked(ids), atol=1e-3)


def test_the_model_says_what_it_is(tiny_qwen2: Path) -> None:
    hooked = load_hooked_model(str(tiny_qwen2), device="cpu", dtype="float32")
    scanner = load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=1)
    assert hooked.ace == scanner.info
    assert (hooked.ace.n_layers, hooked.ace.d_model, hooked.ace.dtype) == (4, 32, torch.float32)
    assert hooked.ace.folder == tiny_qwen2 and len(hooked.ace.fingerprint) == 64


@pytest.mark.parametrize("path", ["llama-3/gemma-2-2b", "gpt2/mistral", "a folder with spaces/ünï"])
def test_a_folders_name_does_not_choose_the_architecture(path: str, tiny_qwen2: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_qwen2, tmp_path / path))
    ids = torch.arange(12)[None]
    hooked = load_hooked_model(str(folder), device="cpu", dtype="float32")
    with torch.no_grad():
        torch.testing.assert_close(hooked(ids), plain_logits(tiny_qwen2, ids), atol=1e-4, rtol=1e-4)


def test_an_alias_loads_what_the_table_points_at(tiny_gemma2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(aliases.ALIASES, "gemma-2-2b", str(tiny_gemma2))
    hooked = load_hooked_model("gemma-2-2b", device="cpu", dtype="float32")
    _, cache = hooked.run_with_cache(torch.arange(12)[None])
    assert cache["blocks.2.hook_resid_post"].shape == (1, 12, 32)
    assert hooked.ace.name == "gemma-2-2b"


def test_the_hooked_models_tokenizer_gives_the_scanners_tokens(
    hooked: Any, scanner: ResidualScanner, some_python: str
) -> None:
    text = some_python + "x = '🙂' + 1234"
    assert (
        hooked.tokenizer(text, add_special_tokens=False)["input_ids"]
        == scanner.tokenizer.encode(text).ids[1:]
    )


def test_decomposed_accents_survive_the_hooked_models_tokenizer(tiny_qwen2: Path) -> None:
    tokenizer = load_hooked_model(str(tiny_qwen2), device="cpu", dtype="float32").tokenizer
    assert tokenizer.decode(tokenizer("cafe\u0301")["input_ids"]) == "cafe\u0301"


@pytest.mark.parametrize("n_blocks", [0, 5])
def test_more_blocks_than_there_are_is_an_error(n_blocks: int, tiny_qwen2: Path) -> None:
    with pytest.raises(InputError, match=f"expected 1 to 4 blocks of .*, got {n_blocks}"):
        load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=n_blocks)


def test_a_model_that_transformers_does_not_know_is_an_error(tiny_qwen2: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_qwen2, tmp_path / "m"))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "telepathy"}), encoding="utf-8")
    with pytest.raises(ModelError, match=r"expected a model that transformers knows in .*telepathy"):
        load_scanner(str(folder))
