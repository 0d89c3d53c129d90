"""How long a person waits for a fix of one line, and for the answer once they have thought better of it.

Seen from outside, as by an editor, on the real server with its real worker. A cancel is timed twice: to the
answer that the editor gets, and to the engine at rest, which is when the processor is the person's again.
"""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ace_analysis.errors import AceError, InputError
from ace_analysis.evaluation.editor import URI, Cancel, running
from ace_analysis.evaluation.hover_speed import FUNCTION
from ace_analysis.evaluation.server_speed import SERVER

WRONG = "refunds[customer] += price * abs(price)"
"""The line that is wrong in the function."""

COMMAND = "ace.regenerate"

CANCELLED_AFTER = (0.25, 1.0, 2.0, 3.0, 4.0)
"""Seconds into a fix at which it is cancelled, in turns: what it is in the middle of then differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixSpeed:
    """Seconds.

    Attributes:
        lines: of the function.
        cold: the first fix, for which the rest of the model is loaded.
        fix: from asking for a fix to the candidates, one value per round.
        cancel: from a cancel to its answer, for each fix that was still being made.
        rest: from a cancel to the engine at rest, likewise.
    """

    lines: int
    cold: float
    fix: tuple[float, ...]
    cancel: tuple[float, ...]
    rest: tuple[float, ...]

    @property
    def medians(self) -> dict[str, float]:
        return {"fix": statistics.median(self.fix)}

    @property
    def worst(self) -> dict[str, float]:
        return {name: max(getattr(self, name)) for name in ("cancel", "rest")}


def measure_fix(options: Mapping[str, Any] | None = None, *, rounds: int = 5) -> FixSpeed:
    """Have the wrong line of a function written anew, and change one's mind as often.

    Raises:
        InputError: no rounds.
        AceError: the server doesn't answer, or each fix was there before it could be cancelled.
    """
    if rounds < 1:
        raise InputError(f"expected at least one round, got {rounds}")
    with running(SERVER) as server:
        server.initialize({**(options or {}), "cache": {"max_megabytes": 0}, "explainAhead": 0})
        server.open(_text(0))
        server.rest()
        cold = server.command_time(COMMAND, URI, _place(0), {"apply": False})
        fixes, cancels = list[float](), list[Cancel]()
        for number in range(1, rounds + 1):
            server.edit_time(_text(number))
            fixes.append(server.command_time(COMMAND, URI, _place(number), {"apply": False}))
        for number in range(rounds):
            server.edit_time(_text(rounds + number + 1))
            after = CANCELLED_AFTER[number % len(CANCELLED_AFTER)]
            place = _place(rounds + number + 1)
            if (cancel := server.cancel_time(after, COMMAND, URI, place, {"apply": False})) is not None:
                cancels.append(cancel)
    if not cancels:
        raise AceError(
            "expected fixes that take longer than a person to cancel them, and each was there before"
        )
    return FixSpeed(
        lines=FUNCTION.count("\n"),
        cold=cold,
        fix=tuple(fixes),
        cancel=tuple(each.answered for each in cancels),
        rest=tuple(each.rested for each in cancels),
    )


def _text(number: int) -> str:
    return "import collections\nimport re\n\n\n" + FUNCTION.replace("EDITED", str(number))


def _place(number: int) -> dict[str, dict[str, int]]:
    """The wrong line, without its indentation."""
    text = _text(number)
    at = text.index(WRONG)
    line, column = text.count("\n", 0, at), at - text.rfind("\n", 0, at) - 1
    return {
        "start": {"line": line, "character": column},
        "end": {"line": line, "character": column + len(WRONG)},
    }
