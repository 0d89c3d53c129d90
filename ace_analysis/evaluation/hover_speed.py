"""How long a person waits for what is behind a finding: cold, and where it was explained while they read.

Seen from outside, as by an editor, on the real server with its real worker.
"""

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ace_analysis.errors import AceError, InputError
from ace_analysis.evaluation.editor import URI, Editor, running
from ace_analysis.evaluation.server_speed import SERVER

FUNCTION = '''\
def summarise_orders(orders, currency="EUR", limit=EDITED):
    """Totals by customer, largest first; one BUG is planted below."""
    totals = collections.defaultdict(float)
    refunds = collections.defaultdict(float)
    skipped = []
    for order in orders:
        customer = order.get("customer")
        if customer is None:
            skipped.append(order)
            continue
        if order.get("currency", currency) != currency:
            skipped.append(order)
            continue
        for line in order.get("lines", []):
            price = float(line["price"])
            count = int(line.get("count", 1))
            if count < 0:
                refunds[customer] += price * abs(price)
            else:
                totals[customer] += price * count
        note = order.get("note", "")
        match = re.search(r"discount:(\\d+)", note)
        if match is not None:
            share = int(match.group(1)) / 100
            totals[customer] *= 1 - share
    result = []
    for customer, total in totals.items():
        total -= refunds.get(total, 0.0)
        if total <= 0:
            continue
        result.append((customer, round(total, 2)))
    result.sort(key=lambda pair: pair[1], reverse=True)
    if not result:
        return [], 0, skipped
    best = result[:limit]
    rest = result[limit:]
    if rest:
        other = sum(total for customer, total in rest)
        best.append(("other", round(other, 2)))
    return best, len(best), skipped
'''
"""Forty lines; EDITED is replaced by another number for each round. The amount of a refund is wrong."""

FALSE_ALARMS = 5.0
"""Accepted per 100 lines, so that there is something to hover over."""


ALL = 100
"""More findings than the function can have."""

READING = 2.0
"""Seconds that the engine has rested before a person hovers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoverSpeed:
    """Seconds, one value per round.

    Attributes:
        lines: of the function.
        explained: from asking why, where nothing was prepared, to the explanation.
        hover: from a hover, where the finding was explained ahead, to its answer.
        edit: from the edit before it to its diagnostics, for comparison.
    """

    lines: int
    explained: tuple[float, ...]
    hover: tuple[float, ...]
    edit: tuple[float, ...]

    @property
    def medians(self) -> dict[str, float]:
        return {name: statistics.median(getattr(self, name)) for name in ("explained", "hover", "edit")}


def measure_hover(options: Mapping[str, Any] | None = None, *, rounds: int = 5) -> HoverSpeed:
    """Edit a function of forty lines, then ask why its likeliest finding is one.

    Raises:
        InputError: no rounds.
        AceError: nothing was found in the function, or there was no explanation.
    """
    if rounds < 1:
        raise InputError(f"expected at least one round, got {rounds}")
    check = {"max_false_alarms": FALSE_ALARMS}
    with running(SERVER) as server:
        given = {**(options or {}), "check": check, "cache": {"max_megabytes": 0}}
        server.initialize({**given, "explainAhead": 0})
        server.open(_function(0))
        server.rest()
        edits, explained, hovers = list[float](), list[float](), list[float]()
        for number in range(rounds):
            edits.append(server.edit_time(_function(number + 1)))
            position = _finding(server)
            begin = time.perf_counter()
            server.command("ace.explainHere", URI, position, {"show": False})
            explained.append(time.perf_counter() - begin)
        server.set(**given, explainAhead=ALL)
        for number in range(rounds):
            server.edit_time(_function(number + rounds + 1))
            server.idle(READING)
            position = _finding(server)
            begin = time.perf_counter()
            said = server.hover(position)
            hovers.append(time.perf_counter() - begin)
            if "Unexplained" not in said:
                raise AceError(f"expected a hover that was explained ahead, got {said!r}")
    return HoverSpeed(
        lines=FUNCTION.count("\n"), explained=tuple(explained), hover=tuple(hovers), edit=tuple(edits)
    )


def _function(number: int) -> str:
    return "import collections\nimport re\n\n\n" + FUNCTION.replace("EDITED", str(number))


def _finding(server: Editor) -> dict[str, int]:
    """Where the first finding begins."""
    if not server.diagnostics:
        raise AceError(
            f"expected a finding in the measured function at {FALSE_ALARMS:g} false alarms per 100 lines, got"
            " none: there is nothing to hover over"
        )
    return server.diagnostics[0]["range"]["start"]
