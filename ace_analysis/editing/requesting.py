"""From what a person asks for to a request: words, latents, a kind of bug or a direction, and how far to go.

The command line and the language server ask with the same names, so that both make the same edit.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ace_analysis.errors import InputError

MU, TAU = 4.0, 0.5
"""What a search found best for a library's name; `search` finds them for other concepts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditRequest:
    """One of `words`, `latents`, `kind` and `direction` says what goes.

    words: whose tokens' latents of the disentangler are erased.
    texts: code that has the concept; the signs of neurons are read off it. Words need it.
    latents: of the disentangler, erased.
    kind: of bug; the disentangler's latents nearest to its error features are erased.
    direction: "latent:N" of the bundle's sparse coder, or a .safetensors file with one vector: removed.
    embedding: with a direction and "resid_writers", the embedding is changed, too.
    limit: latents at most, of words or of a kind.
    search: for words, instead of `mu` and `tau`: the best of a grid.
    """

    words: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    latents: tuple[int, ...] = ()
    kind: str | None = None
    direction: str | None = None
    layer: int | None = None
    component: str = "mlp_out"
    strength: float = 1.0
    embedding: bool = False
    mu: float = MU
    tau: float = TAU
    search: bool = False
    limit: int = 5
    reason: str = ""
    name: str | None = None
    measure: bool = True

    def __post_init__(self) -> None:
        chosen = [bool(self.words), bool(self.latents), self.kind is not None, self.direction is not None]
        if sum(chosen) != 1:
            raise InputError("expected one of words, latents, kind and direction, to say what is to go")
        if self.words and not self.texts:
            raise InputError(
                "expected texts that have the words together with them, got none: without a text an erasure"
                " can strengthen a word"
            )
        if self.direction is not None and self.texts:
            raise InputError("expected no texts with a direction: it is removed without reading any")
        if self.direction is None and self.embedding:
            raise InputError("expected a direction with embedding: an erasure changes one MLP alone")
        if self.search and not self.words:
            raise InputError("expected words with search: it looks for what makes them least likely")
        if self.limit < 1:
            raise InputError(f"expected a limit of at least 1 latent, got {self.limit}")


def request_from(data: Mapping[str, Any]) -> EditRequest:
    """A request from JSON; names as in EditRequest.

    Raises InputError for a name or a value that can't be used.
    """
    readers: dict[str, tuple[Any, str]] = {
        **dict.fromkeys(("words", "texts"), (lambda v: _list(v, str), "a list of texts")),
        "latents": (lambda v: _list(v, int), "a list of whole numbers"),
        **dict.fromkeys(
            ("kind", "direction", "component", "reason", "name"), (lambda v: _is(v, str), "a text")
        ),
        **dict.fromkeys(("strength", "mu", "tau"), (lambda v: float(_is(v, int | float)), "a number")),
        **dict.fromkeys(("layer", "limit"), (lambda v: _is(v, int), "a whole number")),
        **dict.fromkeys(("measure", "search", "embedding"), (lambda v: _is(v, bool), "true or false")),
    }
    values = {}
    for name, value in data.items():
        if name not in readers:
            known = ", ".join(each.name for each in fields(EditRequest))
            raise InputError(f"expected one of {known}, got {name!r}")
        read, expected = readers[name]
        try:
            if value is not None:
                values[name] = read(value)
        except TypeError as error:
            raise InputError(f"{name}: expected {expected}, got {value!r}") from error
    return EditRequest(**values)


def _list(value: Any, kind: type) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple) or not all(_is(each, kind) is not None for each in value):
        raise TypeError
    return tuple(value)


def _is(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise TypeError
    return value
