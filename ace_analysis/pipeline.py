"""All of ACE for a notebook: findings, planted bugs and error features of some snippets, in one call.

    pipeline = ACEPipeline("qwen2.5-coder-0.5b-instruct")
    pipeline.load()
    results = pipeline.full_analysis(snippets)
    print(results.summary())

What a model can't be asked (it has no bundle, or no sparse coder) is left out and said, never made up.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ace_analysis.engine import Engine
from ace_analysis.errors import BundleError, FingerprintError, InputError
from ace_analysis.features.bundle import ErrorFeature
from ace_analysis.features.comparison import Identification
from ace_analysis.features.detector import SAEDetector, load_coder
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.model.store import Progress
from ace_analysis.report.finding import Finding
from ace_analysis.report.kinds import kind_text
from ace_analysis.settings import DEFAULT_MODEL, EngineSettings
from ace_analysis.source.document import CodeDocument
from ace_analysis.source.mutation import MutationGenerator, MutationPair
from ace_analysis.source.mutation.generator import is_python

MOST_LISTED = 20
"""Findings and features that a summary names; the results hold all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnalysisResults:
    """What was found in some snippets.

    `findings` has an entry per snippet, None where the model has no bundle. `pairs` are bugs planted in the
    snippets, `error_features` the latents that tell those from the originals; `catalog` holds the bundle's
    error features, found in many projects. `unavailable` says what could not be done, and how it could.
    """

    model: str
    snippets: tuple[CodeDocument, ...]
    findings: tuple[tuple[Finding, ...] | None, ...]
    pairs: tuple[MutationPair, ...] = ()
    error_features: tuple[ErrorFeature, ...] = ()
    catalog: tuple[ErrorFeature, ...] = ()
    unavailable: tuple[str, ...] = ()

    def summary(self) -> str:
        """The results in words."""
        lines = [f"{len(self.snippets)} snippets read with {self.model}"]
        if any(found is not None for found in self.findings):
            lines += self._finding_lines()
        lines += self._pair_lines()
        lines += [f"Not available: {reason}" for reason in self.unavailable]
        return "\n".join(lines)

    def _finding_lines(self) -> list[str]:
        named = [
            (index, document, finding)
            for index, (document, found) in enumerate(zip(self.snippets, self.findings, strict=True))
            for finding in found or ()
        ]
        lines = [f"Findings: {len(named)} in {len({index for index, _, _ in named})} snippets"]
        for index, document, finding in named[:MOST_LISTED]:
            line, column = document.line_column(finding.span.start)
            text = document.text[finding.span.start : finding.span.end]
            claim = f"{text!r}: {kind_text(finding.kind).claim} (probability {finding.score:.2f})"
            lines.append(f"  snippet {index}, line {line}, column {column + 1}: {claim}")
        return [*lines, *_rest(len(named))]

    def _pair_lines(self) -> list[str]:
        kinds = Counter(pair.mutation_type.value for pair in self.pairs)
        listed = ", ".join(f"{kind} {count}" for kind, count in kinds.most_common())
        lines = [f"Planted bugs: {len(self.pairs)}" + (f" ({listed})" if listed else "")]
        if self.catalog:
            replicated = sum(feature.replicated for feature in self.catalog)
            lines.append(f"Error features of the bundle: {len(self.catalog)}, {replicated} replicated")
        significant = sum(feature.significant for feature in self.error_features)
        lines.append(f"Error features found on these pairs alone: {significant}")
        if self.error_features and not significant:
            lines.append("  strongest candidates, which chance may explain:")
        known = {feature.feature_idx for feature in self.catalog}
        for feature in self.error_features[:MOST_LISTED]:
            rates = (
                f"fires on {feature.rate_buggy:.1%} of wrong places, {feature.rate_matched:.1%} of right ones"
            )
            note = ", also in the bundle" if feature.feature_idx in known else ""
            lines.append(f"  latent {feature.feature_idx}: {rates}, t {feature.t_statistic:.1f}{note}")
        return [*lines, *_rest(len(self.error_features))]


