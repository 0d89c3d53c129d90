"""From a harvest to a bundle: all that a scan needs, each number from projects that it was not fitted on.

    training projects      the sparse coder, the search for error features, the readout; the dense probe
    validation projects    probabilities and thresholds
    test projects          detection; together with validation also the coder's quality and replication

The coder is rounded as it ships before anything is fitted on it, so that what is measured is what is used.
What takes long is kept in a folder beside the bundle, and a recipe that was stopped goes on from there.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ace_analysis.errors import Cancelled
from ace_analysis.evaluation.baselines import DenseProbe, ProbeOptions, fit_dense_probe
from ace_analysis.evaluation.card import CardFacts, card_of, detection_of
from ace_analysis.evaluation.coders import Harvests, dtype_of, given_coder, trained_coder, work_folder
from ace_analysis.evaluation.corpora import SPLITS
from ace_analysis.evaluation.loss_recovered import (
    LossRecovered,
    clean_functions,
    load_language_model,
    loss_recovered,
)
from ace_analysis.evaluation.made_of import made_of
from ace_analysis.evaluation.probe_file import keep_probe, probe_bytes, read_probe
from ace_analysis.features.bundle import MAX_TOKENS, Bundle
from ace_analysis.features.bundle_files import CORPUS_FILE, PROBE_FILE
from ace_analysis.features.calibration import fit_calibration
from ace_analysis.features.coder_quality import CoderQuality, coder_quality
from ace_analysis.features.discovery import Discovery, DiscoveryOptions, HeldOut, discover
from ace_analysis.features.harvest import Progress
from ace_analysis.features.labelling import latents_to_name, top_tokens
from ace_analysis.features.labels import Labels
from ace_analysis.features.pairs import NaturalSites, PairActivations
from ace_analysis.features.readout import ReadoutOptions, fit_readout, logits
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.storage import load_own_coder, save_sparse_coder
from ace_analysis.features.table import SiteTable, joined, site_table
from ace_analysis.features.training import TrainingOptions
from ace_analysis.model.scan import never
from ace_analysis.model.store import resolve_model
from ace_analysis.model.tokens import CodeTokenizer
from ace_analysis.source.corpus import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeOptions:
    """`loss_functions` held-out functions are run whole for the loss; 0 leaves that out.

    `about` maps projects to their version and licence, for the card. `coder` is one that is
    trained already, with `training`, on this harvest's training projects alone.
    """

    training: TrainingOptions = field(default_factory=TrainingOptions)
    readout: ReadoutOptions = field(default_factory=ReadoutOptions)
    discovery: DiscoveryOptions = field(default_factory=DiscoveryOptions)
    probe: ProbeOptions = field(default_factory=ProbeOptions)
    loss_functions: int = 60
    max_tokens: int = MAX_TOKENS
    about: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    coder: Path | None = None
    device: str = "auto"
    dtype: str = "auto"


def make_bundle(
    harvest_folder: Path,
    out: Path,
    options: RecipeOptions | None = None,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> Bundle:
    """Make a bundle and its card.

    Raises:
        InputError: the harvest is incomplete, or the sparse coder too large.
        FingerprintError: a training with other options was begun for it.
        Cancelled: the caller asked to stop; call again to go on.
    """
    options = options or RecipeOptions()
    harvests = Harvests.read(harvest_folder)
    work = work_folder(out)
    trained = _coder_for(harvests, work, options, progress, cancelled)
    dtype = dtype_of(trained)
    shipped = load_own_coder(save_sparse_coder(work / "shipped", trained, dtype))
    steps = _Steps(harvests, shipped, options, progress, cancelled)
    quality = steps.quality(shipped)
    tables = {split: steps.table(split) for split in SPLITS}
    discovery = steps.discovery(tables, quality)
    bundle = replace(steps.bundle(tables), folder=out, catalog=discovery.features)
    facts = CardFacts(
        bundle=bundle,
        dtype=dtype,
        exact=steps.quality(trained),
        quality=quality,
        loss=steps.loss(),
        discovery=discovery,
        detection=detection_of(tables["test"], logits(tables["test"], bundle.readout), bundle.calibration),
        tables=tables,
        about=options.about,
        training={"harvested": harvests.ordinary_tokens(), **asdict(options.training)},
    )
    whole = replace(bundle, card=card_of(facts), labels=steps.labels(bundle))
    return whole.save(out, dtype=dtype, extras=steps.extras(harvest_folder, work))


def _coder_for(
    harvests: Harvests,
    work: Path,
    options: RecipeOptions,
    progress: Progress | None,
    cancelled: Callable[[], bool],
) -> SparseCoder:
    if options.coder is not None:
        return given_coder(harvests, options.coder)
    return trained_coder(harvests, work, options.training, progress, cancelled, device=options.device)


@dataclass(frozen=True, slots=True)
class _Steps:
    """The parts of the recipe that share the shipped coder."""

    harvests: Harvests
    coder: SparseCoder
    options: RecipeOptions
    progress: Progress | None
    cancelled: Callable[[], bool]

    def quality(self, coder: SparseCoder) -> CoderQuality:
        shards = [*self.harvests.validation.shards, *self.harvests.test.shards]
        return coder_quality(shards, coder, progress=self.progress, cancelled=self.cancelled)

    def loss(self) -> LossRecovered | None:
        if not self.options.loss_functions:
            return None
        functions = clean_functions(self.harvests.test.shards, self.options.loss_functions)
        model = load_language_model(self.harvests.model, self.options.device, self.options.dtype)
        return loss_recovered(model, self.coder, functions, progress=self.progress, cancelled=self.cancelled)

    def labels(self, bundle: Bundle) -> Labels:
        return labels_of(bundle, self.harvests, progress=self.progress, cancelled=self.cancelled)

    def table(self, split: Split) -> SiteTable:
        def tell(message: str, fraction: float | None) -> None:
            if self.cancelled():
                raise Cancelled("the recipe was stopped by the caller; the trained coder is kept")
            if self.progress is not None:
                self.progress(f"{split}: {message}", fraction)

        return site_table(self.harvests.shards[split], self.coder, progress=tell)

    def extras(self, harvest: Path, work: Path) -> dict[str, bytes]:
        """What no scan needs: the list of all functions, and the dense probe."""
        listed = made_of(self.harvests.shards, harvest, self.options.about)
        return {CORPUS_FILE: listed.packed(), PROBE_FILE: probe_bytes(self.probe(work))}

    def probe(self, work: Path) -> DenseProbe:
        """The dense probe on the same data; it takes minutes, so what was fitted once is kept in a file."""
        shards = self.harvests.shards
        of = (
            self.harvests.train[0].fingerprint,
            self.options.probe,
            [(path.parent.name, path.name, path.stat().st_size) for path in shards["train"]],
            [(path.name, path.stat().st_size) for path in shards["validation"]],
        )
        path = work / f"probe-{hashlib.sha256(repr(of).encode()).hexdigest()[:16]}.safetensors"
        if not path.is_file():
            probe = fit_dense_probe(
                shards["train"],
                shards["validation"],
                self.options.probe,
                progress=self.progress,
                cancelled=self.cancelled,
            )
            keep_probe(path, probe)
        width = len(self.harvests.train[0].options.tree.slots) * self.coder.d_model
        return read_probe(path, width)

    def discovery(self, tables: Mapping[str, SiteTable], quality: CoderQuality) -> Discovery:
        if self.progress is not None:
            self.progress("looking for error features", None)
        held_out = joined([tables["validation"], tables["test"]])
        return discover(
            pairs_of(tables["train"]),
            natural_of(tables["train"]),
            density=quality.density,
            held_out=HeldOut(pairs_of(held_out), natural_of(held_out)),
            options=self.options.discovery,
        )

    def bundle(self, tables: Mapping[str, SiteTable]) -> Bundle:
        """With its readout and calibration; without folder, catalog and card."""
        train, validation = tables["train"], tables["validation"]
        first = self.harvests.train[0]
        readout = fit_readout(
            train,
            self.options.readout,
            slots=first.options.tree.slots,
            progress=self.progress,
            cancelled=self.cancelled,
        )
        return Bundle(
            folder=Path(),
            model=self.harvests.model,
            fingerprint=first.fingerprint,
            layer=first.options.layer,
            coder=self.coder,
            readout=readout,
            calibration=fit_calibration(validation, logits(validation, readout)),
            max_tokens=self.options.max_tokens,
        )


def labels_of(
    bundle: Bundle,
    harvests: Harvests,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> Labels:
    """What a bundle's latents fire on in the training projects.

    Raises:
        ModelNotFound: the model, whose tokenizer spells the tokens, is not on this machine.
        Cancelled: the caller asked to stop.
    """
    tokenizer = CodeTokenizer.from_folder(resolve_model(harvests.model).folder)
    return top_tokens(
        harvests.train_shards,
        bundle.coder,
        latents_to_name(bundle),
        tokenizer.spell,
        progress=progress,
        cancelled=cancelled,
    )


def pairs_of(table: SiteTable) -> PairActivations:
    """Planted bugs beside the same sites of the clean functions; bugs that have none there are left out."""
    bugs = table.bugs[table.origin[table.bugs] >= 0]
    return PairActivations(
        buggy=table.latents[0][bugs],
        clean=table.latents[0][table.origin[bugs]],
        tokens=table.token[bugs],
        kinds=table.mutations[bugs],
        projects=table.row_projects[bugs],
        groups=table.function[bugs],
    )


def natural_of(table: SiteTable) -> NaturalSites:
    return NaturalSites(latents=table.latents[0][table.clean], tokens=table.token[table.clean])
