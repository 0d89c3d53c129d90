"""What a sparse coder's scores have to be compared with: chance, and a dense linear probe.

The probe reads the same layer at the same slots, fitted on the same harvest with the same labels, and it
knows the site's kind, too: whatever it does better is what the sparse coder loses.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import BFloat16, Float
from numpy.typing import NDArray
from scipy import optimize
from torch import Tensor

from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.statistics import Resampling, site_auroc
from ace_analysis.features.examples import BUG
from ace_analysis.features.harvest import KINDS, Progress, Shard, read_shard
from ace_analysis.model.devices import chosen_device
from ace_analysis.model.scan import never

FloatArray = NDArray[np.float64]
_CHUNK = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """`l2` per row, in units of standardised activations: the values that validation projects choose from.

    At most `max_rows` rows are fitted on: bugs take up to half of them, the others are a sample that is
    weighted up to what it stands for. Rows are kept in bf16: 150,000 of 4 x 896 dimensions take a gigabyte.
    """

    l2: tuple[float, ...] = (3e-2, 1e-2, 1e-3)
    max_rows: int = 150_000
    iterations: int = 60
    seed: int = 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DenseProbe:
    """A logistic layer on whole activations: `weights` [slot * d_model] and a bias for each kind of site."""

    weights: Float[Tensor, " feature"]
    kind_bias: Float[Tensor, " kind"]
    l2: float
    rows: int
    """How many rows it was fitted on."""

    def scores(self, shards: Sequence[Path], progress: Progress | None = None) -> FloatArray:
        """Log-odds of all rows of some shards, in the order of a table of them."""
        found: list[Tensor] = []
        for shard in _read(shards, "scoring with the dense probe", progress):
            kinds = shard.row_kind.long()
            parts = [
                _activations(shard, rows).float() @ self.weights + self.kind_bias[kinds[rows]]
                for rows in torch.arange(len(kinds)).split(_CHUNK)
            ]
            found += parts
        return torch.cat(found).double().numpy()


def random_scores(rows: int, seed: int = 0) -> FloatArray:
    """What chance reaches."""
    return np.random.default_rng(seed).random(rows)


def fit_dense_probe(
    train: Sequence[Path],
    validation: Sequence[Path],
    options: ProbeOptions | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> DenseProbe:
    """Fit one probe for each L2 and keep the one with the best site AUROC on the validation shards.

    Args:
        train: shards to fit on.
        validation: shards of other projects; without any, the first L2 is taken.
        options: how to fit.
        progress: told what is being done.
        cancelled: asked in each step of the fit.

    Raises:
        InputError: the shards lack planted bugs or other sites.
        Cancelled: the caller asked to stop.
    """
    options = options or ProbeOptions()
    problem = _Problem.of(_chosen(train, options, progress))
    best: tuple[float, DenseProbe] | None = None
    start = problem.start()
    for number, l2 in enumerate(options.l2 if validation else options.l2[:1]):
        if progress is not None:
            progress(f"fitting the dense probe (L2 {l2:g})", number / len(options.l2))
        start = problem.solve(start, l2, options.iterations, cancelled)
        probe = problem.probe(start, l2)
        quality = _auroc(probe, validation) if validation else 0.0
        if best is None or quality > best[0]:
            best = quality, probe
    if best is None:
        raise InputError("expected at least one L2 to fit the dense probe with, got none")
    return best[1]


def _auroc(probe: DenseProbe, shards: Sequence[Path]) -> float:
    wrong = torch.cat([read_shard(path).row_label == BUG for path in shards]).numpy()
    return site_auroc(
        probe.scores(shards), wrong, np.zeros(len(wrong), dtype=int), Resampling(resamples=0)
    ).value


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Rows:
    activations: BFloat16[Tensor, "row feature"]
    kind: Tensor
    wrong: Tensor
    weight: Tensor


def _chosen(shards: Sequence[Path], options: ProbeOptions, progress: Progress | None) -> _Rows:
    """All bugs and a sample of the other rows, or as many of both as there is room for."""
    labels = [read_shard(path).row_label.numpy() == BUG for path in shards]
    bugs = sum(int(each.sum()) for each in labels)
    others = sum(map(len, labels)) - bugs
    if not bugs or not others:
        raise InputError(f"a probe needs planted bugs and other sites, got {bugs} and {others}")
    share_of_bugs = min(1.0, options.max_rows / 2 / bugs)
    share_of_others = min(1.0, (options.max_rows - bugs * share_of_bugs) / others)
    rng = np.random.default_rng(options.seed)
    parts: dict[str, list[Tensor]] = {name: [] for name in ("activations", "kind", "wrong", "weight")}
    for shard in _read(shards, "reading activations", progress):
        wrong = shard.row_label.numpy() == BUG
        share = np.where(wrong, share_of_bugs, share_of_others)
        rows = torch.from_numpy(np.flatnonzero(rng.random(len(wrong)) < share))
        parts["activations"].append(_activations(shard, rows))
        parts["kind"].append(shard.row_kind.long()[rows])
        parts["wrong"].append(torch.from_numpy(wrong)[rows].float())
        parts["weight"].append(torch.from_numpy(1.0 / share)[rows].float())
    return _Rows(**{name: torch.cat(part) for name, part in parts.items()})


def _read(shards: Sequence[Path], message: str, progress: Progress | None) -> Iterator[Shard]:
    for number, path in enumerate(shards):
        if progress is not None:
            progress(message, number / len(shards))
        yield read_shard(path)


def _activations(shard: Shard, rows: Tensor) -> BFloat16[Tensor, "row feature"]:
    """The slots side by side, zero where a scan reads nothing: at sinks and at position 0."""
    slots = shard.row_slots.long()[rows]
    return (shard.resid[slots] * shard.keep[slots].unsqueeze(-1)).flatten(1)


class _Problem:
    """Logistic regression on standardised activations; standardising is folded into the weights."""

    def __init__(self, rows: _Rows, mean: Tensor, scale: Tensor) -> None:
        self._rows = rows
        self._mean, self._scale = mean, scale
        self._weight = rows.weight / rows.weight.sum()
        self._kinds = torch.nn.functional.one_hot(rows.kind, len(KINDS)).float()

    @classmethod
    def of(cls, rows: _Rows) -> "_Problem":
        device = chosen_device("auto")
        placed = _Rows(
            activations=rows.activations.to(device),
            kind=rows.kind.to(device),
            wrong=rows.wrong.to(device),
            weight=rows.weight.to(device),
        )
        count, width = placed.activations.shape
        total, squares = torch.zeros(2, width, dtype=torch.float64, device=device)
        for part in placed.activations.split(_CHUNK):
            total += part.double().sum(0)
            squares += part.double().square().sum(0)
        mean = total / count
        deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
        return cls(placed, mean.float(), deviation.clamp_min(1e-6).float())

    def start(self) -> FloatArray:
        """No weights, and the rate of bugs as every kind's bias."""
        rate = float((self._weight * self._rows.wrong).sum())
        start = np.zeros(len(self._mean) + len(KINDS))
        start[len(self._mean) :] = np.log(rate / (1 - rate))
        return start

    def solve(
        self, start: FloatArray, l2: float, iterations: int, cancelled: Callable[[], bool]
    ) -> FloatArray:
        def ask(_: FloatArray) -> None:
            if cancelled():
                raise Cancelled("the fit of the dense probe was stopped by the caller; nothing was kept")

        found = optimize.minimize(
            lambda at: self._loss(at, l2),
            start,
            jac=True,
            method="L-BFGS-B",
            callback=ask,
            options={"maxiter": iterations, "maxcor": 10},
        )
        return found.x

    def probe(self, solution: FloatArray, l2: float) -> DenseProbe:
        weights, bias = self._unscaled(solution)
        return DenseProbe(weights=weights.cpu(), kind_bias=bias.cpu(), l2=l2, rows=len(self._rows.kind))

    def _unscaled(self, solution: FloatArray) -> tuple[Tensor, Tensor]:
        """Weights and biases for activations as they are."""
        at = torch.from_numpy(solution).float().to(self._mean.device)
        weights = at[: len(self._mean)] / self._scale
        return weights, at[len(self._mean) :] - self._mean @ weights

    def _loss(self, at: FloatArray, l2: float) -> tuple[float, FloatArray]:
        weights, bias = self._unscaled(at)
        rows = self._rows
        gradient, residuals, loss = torch.zeros_like(weights), [], 0.0
        parts = (rows.activations, rows.kind, rows.wrong, self._weight)
        for x, kind, wrong, weight in zip(*(each.split(_CHUNK) for each in parts), strict=True):
            wide = x.float()
            z = wide @ weights + bias[kind]
            loss += float((weight * (torch.nn.functional.softplus(z) - wrong * z)).double().sum())
            residual = weight * (torch.sigmoid(z) - wrong)
            gradient += wide.T @ residual
            residuals.append(residual)
        residual = torch.cat(residuals)
        inner = at[: len(self._mean)]
        by_weight = ((gradient - self._mean * residual.sum()) / self._scale).double().cpu().numpy()
        by_bias = (self._kinds.T @ residual).double().cpu().numpy()
        return loss + l2 * float(inner @ inner), np.concatenate([by_weight + 2 * l2 * inner, by_bias])
