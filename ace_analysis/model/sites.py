"""Names of places in a model. No other module spells a hook's name.

A hook name is a string that is only wrong when it silently never fires; a `Site` can be checked, compared,
stored and turned into the name that TransformerLens uses.
"""

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from ace_analysis.errors import InputError

Stream = Literal[
    "resid_pre",
    "resid_mid",
    "resid_post",
    "attn_out",
    "mlp_out",
    "q",
    "k",
    "v",
    "z",
    "attn_scores",
    "pattern",
]

STREAMS: tuple[Stream, ...] = get_args(Stream)

_IN_ATTENTION = ("q", "k", "v", "z", "attn_scores", "pattern")
_WITH_HEADS = _IN_ATTENTION
_HOOK_NAME = re.compile(r"blocks\.(\d+)\.(?:attn\.)?hook_(\w+)")
_NAME = re.compile(r"(\d+)\.(\w+?)(?:\.(\d+))?")


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """A stream at a layer (0 is the first block), or one head's part of it."""

    layer: int
    stream: Stream = "resid_post"
    head: int | None = None

    def __post_init__(self) -> None:
        _stream_of(self.stream)
        if self.layer < 0 or (self.head is not None and self.head < 0):
            raise InputError(f"expected a layer and a head from 0 up, got {self.layer} and {self.head}")
        if self.head is not None and self.stream not in _WITH_HEADS:
            streams = ", ".join(_WITH_HEADS)
            raise InputError(f"expected no head at {self.stream!r}: only {streams} have heads")

    @property
    def hook_name(self) -> str:
        """The name in TransformerLens: `blocks.9.hook_resid_post`."""
        inside = "attn." if self.stream in _IN_ATTENTION else ""
        return f"blocks.{self.layer}.{inside}hook_{self.stream}"

    def __str__(self) -> str:
        return f"{self.layer}.{self.stream}" + ("" if self.head is None else f".{self.head}")

    @classmethod
    def parse(cls, text: str) -> "Site":
        """Read what `str(site)` or `site.hook_name` gave."""
        hook = _HOOK_NAME.fullmatch(text)
        if hook is not None:
            return cls(int(hook[1]), _stream_of(hook[2]))
        name = _NAME.fullmatch(text)
        if name is None:
            raise InputError(f'expected a site such as "9.resid_post" or "9.z.3", got {text!r}')
        return cls(int(name[1]), _stream_of(name[2]), None if name[3] is None else int(name[3]))


def _stream_of(text: str) -> Stream:
    if text not in STREAMS:
        raise InputError(f"expected a stream among {', '.join(STREAMS)}, got {text!r}")
    return cast(Stream, text)
