"""Every token knows the code points that it came from, whatever the text is."""

import json
import shutil
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ace_analysis.errors import InputError, ModelError
from ace_analysis.model.tokens import CodeTokenizer, TokenizedText, for_source_code
from ace_analysis.source.document import TextSpan

TEXTS = {
    "emoji": "x = '🙂👩‍👩‍👧'\n",
    "CJK": "名前 = '値'  # 注釈\n",
    "tabs": "if x:\n\t\treturn\ty\n",
    "CRLF": "a = 1\r\nb = 2\r\n",
    "form feed": "a = 1\n\x0c\nb = 2\n",
    "BOM": "\ufeffimport os\n",
    "decomposed accents": "cafe\u0301 = 'Å'\n",
    "controls": "s = '\x00\x1b[0m\x7f'\n",
    "non-BMP": "𝒳 = 𝟙\n",
    "a control token's spelling": "end = '<|im_end|><|endoftext|>'\n",
    "nothing": "",
}


@pytest.fixture
def tokenizer(tiny_model: Path) -> CodeTokenizer:
    return CodeTokenizer.from_folder(tiny_model)


@cache
def loaded(folder: Path) -> CodeTokenizer:
    return CodeTokenizer.from_folder(folder)


def uncovered(text: str, tokenized: TokenizedText) -> str:
    """The text's code points that no token covers."""
    covered = {offset for span in tokenized.spans for offset in range(span.start, span.end)}
    return "".join(char for offset, char in enumerate(text) if offset not in covered)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_every_code_point_is_covered_in_order(text: str, tokenizer: CodeTokenizer) -> None:
    tokenized = tokenizer.encode(text)
    starts = [span.start for span in tokenized.spans]
    ends = [span.end for span in tokenized.spans]
    assert starts == sorted(starts) and ends == sorted(ends)
    assert uncovered(text, tokenized) == ""
    assert ends[-1] == len(text)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_a_text_comes_back_as_it_was(text: str, tokenizer: CodeTokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


@given(text=st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_text_comes_back_with_every_code_point_covered(text: str, tiny_qwen2: Path) -> None:
    tokenizer = loaded(tiny_qwen2)
    tokenized = tokenizer.encode(text)
    assert tokenizer.decode(tokenized.ids) == text
    assert uncovered(text, tokenized) == ""


def test_a_character_of_several_tokens_gives_each_its_whole_span(tiny_qwen2: Path) -> None:
    tokenized = CodeTokenizer.from_folder(tiny_qwen2).encode("🙂")
    assert len(tokenized) > 2
    assert set(tokenized.spans[1:]) == {TextSpan(0, 1)}


def test_a_span_names_the_text_of_its_token(tokenizer: CodeTokenizer, some_python: str) -> None:
    tokenized = tokenizer.encode(some_python)
    pieces = [some_python[span.start : span.end] for span in tokenized.spans[1:]]
    assert pieces == [tokenizer.decode([token]) for token in tokenized.ids[1:]]


@pytest.mark.parametrize(
    ("family", "prefix"), [("qwen2", "<|endoftext|>"), ("llama", "<|begin_of_text|>"), ("gemma2", "<bos>")]
)
def test_one_prefix_token_with_an_empty_span_comes_first(
    family: str, prefix: str, tiny_models: dict[str, Path]
) -> None:
    tokenizer = CodeTokenizer.from_folder(tiny_models[family])
    tokenized = tokenizer.encode("x = 1")
    assert tokenizer.token(tokenized.ids[0]) == prefix
    assert tokenized.spans[0] == TextSpan(0, 0)
    assert tokenized.ids.count(tokenizer.prefix_id) == 1


def test_an_empty_text_is_its_prefix_token(tokenizer: CodeTokenizer) -> None:
    assert tokenizer.encode("") == TokenizedText([tokenizer.prefix_id], [TextSpan(0, 0)])


def test_control_tokens_in_a_text_are_text(tiny_qwen2: Path) -> None:
    tokenizer = CodeTokenizer.from_folder(tiny_qwen2)
    ids = tokenizer.encode("s = '<|im_end|>'").ids
    assert "<|im_end|>" not in map(tokenizer.token, ids)
    assert tokenizer.decode(ids) == "s = '<|im_end|>'"


def test_a_lone_surrogate_becomes_one_replacement_character(tokenizer: CodeTokenizer) -> None:
    tokenized = tokenizer.encode("a\ud800b")
    assert tokenizer.decode(tokenized.ids) == "a\ufffdb"
    assert tokenized.spans[-1] == TextSpan(2, 3)


def test_many_texts_are_encoded_as_each_alone(tokenizer: CodeTokenizer) -> None:
    texts = list(TEXTS.values())
    assert tokenizer.encode_many(texts) == [tokenizer.encode(text) for text in texts]


def test_decoding_leaves_control_tokens_out(tiny_qwen2: Path) -> None:
    tokenizer = CodeTokenizer.from_folder(tiny_qwen2)
    spellings = map(tokenizer.token, range(tokenizer.vocabulary_size))
    end = list(spellings).index("<|im_end|>")
    assert tokenizer.decode([*tokenizer.encode("x").ids, end]) == "x"


def test_a_token_id_that_is_none_is_an_error(tokenizer: CodeTokenizer) -> None:
    with pytest.raises(InputError, match=f"a token id below {tokenizer.vocabulary_size}, got 99999"):
        tokenizer.token(99999)


@pytest.mark.parametrize(
    ("normalizer", "expected"),
    [
        (None, None),
        ({"type": "NFC"}, None),
        ({"type": "Replace", "content": "▁"}, {"type": "Replace", "content": "▁"}),
        ({"type": "Sequence", "normalizers": [{"type": "NFKC"}]}, None),
        (
            {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Prepend", "prepend": "▁"}]},
            {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}]},
        ),
    ],
)
def test_only_normalizers_that_rewrite_the_text_are_dropped(
    normalizer: dict[str, object] | None, expected: dict[str, object] | None
) -> None:
    assert for_source_code({"normalizer": normalizer})["normalizer"] == expected


def test_control_tokens_are_marked_and_a_vocabularys_own_added_tokens_are_not() -> None:
    added = [
        {"content": content, "special": False} for content in ("<|fim_prefix|>", "<tool_call>", "\n\n", "<b>")
    ]
    changed = for_source_code({"added_tokens": added})["added_tokens"]
    assert [token["special"] for token in changed] == [True, True, False, False]


def copied_without(folder: Path, to: Path, *names: str) -> Path:
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*.safetensors", *names))
    return to


def test_a_folder_without_a_tokenizer_is_an_error(tiny_qwen2: Path, tmp_path: Path) -> None:
    folder = copied_without(tiny_qwen2, tmp_path / "m", "tokenizer.json")
    with pytest.raises(ModelError, match=r"expected a tokenizer in .*tokenizer\.json"):
        CodeTokenizer.from_folder(folder)


def test_a_broken_tokenizer_is_an_error(tiny_qwen2: Path, tmp_path: Path) -> None:
    folder = copied_without(tiny_qwen2, tmp_path / "m")
    (folder / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=r"expected JSON in .*tokenizer\.json"):
        CodeTokenizer.from_folder(folder)


def test_a_tokenizer_that_is_no_object_is_an_error(tiny_qwen2: Path, tmp_path: Path) -> None:
    folder = copied_without(tiny_qwen2, tmp_path / "m")
    (folder / "tokenizer.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ModelError, match=r"expected a JSON object in .* got list"):
        CodeTokenizer.from_folder(folder)


def test_bos_may_be_declared_as_an_id_only(tiny_llama: Path, tmp_path: Path) -> None:
    folder = copied_without(tiny_llama, tmp_path / "m", "tokenizer_config.json")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "bos_token_id": 7}), encoding="utf-8")
    assert CodeTokenizer.from_folder(folder).prefix_id == 7


def test_a_model_without_any_start_token_is_an_error(tiny_llama: Path, tmp_path: Path) -> None:
    folder = copied_without(tiny_llama, tmp_path / "m", "tokenizer_config.json", "config.json")
    with pytest.raises(ModelError, match=r"expected a BOS token .* name one as bos_token there"):
        CodeTokenizer.from_folder(folder)


def test_bos_may_be_declared_as_an_object(tiny_llama: Path, tmp_path: Path) -> None:
    folder = copied_without(tiny_llama, tmp_path / "m")
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": {"content": "<|im_end|>"}}))
    tokenizer = CodeTokenizer.from_folder(folder)
    assert tokenizer.token(tokenizer.prefix_id) == "<|im_end|>"
