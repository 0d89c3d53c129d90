"""The harvests that a bundle is made of, and the sparse coder that is trained on them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ace_analysis.errors import FingerprintError, InputError
from ace_analysis.evaluation.held_out import Harvested
from ace_analysis.features.claims import claim
from ace_analysis.features.harvest import ABOUT, Progress, read_shard
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.storage import CODER_FILE, CoderDtype, load_own_coder, save_sparse_coder
from ace_analysis.features.training import CHECKPOINT, TrainingOptions, train_sparse_coder
from ace_analysis.model.devices import chosen_device
from ace_analysis.model.scan import never
from ace_analysis.model.sites import Site
from ace_analysis.source.corpus import Split

LARGEST_CODER = 64_000_000
TRAINED = "trained"
TRAINED_WITH = "training.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvests:
    """The three harvests of a folder; `train` may lie in several, `train` and `train-...`."""

    model: str
    train: tuple[Harvested, ...]
    validation: Harvested
    test: Harvested

    @classmethod
    def read(cls, folder: Path) -> "Harvests":
        names = sorted(path for path in folder.glob("train*") if path.is_dir())
        if not names:
            raise InputError(
                f"{folder}: expected the harvests of three splits, got none; run `ace train harvest`"
            )
        train = tuple(Harvested.read(path) for path in names)
        validation, test = (Harvested.read(folder / name) for name in ("validation", "test"))
        for each in (*train[1:], validation, test):
            kept = (each.fingerprint, each.options.layer, each.options.tree.slots)
            if kept != (train[0].fingerprint, train[0].options.layer, train[0].options.tree.slots):
                raise FingerprintError(
                    f"{each.folder}: expected the model, layer and slots of {train[0].folder}, got others;"
                    " harvest into a new folder"
                )
        model = json.loads((train[0].folder / ABOUT).read_text(encoding="utf-8"))["model"]
        return cls(model=model, train=train, validation=validation, test=test)

    @property
    def train_shards(self) -> list[Path]:
        return [path for each in self.train for path in each.shards]

    @property
    def shards(self) -> dict[Split, Sequence[Path]]:
        return {
            "train": self.train_shards,
            "validation": self.validation.shards,
            "test": self.test.shards,
        }

    def ordinary_tokens(self) -> int:
        """How many tokens there are to train on."""
        return sum(int(read_shard(path).keep.sum()) for path in self.train_shards)


def work_folder(out: Path) -> Path:
    """Where a recipe keeps what it has done so far."""
    return out.with_name(f"{out.name}.work")


def dtype_of(coder: SparseCoder) -> CoderDtype:
    """bf16 where that is small enough to ship, else int8."""
    return "bf16" if 4 * coder.d_model * coder.d_sae <= LARGEST_CODER else "int8"


def trained_coder(
    harvests: Harvests,
    folder: Path,
    options: TrainingOptions,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
    *,
    device: str = "cpu",
) -> SparseCoder:
    """The coder that was trained in a folder, trained now on a device if it was not or not to its end."""
    device = str(chosen_device(device))
    about = {
        "fingerprint": harvests.train[0].fingerprint,
        "shards": [f"{path.parent.name}/{path.name}" for path in harvests.train_shards],
        **asdict(options),
    }
    d_model = _width_of(harvests)
    if 2 * d_model * options.d_sae > LARGEST_CODER:
        raise InputError(
            f"width: {options.d_sae} latents of {d_model} dimensions take more than 64 MB;"
            f" expected at most {LARGEST_CODER // (2 * d_model)}"
        )
    claim(folder / TRAINED_WITH, about, "clear this folder or name another --out")
    if (folder / TRAINED / CODER_FILE).is_file():
        return load_own_coder(folder / TRAINED)
    layer = harvests.train[0].options.layer
    shards = harvests.train_shards

    def tell(message: str, fraction: float | None) -> None:
        if progress is not None:
            progress(f"training the sparse coder: {message}", fraction)

    done = train_sparse_coder(
        shards, layer, options, folder=folder, device=device, progress=tell, cancelled=cancelled
    )
    save_sparse_coder(folder / TRAINED, done.coder, "fp32")
    (folder / CHECKPOINT).unlink(missing_ok=True)
    return done.coder


def given_coder(harvests: Harvests, path: Path) -> SparseCoder:
    """A coder that was trained elsewhere, of this harvest's layer."""
    coder, layer = load_own_coder(path), harvests.train[0].options.layer
    got = (coder.site.hook_name, coder.d_model)
    expected = (Site(layer).hook_name, _width_of(harvests))
    if got != expected:
        raise InputError(
            f"{path}: expected a sparse coder of {expected[0]} with {expected[1]} dimensions,"
            f" got one of {got[0]} with {got[1]}"
        )
    return coder


def _width_of(harvests: Harvests) -> int:
    return read_shard(harvests.train_shards[0]).resid.shape[1]
