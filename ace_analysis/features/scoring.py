"""Log-odds that a candidate site is wrong, read from the latents that fire at it and just behind it.

A scan may cost hardly more than the forward pass, so only the tokens that some site is read at are encoded,
into only the latents that the readout weighs, for all prompts of a batch at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ace_analysis.errors import InputError
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.positions import sink_mask, site_positions
from ace_analysis.source.document import TextSpan
from ace_analysis.source.sites import CandidateSite

MOST_EVIDENCE = 5
WIDEST_EXACT = 4096
"""Up to so many latents are encoded in fp32; more of them in the model's own dtype, for the time it takes."""


@dataclass(frozen=True, slots=True)
class SitePrompt:
    """A text with one span for each token that was run, and the sites in it that are to be scored."""

    text: str
    spans: Sequence[TextSpan]
    sites: Sequence[CandidateSite]


@dataclass(frozen=True, slots=True)
class LatentFiring:
    """A latent that speaks for a finding: it fired on the token at `span`, and adds `weight * activation`."""

    latent: int
    span: TextSpan
    activation: float
    threshold: float
    weight: float


@dataclass(frozen=True, slots=True)
class SiteScores:
    """Log-odds of a prompt's sites, nan where one can't be read; evidence for those above the threshold."""

    logits: tuple[float, ...]
    evidence: Mapping[int, tuple[LatentFiring, ...]] = field(default_factory=dict)


class SiteScorer:
    """A bundle made ready to score: the weighed latents alone, on one device."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        evidence_above: float | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        weights = bundle.readout.weights.float()
        weighed = (weights != 0).any(dim=0).nonzero().flatten()
        coder = bundle.coder
        self._columns = weighed.to(device) if coder.k is not None else None
        if coder.k is None:
            coder = coder.narrowed(weighed)
        self._coder = coder.to(device, torch.float32 if coder.d_sae <= WIDEST_EXACT else dtype)
        self._latents: list[int] = weighed.tolist()
        self._thresholds: list[float] = bundle.coder.threshold[weighed].tolist()
        self._weights = weights[:, weighed].to(device)
        self._kind_bias = bundle.readout.kind_bias
        self._slots = bundle.readout.slots
        self._evidence_above = bundle.calibration.loosest if evidence_above is None else evidence_above

    def can_score(self, site: CandidateSite) -> bool:
        """Whether the readout knows the site's kind."""
        return site.kind in self._kind_bias

    def score(
        self, resid: Float[Tensor, "batch pos d_model"], prompts: Sequence[SitePrompt]
    ) -> list[SiteScores]:
        """Scores of each prompt's sites. Rows of `resid` may be padded on the right."""
        if len(resid) != len(prompts):
            raise InputError(f"expected a row of activations per prompt, got {len(resid)} for {len(prompts)}")
        rows = [self._rows(resid[index], prompt) for index, prompt in enumerate(prompts)]
        width = resid.shape[1]
        offsets = [row + index * width * (row >= 0) for index, row in enumerate(rows)]
        flat = torch.cat([offset.flatten() for offset in offsets])
        needed, inverse = torch.unique(flat, return_inverse=True)
        activations = self._encoded(resid, needed)
        places = inverse.split([row.numel() for row in rows])
        return [
            self._scores(prompt, row, place.reshape(row.shape), activations)
            for prompt, row, place in zip(prompts, rows, places, strict=True)
        ]

    def _rows(self, resid: Float[Tensor, "pos d_model"], prompt: SitePrompt) -> Int[Tensor, "site slot"]:
        """Where each site is read; -1 where latents count as 0, -2 for a site that can't be read at all."""
        sites = [site.span for site in prompt.sites]
        rows = site_positions(prompt.text, prompt.spans, sites, self._slots)
        unreadable = (rows < 0).any(dim=1, keepdim=True)
        keep = sink_mask(resid[: len(prompt.spans)]).cpu()
        masked = torch.where(keep[rows.clamp(min=0)], rows, -1)
        return torch.where(unreadable, -2, masked)

    def _encoded(
        self, resid: Float[Tensor, "batch pos d_model"], needed: Int[Tensor, " n"]
    ) -> Float[Tensor, "n latent"]:
        """Weighed latents at flat positions; zeros at negative ones."""
        x = resid.reshape(-1, resid.shape[-1])[needed.clamp(min=0).to(resid.device)]
        latents = self._coder.encode(x)
        if self._columns is not None:
            latents = latents[:, self._columns]
        latents[(needed < 0).to(latents.device)] = 0.0
        return latents

    def _scores(
        self,
        prompt: SitePrompt,
        rows: Int[Tensor, "site slot"],
        places: Int[Tensor, "site slot"],
        latents: Float[Tensor, "n latent"],
    ) -> SiteScores:
        used, local = torch.unique(places, return_inverse=True)
        contributions = (latents[used.to(latents.device)] @ self._weights.T).cpu()
        slots = torch.arange(len(self._slots)).expand(local.shape)
        sums = contributions[local, slots].sum(dim=1).tolist()
        logits = [
            self._kind_bias[site.kind] + total if self.can_score(site) and row[0] > -2 else float("nan")
            for site, row, total in zip(prompt.sites, rows.tolist(), sums, strict=True)
        ]
        found = [index for index, logit in enumerate(logits) if logit >= self._evidence_above]
        evidence = {
            index: self._evidence(prompt, rows[index].tolist(), latents[places[index].to(latents.device)])
            for index in found
        }
        return SiteScores(tuple(logits), evidence)

    def _evidence(
        self, prompt: SitePrompt, positions: list[int], latents: Float[Tensor, "slot latent"]
    ) -> tuple[LatentFiring, ...]:
        """The latents that add most, strongest first; one read through two slots stands there once."""
        weights: dict[tuple[int, int], float] = {}
        activations: dict[tuple[int, int], float] = {}
        fired = latents.nonzero(as_tuple=True)
        values = (each.tolist() for each in (*fired, self._weights[fired], latents[fired]))
        for slot, index, weight, activation in zip(*values, strict=True):
            key = (positions[slot], index)
            weights[key] = weights.get(key, 0.0) + weight
            activations[key] = activation
        strongest = sorted(weights, key=lambda key: -weights[key] * activations[key])[:MOST_EVIDENCE]
        return tuple(
            LatentFiring(
                latent=self._latents[index],
                span=prompt.spans[position],
                activation=activations[position, index],
                threshold=self._thresholds[index],
                weight=weights[position, index],
            )
            for position, index in strongest
            if weights[position, index] > 0
        )
