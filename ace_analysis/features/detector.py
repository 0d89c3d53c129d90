"""Error features of any supported model with any sparse coder, at a prompt or in a notebook.

    detector = SAEDetector(model, layer=12)
    detector.load_sae("path/to/sae")
    features = detector.identify_error_features(positive_inputs=correct, negative_inputs=buggy)

Inputs are texts (for example the `positive` and `negative` texts of mutation pairs) or token ids. As many
right as wrong inputs that mostly agree are compared pair by pair where they differ; others as wholes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ace_analysis.errors import InputError
from ace_analysis.features.bundle import ErrorFeature
from ace_analysis.features.comparison import (
    Identification,
    compare_pairs,
    compare_wholes,
    ordinary_tokens,
)
from ace_analysis.features.inputs import Inputs, pairs_of, tokenized_inputs
from ace_analysis.features.matrices import FloatArray, firing
from ace_analysis.features.reading import Reading, device_of, read_latents, width_of
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.storage import is_own_coder, load_sparse_coder
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.model.sites import Site
from ace_analysis.model.tokens import CodeTokenizer, TokenizedText
from ace_analysis.settings import SaeSettings
from ace_analysis.source.document import TextSpan

SAE_LENS_CONFIG = "cfg.json"

FALSE_SHARE = 0.01
"""Share of the tokens of right inputs that may score above the threshold of `detect`."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Detection:
    """One input's scores, a number per token; `spans` are the tokens' places in a text.

    A score sums, over the error features that fire on the token, the logarithm of how much more often they
    fire on wrong code. `threshold` is exceeded by at most 1 % of the tokens of the right inputs that the
    features were found on. Neither is calibrated (a bundle's scores are): expect more alarms on other code.
    """

    ids: tuple[int, ...]
    spans: tuple[TextSpan, ...]
    scores: tuple[float, ...]
    threshold: float

    @property
    def flagged(self) -> tuple[int, ...]:
        """Positions whose score exceeds the threshold."""
        return tuple(at for at, score in enumerate(self.scores) if score > self.threshold)


def load_coder(path_or_release: str | Path, sae_id: str | None, layer: int | None) -> SparseCoder:
    """A sparse coder at the layer that it says it reads, or, where its file says nothing, at `layer`."""
    path = Path(path_or_release)
    says_where = is_own_coder(path) or (path / SAE_LENS_CONFIG).is_file() or not path.exists()
    if not says_where and layer is None:
        raise InputError(f"{path}: this file doesn't say which layer it reads; pass layer=N")
    site = None if says_where or layer is None else Site(layer)
    return load_sparse_coder(path_or_release, sae_id, site=site)


