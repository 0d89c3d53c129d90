"""Which (mu, tau) erases a concept best: a grid, with what can't win any more left out.

A setting is judged by the harmonic mean of three shares: efficacy (how much of the concept is gone),
specificity (how much of what is near it is left) and coherence (how much of everything else is left). A
stronger setting (higher mu, lower tau) damages at least as much as a weaker one, so once a weaker one's
specificity and coherence could not win even with full efficacy, no stronger one is tried.

Source: grid and objective, Gur-Arieh et al. 2025 (PISCES, arXiv:2505.22586), section 4; the bound is ours.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from ace_analysis.editing.concept import Concept
from ace_analysis.editing.pisces import PISCES
from ace_analysis.editing.plan import EditPlan
from ace_analysis.errors import Cancelled, InputError

MUS = (4.0, 7.0, 10.0, 13.0, 18.0, 24.0, 30.0, 36.0, 42.0, 50.0)
TAUS = (0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.5, 0.4, 0.3, 0.2)
"""The paper's grid."""


class Kept(Protocol):
    """Where results are kept, such as an evaluation.ledger.Ledger."""

    def get(self, key: str) -> Any | None: ...

    def put(self, key: str, value: Any) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Three shares from 0 to 1; 1 is best."""

    efficacy: float
    specificity: float
    coherence: float

    @property
    def score(self) -> float:
        """The harmonic mean; 0 where one of them is 0."""
        shares = (self.efficacy, self.specificity, self.coherence)
        return 0.0 if min(shares) <= 0 else 3 / sum(1 / each for each in shares)

    @property
    def bound(self) -> float:
        """What the score would be if the concept were gone altogether."""
        return Quality(efficacy=1.0, specificity=self.specificity, coherence=self.coherence).score


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    mu: float
    tau: float
    quality: Quality


@dataclass(frozen=True, slots=True)
class Search:
    """`tried` in the order of trying; `left_out` counts those that could not win."""

    best: Tried
    tried: tuple[Tried, ...]
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """`kept` and `key`: results are read from and written to it under this name."""

    mus: Sequence[float] = MUS
    taus: Sequence[float] = TAUS
    kept: Kept | None = None
    key: str = ""

    def __post_init__(self) -> None:
        if not self.mus or not self.taus:
            raise InputError(f"expected at least one mu and one tau, got {self.mus} and {self.taus}")

    def settings(self) -> list[tuple[float, float]]:
        """All of them, weaker ones first."""
        order = [
            (rank + place, mu, tau)
            for rank, mu in enumerate(sorted(set(self.mus)))
            for place, tau in enumerate(sorted(set(self.taus), reverse=True))
        ]
        return [(mu, tau) for _, mu, tau in sorted(order)]


def search(
    plan: Callable[[float, float], EditPlan],
    measure: Callable[[EditPlan], Quality],
    grid: Grid,
    *,
    progress: Callable[[str, float | None], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Search:
    """Try the grid; ties go to the weaker setting.

    Args:
        plan: an edit for mu and tau, see `erasing`.
        measure: on a validation set; what the result is reported on must be another.

    Raises Cancelled where the caller asked to stop; what was measured is kept.
    """
    tried: list[Tried] = []
    best: Tried | None = None
    settings = grid.settings()
    for number, (mu, tau) in enumerate(settings):
        if cancelled():
            raise Cancelled(f"the search was stopped after {len(tried)} settings; what was measured is kept")
        if best is not None and _cannot_win(mu, tau, tried, best):
            continue
        if progress is not None:
            told = "" if best is None else f", best so far {best.quality.score:.3f}"
            progress(f"searching: mu {mu:g}, tau {tau:g}{told}", number / len(settings))
        tried.append(Tried(mu=mu, tau=tau, quality=_quality(plan, measure, grid, mu, tau)))
        if best is None or tried[-1].quality.score > best.quality.score:
            best = tried[-1]
    if best is None:
        raise InputError("expected at least one setting to try, got none")
    return Search(best, tuple(tried), len(settings) - len(tried))


def erasing(pisces: PISCES, concept: Concept, signs: Any = None) -> Callable[[float, float], EditPlan]:
    """What `search` plans: the concept's erasure at (mu, tau)."""
    return lambda mu, tau: pisces.erase(concept, mu, tau, signs=signs)


def _cannot_win(mu: float, tau: float, tried: Sequence[Tried], best: Tried) -> bool:
    weaker = (each for each in tried if each.mu <= mu and each.tau >= tau)
    return any(each.quality.bound <= best.quality.score for each in weaker)


def _quality(
    plan: Callable[[float, float], EditPlan],
    measure: Callable[[EditPlan], Quality],
    grid: Grid,
    mu: float,
    tau: float,
) -> Quality:
    key = f"{grid.key}/{mu:g}/{tau:g}"
    kept = grid.kept.get(key) if grid.kept is not None else None
    if isinstance(kept, dict):
        return Quality(**kept)
    quality = measure(plan(mu, tau))
    if grid.kept is not None:
        grid.kept.put(key, asdict(quality))
    return quality
