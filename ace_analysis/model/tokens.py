"""Text to tokens, and each token's place in the text.

The `tokenizers` library is used directly: it loads in a third of the time that transformers' wrapper takes,
and the wrapper adds what source code can't bear. Source code is data, so three things are made sure here:

    no normalizer that rewrites   NFC would change decomposed accents and move every offset behind them
    no control tokens             `<|im_end|>` in a string literal is text and not the end of a turn
    one prefix token, always      position 0 is an attention sink; with a fixed token there, every model reads
                                  the first token of the code at position 1
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from ace_analysis.errors import InputError, ModelError
from ace_analysis.source.document import TextSpan

DOCUMENT_START = "<|endoftext|>"
"""What stands between documents where no beginning-of-sequence token does."""

_REWRITING = frozenset({"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Strip", "Nmt"})
_CONTROL = re.compile(r"<\|.*\|>|</?tool_(call|response)>")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PREFIX = TextSpan(0, 0)


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """Token ids, and for each of them the code points that it came from.

    Index 0 is the prefix token with an empty span. A character that takes several tokens gives each of them
    its whole span; starts and ends never go back.
    """

    ids: list[int]
    spans: list[TextSpan]

    def __len__(self) -> int:
        return len(self.ids)


class CodeTokenizer:
    """A model's tokenizer, for source code."""

    def __init__(self, tokenizer: Tokenizer, prefix_id: int) -> None:
        self._tokenizer = tokenizer
        self.prefix_id = prefix_id

    @classmethod
    def from_folder(cls, folder: str | Path) -> "CodeTokenizer":
        """Read `tokenizer.json` of a model's folder."""
        folder = Path(folder)
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise ModelError(
                f"expected a tokenizer in {path}, got no such file; save the model's fast tokenizer there"
            )
        described = for_source_code(_json_of(path))
        tokenizer = Tokenizer.from_str(json.dumps(described, ensure_ascii=False))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        return cls(tokenizer, _prefix_id(tokenizer, folder))

    @property
    def vocabulary_size(self) -> int:
        return self._tokenizer.get_vocab_size(with_added_tokens=True)

    def encode(self, text: str) -> TokenizedText:
        return self._tokenized(self._tokenizer.encode(_encodable(text), add_special_tokens=False))

    def encode_many(self, texts: Iterable[str]) -> list[TokenizedText]:
        """The same as `encode` for each text, in parallel."""
        encodable = [_encodable(text) for text in texts]
        return [
            self._tokenized(each)
            for each in self._tokenizer.encode_batch(encodable, add_special_tokens=False)
        ]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens; prefix and control tokens have none."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def token(self, token_id: int) -> str:
        """The vocabulary's own spelling of a token."""
        spelling = self._tokenizer.id_to_token(token_id)
        if spelling is None:
            raise InputError(f"expected a token id below {self.vocabulary_size}, got {token_id}")
        return spelling

    def id_of(self, token: str) -> int | None:
        """The id of a token or control token, in the vocabulary's own spelling; None for an unknown one."""
        return self._tokenizer.token_to_id(token)

    def spell(self, token_id: int) -> str:
        """A token's text; the vocabulary's own spelling where it has none of its own: half a character."""
        text = self._tokenizer.decode([token_id], skip_special_tokens=False)
        return self.token(token_id) if not text or "\ufffd" in text else text

    def _tokenized(self, encoding: Encoding) -> TokenizedText:
        spans = [_PREFIX]
        start = end = 0
        for token_start, token_end in encoding.offsets:
            start, end = max(start, token_start), max(end, token_end)
            spans.append(TextSpan(start, end))
        return TokenizedText([self.prefix_id, *encoding.ids], spans)


def for_source_code(described: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer.json's content, changed so that no text is rewritten and none is read as control tokens."""
    added = [
        {**token, "special": True} if _CONTROL.fullmatch(token["content"]) else token
        for token in described.get("added_tokens", ())
    ]
    return {**described, "normalizer": _faithful(described.get("normalizer")), "added_tokens": added}


def _faithful(normalizer: dict[str, Any] | None) -> dict[str, Any] | None:
    """A normalizer without the steps that rewrite the text."""
    if normalizer is None or normalizer.get("type") in _REWRITING:
        return None
    if normalizer.get("type") == "Sequence":
        steps = [step for step in map(_faithful, normalizer["normalizers"]) if step is not None]
        return {**normalizer, "normalizers": steps} if steps else None
    return normalizer


def _encodable(text: str) -> str:
    """Lone surrogates, which no tokenizer takes, become U+FFFD: one code point as well, so offsets stay."""
    return _SURROGATE.sub("\ufffd", text)


def _prefix_id(tokenizer: Tokenizer, folder: Path) -> int:
    """BOS where the model has one of its own, else what stands between documents."""
    config = _json_of(folder / "config.json")
    declared = _json_of(folder / "tokenizer_config.json").get("bos_token")
    declared = declared.get("content") if isinstance(declared, dict) else declared
    names = [declared, DOCUMENT_START]
    if str(config.get("model_type", "")).startswith("qwen"):
        names.reverse()
    for name in names:
        found = tokenizer.token_to_id(name) if name else None
        if found is not None:
            return found
    if isinstance(config.get("bos_token_id"), int):
        return config["bos_token_id"]
    raise ModelError(
        f"expected a BOS token in {folder / 'tokenizer_config.json'} or {DOCUMENT_START!r} in the vocabulary,"
        " got neither; name one as bos_token there"
    )


def _json_of(path: Path) -> dict[str, Any]:
    """A JSON file's object; empty where there is no file."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"expected JSON in {path}, got {error}; get the model again") from error
    if not isinstance(content, dict):
        raise ModelError(
            f"expected a JSON object in {path}, got {type(content).__name__}; get the model again"
        )
    return content