class ACEPipeline:
    """One model and what belongs to it, loaded once."""

    def __init__(
        self,
        name: str = DEFAULT_MODEL,
        *,
        settings: EngineSettings | None = None,
        progress: Progress | None = None,
        seed: int = 0,
    ) -> None:
        """
        Args:
            name: a model as `ace model list` shows it, a hub name, or a folder.
            settings: device, dtype, rate of false alarms and the bounds on error features; the name in them
                is not used.
            progress: told what is being done, and how far it is (0 to 1, or None).
            seed: of the planted bugs.
        """
        settings = settings or EngineSettings()
        self.settings = replace(settings, model=replace(settings.model, name=name))
        self.engine: Engine | None = None
        self.detector: SAEDetector | None = None
        self._tell: Progress = progress or (lambda message, fraction: None)
        self._unavailable: list[str] = []
        self._generator = MutationGenerator(seed=seed)

    def load(self) -> "ACEPipeline":
        """Load the model with its bundle; without a bundle, whatever can be had without one."""
        self._unavailable = []
        try:
            self.engine = Engine.load(self.settings, self._tell)
        except (BundleError, FingerprintError) as error:
            self._unavailable.append(f"findings ({error})")
            return self
        self.detector = SAEDetector(self.engine.scanner, settings=replace(self.settings.sae, layer=None))
        self.detector.use_sae(self.engine.bundle.coder)
        return self

    def load_sae(
        self, path_or_release: str | Path, sae_id: str | None = None, layer: int | None = None
    ) -> None:
        """Look for error features with another sparse coder than the bundle's, or without a bundle.

        Args:
            path_or_release: see `SAEDetector.load_sae`.
            sae_id: which one of a release.
            layer: what the coder reads, if its file doesn't say; by default the settings' `sae.layer`.
        """
        layer = self.settings.sae.layer if layer is None else layer
        coder = load_coder(path_or_release, sae_id, layer)
        self.detector = SAEDetector(self._scanner_for(coder.site.layer), coder.site.layer, self.settings.sae)
        self.detector.use_sae(coder)

    def full_analysis(self, code_snippets: str | Sequence[str]) -> AnalysisResults:
        """Findings in each snippet, bugs planted in it, and the latents that tell them from the originals."""
        texts = [code_snippets] if isinstance(code_snippets, str) else list(code_snippets)
        if not texts or not all(isinstance(text, str) for text in texts):
            raise InputError("expected one or more texts of Python code, got none or something else")
        if self.engine is None and self.detector is None and not self._unavailable:
            self.load()
        documents = tuple(CodeDocument(uri=f"snippet:{index}", text=text) for index, text in enumerate(texts))
        findings = tuple(
            self._findings(document, index / len(texts)) for index, document in enumerate(documents)
        )
        self._tell("planting bugs", None)
        broken = [index for index, text in enumerate(texts) if not is_python(text)]
        notes = [f"planted bugs in snippet {index} (it is not valid Python)" for index in broken]
        pairs = self._generator.generate_pairs(text for text in texts if is_python(text))
        features, reasons = self._error_features(pairs)
        self._tell("done", 1.0)
        return AnalysisResults(
            model=self.settings.model.name,
            snippets=documents,
            findings=findings,
            pairs=tuple(pairs),
            error_features=tuple(features),
            catalog=self.engine.bundle.catalog if self.engine is not None else (),
            unavailable=(*self._unavailable, *notes, *reasons),
        )

    def _findings(self, document: CodeDocument, fraction: float) -> tuple[Finding, ...] | None:
        if self.engine is None:
            return None
        self._tell(f"reading {document.uri}", fraction)
        reports = self.engine.scan(document)
        return tuple(finding for report in reports for finding in report.findings)

    def _error_features(self, pairs: Sequence[MutationPair]) -> tuple[list[ErrorFeature], list[str]]:
        """The features, or why there can be none."""
        if self.detector is None:
            return [], ['error features (no sparse coder: pipeline.load_sae("path/to/sae") takes one)']
        if len(pairs) < 2:
            return [], [
                f"error features of these snippets (they need at least 2 planted bugs, got {len(pairs)})"
            ]
        self._tell(f"comparing {len(pairs)} pairs", None)
        right, wrong = [pair.positive for pair in pairs], [pair.negative for pair in pairs]
        return self.detector.identify_error_features(right, wrong, Identification(paired=True)), []

    def _scanner_for(self, layer: int) -> ResidualScanner:
        """The engine's scanner if it reaches a layer, else one that does."""
        if self.engine is not None and layer < self.engine.scanner.n_blocks:
            return self.engine.scanner
        model = self.settings.model
        options: dict[str, Any] = {"device": model.device, "dtype": model.dtype}
        return load_scanner(model.name, n_blocks=layer + 1, **options)


def _rest(count: int) -> list[str]:
    return [f"  and {count - MOST_LISTED} more"] if count > MOST_LISTED else []