class SAEDetector:
    """Finds the latents of a sparse coder that fire more on wrong code."""

    def __init__(self, model: Any, layer: int | None = None, settings: SaeSettings | None = None) -> None:
        """
        Args:
            model: from `load_hooked_model`, or, faster, from `load_scanner`; for token ids, anything with
                TransformerLens' `run_with_cache`.
            layer: block whose output the coder reads, 0 is the first; None: the settings', else the coder's.
            settings: `t_threshold` and `top_k_features` bound the list.
        """
        self.model = model
        self.settings = settings or SaeSettings()
        self.layer = layer if layer is not None else self.settings.layer
        self.coder: SparseCoder | None = None
        self._tokenizer = model.tokenizer if isinstance(model, ResidualScanner) else None
        self.features: list[ErrorFeature] = []
        self._weights: FloatArray = np.zeros(0)
        self._threshold = 0.0

    def load_sae(self, path_or_release: str | Path, sae_id: str | None = None) -> SparseCoder:
        """Read a sparse coder: a bundle's, a sae_lens folder, a weight file, or a release and an `sae_id`."""
        return self.use_sae(load_coder(path_or_release, sae_id, self.layer))

    def use_sae(self, coder: SparseCoder) -> SparseCoder:
        """Take a sparse coder that is already in memory."""
        layer = coder.site.layer if self.layer is None else self.layer
        if coder.site.layer != layer:
            raise InputError(
                f"this sparse coder reads layer {coder.site.layer}, not {layer}: "
                f"use SAEDetector(model, layer={coder.site.layer})"
            )
        width = width_of(self.model)
        if coder.site.head is None and coder.site.stream.startswith("resid") and coder.d_model != width:
            raise InputError(
                f"this sparse coder reads {coder.d_model} numbers per token, but the model has {width}: "
                "it was trained on another model"
            )
        self.layer = layer
        self.coder = coder.to(device_of(self.model))
        self.features = []
        return self.coder

    def identify_error_features(
        self,
        positive_inputs: Inputs,
        negative_inputs: Inputs,
        options: Identification | None = None,
    ) -> list[ErrorFeature]:
        """Latents that fire more on wrong inputs, strongest first.

        Either all are `significant`: `options.fdr` bounds the share of false ones. Thousands of latents are
        tested, so this takes hundreds of pairs, or a few dozen with one kind of bug. Or, where chance may
        explain every difference, they are the strongest candidates, each with its `q_value` and `significant`
        False: something to look at, not a finding.

        Pairs are compared at the tokens in which they differ (the largest activation there), and with the
        same tokens elsewhere in right inputs: a latent that stands for a token is no error feature. Inputs
        without partners are compared as wholes; longer wrong inputs then look wrong in many latents.

        Args:
            positive_inputs: right code; texts, or token ids without padding.
            negative_inputs: the same with bugs, or other code that is wrong.
            options: how to compare.
        """
        options = options or Identification()
        right, wrong = self._tokenized(positive_inputs), self._tokenized(negative_inputs)
        if min(len(right), len(wrong)) < 2:
            raise InputError(
                f"error features need at least 2 right and 2 wrong inputs, got {len(right)} and {len(wrong)}"
            )
        changes = pairs_of(right, wrong, options.paired)
        coder = self._ready()
        before, after = (
            read_latents(self.model, coder, [row.ids for row in rows]) for rows in (right, wrong)
        )
        if changes is None:
            found = compare_wholes(before, after, options)
        else:
            found = compare_pairs(before, after, changes, options)
        self.features = self._chosen(found)
        self._calibrate(before, after)
        return list(self.features)

    def detect(self, inputs: Inputs) -> list[Detection]:
        """Scores of each token of each input, by the error features that were identified last.

        If those are candidates only, so are the scores: see `identify_error_features`.
        """
        if not self.features:
            raise InputError(
                "no error features yet: call identify_error_features first, and see what it finds"
            )
        rows = self._tokenized(inputs)
        reading = read_latents(self.model, self._ready(), [row.ids for row in rows])
        scores = np.split(self._scores(reading), reading.starts[1:])
        return [
            Detection(
                ids=tuple(row.ids),
                spans=tuple(row.spans),
                scores=tuple(values.tolist()),
                threshold=self._threshold,
            )
            for row, values in zip(rows, scores, strict=True)
        ]

    def _tokenized(self, inputs: Inputs) -> list[TokenizedText]:
        if self._tokenizer is None:
            info = getattr(self.model, "ace", None)
            self._tokenizer = CodeTokenizer.from_folder(info.folder) if info is not None else None
        return tokenized_inputs(inputs, self._tokenizer)

    def _ready(self) -> SparseCoder:
        if self.coder is None:
            raise InputError('no sparse coder yet: call load_sae("path/to/sae") first')
        return self.coder

    def _chosen(self, found: Sequence[ErrorFeature]) -> list[ErrorFeature]:
        """The strongest that exceed the threshold, in the order of their t-statistics, rare ones first."""
        strong = [feature for feature in found if abs(feature.paired_t) >= self.settings.t_threshold]
        strong.sort(key=lambda feature: (-abs(feature.paired_t), feature.density))
        return sorted(
            strong[: self.settings.top_k_features],
            key=lambda feature: (-feature.t_statistic, feature.density),
        )

    def _calibrate(self, right: Reading, wrong: Reading) -> None:
        n = min(len(right), len(wrong))
        usual = np.array([max(feature.rate_matched, feature.density) for feature in self.features])
        wrongly = np.array([feature.rate_buggy for feature in self.features])
        self._weights = np.maximum(np.log((n * wrongly + 0.5) / (n * usual + 0.5)), 0.0)
        scores = np.sort(self._scores(right)[ordinary_tokens(right)])[::-1]
        self._threshold = float(scores[int(FALSE_SHARE * len(scores))]) if len(scores) else 0.0

    def _scores(self, reading: Reading) -> FloatArray:
        columns = [feature.feature_idx for feature in self.features]
        return np.asarray(firing(reading.latents[:, columns]) @ self._weights).ravel()
