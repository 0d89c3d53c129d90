"""The engine's verbs. Everything that a finding is made of was decided below; this only wires it together."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from ace_analysis.engine import scores as kept
from ace_analysis.engine.cache import ResultCache
from ace_analysis.engine.fixing import Fixer, FixOptions
from ace_analysis.engine.places import place_at
from ace_analysis.engine.prompts import Piece, Reading, ScopePrompt, batches_of, padded, pieces_of
from ace_analysis.engine.reports import Rules, report_of
from ace_analysis.engine.scores import ScopeScores
from ace_analysis.engine.tasks import Counters, ExplainOptions, ScanOptions, Task, collect
from ace_analysis.engine.whole import WholeModel
from ace_analysis.errors import BundleError, Cancelled, SettingsError
from ace_analysis.features.bundle import Bundle, find_bundle
from ace_analysis.features.scoring import SiteScorer, SiteScores
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner, never
from ace_analysis.model.store import Progress, resolve_model
from ace_analysis.report.attribution import Attribution
from ace_analysis.report.finding import ScopeReport
from ace_analysis.report.repair import Fix
from ace_analysis.settings import EngineSettings, cache_dir
from ace_analysis.source.document import CodeDocument, TextSpan
from ace_analysis.source.ignores import ignores_of
from ace_analysis.source.kinds import KINDS
from ace_analysis.source.sites import SiteKind, candidate_sites
from ace_analysis.source.syntax import scopes_of

RESULTS = "results"
TOKENS_PER_BATCH_CPU = 1024
TOKENS_PER_BATCH_GPU = 16384
"""More would gain little speed, and each batch is how long an answer or a cancel has to wait."""


class Engine:
    """One model and one bundle. Used from one thread at a time."""

    def __init__(
        self,
        scanner: ResidualScanner,
        bundle: Bundle,
        settings: EngineSettings | None = None,
        cache: ResultCache | None = None,
    ) -> None:
        bundle.check_fingerprint(scanner.info.fingerprint)
        if bundle.coder.d_model != scanner.info.d_model:
            raise BundleError(
                f"{bundle.folder}: its sparse coder reads {bundle.coder.d_model} dimensions, "
                f"{scanner.info.name} has {scanner.info.d_model}"
            )
        self.scanner = scanner
        self.bundle = bundle
        self.settings = settings or EngineSettings()
        self.counters = Counters()
        self._whole = WholeModel(scanner.info)
        self._hidden = _known_kinds(self.settings.check.ignore)
        self._cache = cache or ResultCache(None, 0)
        self._scorer = SiteScorer(bundle, device=scanner.info.device, dtype=scanner.info.dtype)
        self._reading = Reading(bundle.readout.slots, bundle.max_tokens)
        self._identity = (scanner.info.fingerprint, bundle.identity(), str(scanner.info.dtype))

    @classmethod
    def load(cls, settings: EngineSettings, progress: Progress | None = None) -> "Engine":
        """The model and the bundle that the settings name, with what was kept of earlier scans."""
        tell = progress or (lambda message, fraction: None)
        tell(f"looking for {settings.model.name}", 0.0)
        model = resolve_model(settings.model.name, progress)
        bundle = find_bundle(model.name, model.fingerprint)
        tell(f"loading {model.name}", 0.1)
        scanner = load_scanner(
            settings.model.name,
            device=settings.model.device,
            dtype=settings.model.dtype,
            n_blocks=bundle.layer + 1,
        )
        cache = ResultCache(cache_dir() / RESULTS, int(settings.cache.max_megabytes * 1e6))
        tell("ready", 1.0)
        return cls(scanner, bundle, settings, cache)

    def info(self) -> dict[str, Any]:
        """What runs here, as JSON."""
        about = self.scanner.info
        return {
            "model": about.name,
            "fingerprint": about.fingerprint,
            "device": str(about.device),
            "dtype": str(about.dtype).removeprefix("torch."),
            "bundle": str(self.bundle.folder),
            "layer": self.bundle.layer,
            "d_sae": self.bundle.coder.d_sae,
            "error_features": len(self.bundle.catalog),
            **({} if about.edited_from is None else {"edited_from": about.edited_from}),
        }

    def scan(
        self,
        document: CodeDocument,
        *,
        options: ScanOptions | None = None,
        cancelled: Callable[[], bool] = never,
        on_scope: Callable[[ScopeReport], None] | None = None,
    ) -> tuple[ScopeReport, ...]:
        """Reports on a document's scopes, in source order; each is also told as soon as it is there.

        Raises:
            Cancelled: when `cancelled()` turns true; what was read till then is kept for the next scan.
        """
        options = options or ScanOptions()
        started = time.perf_counter()
        rules = self._rules(document, options)
        reports: list[ScopeReport] = []
        try:
            for task, scores, from_cache in self._scores(self._tasks(document, options), cancelled):
                for scope in task.scopes:
                    report = report_of(document, scope, scores, rules, from_cache=from_cache)
                    reports.append(report)
                    if on_scope is not None:
                        on_scope(report)
        finally:
            self.counters.seconds += time.perf_counter() - started
        return tuple(sorted(reports, key=lambda report: report.scope))

    def explain(
        self,
        document: CodeDocument,
        offset: int,
        *,
        options: ExplainOptions | None = None,
        cancelled: Callable[[], bool] = never,
        progress: Progress | None = None,
    ) -> Attribution:
        """Why a candidate site scores as it does, or why the model expects the token at an offset.

        Raises:
            InputError: there is nothing to explain at the offset.
            Cancelled: when `cancelled()` turns true.
        """
        from ace_analysis.engine.explaining import Explainer

        options = options or ExplainOptions()
        return Explainer(
            bundle=self.bundle,
            scanner=self.scanner,
            causal=lambda: self.causal(progress),
            read=self._read_scope,
            cache=self._cache,
            identity=self._identity,
            cancelled=cancelled,
            progress=progress or (lambda message, fraction: None),
            threshold=self.threshold(options.max_false_alarms),
            check=options.check,
        ).explain(place_at(document, offset), expectation=options.expectation)

    def fix(
        self,
        document: CodeDocument,
        place: TextSpan | int,
        *,
        options: FixOptions | None = None,
        cancelled: Callable[[], bool] = never,
        progress: Progress | None = None,
    ) -> tuple[Fix, ...]:
        """What could stand in a place (a span, or a line from 1), best first; empty where nothing passed.

        Raises:
            InputError: a place that the document doesn't have, or one without code.
            Cancelled: when `cancelled()` turns true.
        """
        return Fixer(self, options or FixOptions(), cancelled, progress).fix(document, place)

    def causal(self, progress: Progress | None = None) -> CausalModel:
        """The whole model, which writes: loaded when it is first asked for, and kept.

        A scan then reads the whole model's first blocks, so that they are held once.
        """
        causal = self._whole.get(progress, self.scanner)
        self.scanner = causal.scanner
        return causal

    def batches(self, document: CodeDocument) -> list[Int[Tensor, "batch pos"]]:
        """The token ids that a scan runs when nothing of the document is kept: to measure a scan against."""
        return [padded(batch) for batch in self._batches(self._tasks(document, ScanOptions()))]

    def close(self) -> None:
        """Let go of the kept results' file and of the whole model."""
        self._cache.close()
        self._whole.close()

    def _rules(self, document: CodeDocument, options: ScanOptions) -> Rules:
        return Rules(
            calibration=self.bundle.calibration,
            threshold=self.threshold(options.max_false_alarms),
            hook_name=self.bundle.coder.site.hook_name,
            ignores=ignores_of(document),
            hidden=self._hidden,
            with_sites=options.sites,
        )

    def _read_scope(
        self, header: str, text: str, cancelled: Callable[[], bool]
    ) -> tuple[list[Piece], ScopeScores]:
        """The pieces that a scan reads a scope in, and what it reads there."""
        task = self._task(header, text)
        prompt = self._prompt(task)
        pieces = pieces_of(0, prompt, self.scanner.tokenizer.encode(prompt.text), self._reading)
        (scores,) = (scores for _, scores, _ in self._scores([task], cancelled))
        return pieces, scores

    def threshold(self, rate: float | None) -> float:
        """Log-odds from which a place is shown."""
        asked = self.settings.check.max_false_alarms if rate is None else rate
        return self.bundle.calibration.threshold(asked)

    def _task(self, header: str, text: str) -> Task:
        return Task(kept.key_of((*self._identity, header, text)), header, text)

    def _tasks(self, document: CodeDocument, options: ScanOptions) -> list[Task]:
        """What is asked for, visible scopes first."""
        tasks: dict[bytes, Task] = {}
        for scope in scopes_of(document.text):
            if options.only is not None and not any(scope.span.overlaps(part) for part in options.only):
                continue
            new = self._task(scope.header, document.text[scope.span.start : scope.span.end])
            task = tasks.setdefault(new.key, new)
            task.scopes.append(scope)
            task.is_visible |= options.first is not None and scope.span.overlaps(options.first)
        return sorted(tasks.values(), key=lambda task: not task.is_visible)

    def _scores(
        self, tasks: list[Task], cancelled: Callable[[], bool]
    ) -> Iterator[tuple[Task, ScopeScores, bool]]:
        """Each task's scores: first what is kept, then what the model has to read."""
        missing: list[Task] = []
        for task in tasks:
            data = self._cache.get(task.key)
            scores = kept.from_bytes(data) if data is not None else None
            if scores is None:
                missing.append(task)
            else:
                self.counters.scopes_from_cache += len(task.scopes)
                yield task, scores, True
        for visible in (True, False):
            chosen = [task for task in missing if task.is_visible == visible]
            for task, scores in self._read(chosen, cancelled):
                self._cache.put(task.key, kept.to_bytes(scores))
                self.counters.scopes_read += len(task.scopes)
                yield task, scores, False

    def _read(self, tasks: list[Task], cancelled: Callable[[], bool]) -> Iterator[tuple[Task, ScopeScores]]:
        """Run the model over the tasks' prompts; a task is done with its last piece."""
        batches = self._batches(tasks)
        yield from ((task, ()) for task in tasks if not task.waiting)
        for batch in batches:
            if cancelled():
                raise Cancelled("the scan was cancelled by the caller")
            for piece, result in zip(batch, self._run(batch, cancelled), strict=True):
                task = tasks[piece.owner]
                collect(task, piece, result)
                task.waiting -= 1
                if not task.waiting:
                    yield task, tuple(task.results[index] for index in sorted(task.results))

    def _batches(self, tasks: list[Task]) -> list[list[Piece]]:
        prompts = [self._prompt(task) for task in tasks]
        tokens = self.scanner.tokenizer.encode_many([prompt.text for prompt in prompts])
        pieces: list[Piece] = []
        for owner, (prompt, tokenized) in enumerate(zip(prompts, tokens, strict=True)):
            own = pieces_of(owner, prompt, tokenized, self._reading)
            tasks[owner].waiting = len(own)
            pieces.extend(own)
        on_cpu = self.scanner.info.device.type == "cpu"
        return list(batches_of(pieces, TOKENS_PER_BATCH_CPU if on_cpu else TOKENS_PER_BATCH_GPU))

    def _prompt(self, task: Task) -> ScopePrompt:
        header = len(task.header)
        sites = (site for site in candidate_sites(task.text) if self._scorer.can_score(site))
        shifted = tuple(type(site)(site.span.shifted(header), site.kind, site.text) for site in sites)
        return ScopePrompt(task.header + task.text, header, shifted)

    @torch.no_grad()
    def _run(self, batch: list[Piece], cancelled: Callable[[], bool]) -> list[SiteScores]:
        resid = self.scanner.resid_post(padded(batch), self.bundle.layer, cancelled=cancelled)
        self.counters.forward_passes += 1
        self.counters.tokens_run += sum(len(piece) for piece in batch)
        return self._scorer.score(resid, [piece.to_score for piece in batch])


def _known_kinds(kinds: tuple[str, ...]) -> frozenset[str]:
    unknown = [kind for kind in kinds if kind not in (*KINDS, *SiteKind)]
    if unknown:
        raise SettingsError(f"check.ignore: expected kinds among {', '.join(KINDS)}, got {unknown[0]!r}")
    return frozenset(kinds)
