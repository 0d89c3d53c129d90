"""What a repair says: texts that could replace a wrong place, with the checks that each of them has passed.

Plain, JSON-able and free of torch, so that the language server can hold them. A fix holds the replacement of
one span and not a whole text: a client applies it to the version that it was made for, or refuses it.
"""

from dataclasses import dataclass
from difflib import unified_diff
from enum import StrEnum

from ace_analysis.source.document import CodeDocument, TextSpan


class Gate(StrEnum):
    """The checks, in the order in which a candidate has to pass them."""

    PARSES = "parses"
    """The scope is valid Python."""
    REGION = "region"
    """Nothing outside of the region is changed, and the program is another one."""
    NAMES = "names"
    """No name is used that was defined before and now is not."""
    ERROR_SCORE = "error_score"
    """The region's error score falls below the threshold, or does not rise where there was no finding."""
    LIKELIHOOD = "likelihood"
    """The model finds the whole scope more likely than before."""
    TESTS = "tests"
    """The user's own command succeeds."""


@dataclass(frozen=True, slots=True)
class GateResult:
    """Whether a candidate passed a gate. `note` says in a few words what was measured."""

    gate: Gate
    passed: bool
    note: str = ""


class Source(StrEnum):
    """Where a candidate comes from."""

    EDIT = "edit"
    """One small change of the syntax tree, ranked by the model."""
    TOKEN = "token"
    """The model's own choice for one token of the place, all else kept."""
    GREEDY = "greedy"
    """Written anew by the model, the likeliest token each time."""
    SAMPLE = "sample"
    """Written anew by the model, drawn at random with a fixed seed."""
    STEERED = "steered"
    """Written anew by the model under a steering vector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """One replacement that passed every gate.

    Attributes:
        span: what is replaced, in the document's code points.
        replacement: what stands there then.
        source: where it comes from.
        score: what fixes are ranked by: nats, higher is better. Of a line that a person named, those that the
            whole model did not read come last, and theirs lacks that part: only among them it compares.
        gates: every gate that was asked, in order.
        detail: what was done, in a few words: "`<=` becomes `<`".
        strength: of the steering vector; 0 where none was used.
        verified_by_tests: whether the user's own tests passed with it.
    """

    span: TextSpan
    replacement: str
    source: Source
    score: float
    gates: tuple[GateResult, ...] = ()
    detail: str = ""
    strength: float = 0.0
    verified_by_tests: bool = False

    def applied_to(self, text: str) -> str:
        """The whole new text."""
        return text[: self.span.start] + self.replacement + text[self.span.end :]

    def diff(self, document: CodeDocument) -> str:
        """A unified diff, with the document's uri as the file's name and line ends as \\n."""
        return diff_of(document.uri, document.text, self.applied_to(document.text))


_NO_END = "\\ No newline at end of file\n"


def diff_of(name: str, before: str, after: str) -> str:
    """A unified diff with three lines of context, fit for `git apply`; empty for equal texts."""
    old, new = (_lines(text) for text in (before, after))
    name = name.lstrip("/")
    diff = unified_diff(old, new, f"a/{name}", f"b/{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n{_NO_END}" for line in diff)


def _lines(text: str) -> list[str]:
    """Lines with \\n behind each but the last, if the text doesn't end so; \\r\\n and \\r are as \\n."""
    parts = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [f"{part}\n" for part in parts[:-1]] + [parts[-1]] * bool(parts[-1])
