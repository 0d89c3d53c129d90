"""From a harvest's functions to a disentangler: a sparse coder of what one block's MLP writes.

A harvest keeps the stream behind one block, so the functions' clean tokens are run again and what the MLP
writes is kept (in front of Gemma 2's norm: it is W_out that an edit changes). Shards have the form of a
harvest's, so that the same trainer and the same measures read them. A run that was stopped goes on.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.editing.disentangler import Disentangler
from ace_analysis.errors import Cancelled, InputError
from ace_analysis.evaluation.coders import Harvests
from ace_analysis.evaluation.loss_recovered import clean_functions, load_language_model, loss_recovered
from ace_analysis.features.claims import claim
from ace_analysis.features.coder_quality import FIRST_POSITION, coder_quality
from ace_analysis.features.harvest import Progress, Shard, read_shard, tree_of_tokens, write_shard
from ace_analysis.features.positions import sink_mask
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.storage import CODER_FILE, load_own_coder, save_sparse_coder
from ace_analysis.features.training import TrainingOptions, train_sparse_coder
from ace_analysis.model.hooks import hooks
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner, never
from ace_analysis.model.sites import Site

BEGUN_WITH = "begun.json"
TRAINED = "trained"
HELD_OUT_SHARE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class DisentanglerOptions:
    """`distinct` tokens are run, `training.tokens` seen; `loss_functions` 0 leaves the loss out."""

    layer: int
    distinct: int = 250_000
    training: TrainingOptions
    longest: int = 400
    batch_tokens: int = 2048
    loss_functions: int = 20
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True, slots=True)
class Telling:
    progress: Progress | None = None
    cancelled: Callable[[], bool] = never

    def __call__(self, message: str, fraction: float | None) -> None:
        if self.cancelled():
            raise Cancelled(f"stopped by the caller while {message}; what is complete is kept")
        if self.progress is not None:
            self.progress(message, fraction)


def make_disentangler(
    harvest: Path, work: Path, options: DisentanglerOptions, telling: Telling | None = None
) -> Disentangler:
    """Run, train and measure; what takes long is kept in `work`.

    Raises:
        InputError: no such harvest or layer.
        FingerprintError: the folder was begun with other options.
        Cancelled: the caller asked to stop; call again to go on.
    """
    telling = telling or Telling()
    harvests = Harvests.read(harvest)
    fingerprint = harvests.train[0].fingerprint
    about = {"fingerprint": fingerprint, "model": harvests.model, **asdict(options)}
    claim(work / BEGUN_WITH, about, "clear this folder or name another --out")
    scanner = load_scanner(
        harvests.model, device=options.device, dtype=options.dtype, n_blocks=options.layer + 1
    )
    train = run_mlp(harvests.train_shards, scanner, work / "train", options, telling)
    fewer = replace(options, distinct=max(1, int(options.distinct * HELD_OUT_SHARE)))
    held_out = run_mlp(harvests.test.shards, scanner, work / "test", fewer, telling)
    del scanner
    coder = _trained(train, work, options, telling)
    card = measured(coder, held_out, telling) | {
        "training": {"distinct_tokens": kept_tokens(train), **asdict(options.training)}
    }
    if options.loss_functions:
        model = load_language_model(harvests.model, options.device, options.dtype)
        card |= loss_of(model, coder, clean_functions(harvests.test.shards, options.loss_functions), telling)
    return Disentangler(coder=coder, model=harvests.model, fingerprint=fingerprint, card=card)


def run_mlp(
    sources: Sequence[Path],
    scanner: ResidualScanner,
    folder: Path,
    options: DisentanglerOptions,
    telling: Telling,
) -> list[Path]:
    """What the MLP writes on clean functions, as many from each shard; whole shards are kept.

    Few tokens come from some of the shards, evenly: each that is read gives one function at least.
    """
    if not 0 <= options.layer < scanner.n_blocks:
        raise InputError(f"expected a layer from 0 to {scanner.info.n_layers - 1}, got {options.layer}")
    folder.mkdir(parents=True, exist_ok=True)
    used = min(len(sources), max(1, -(-options.distinct // options.longest)))
    each = -(-options.distinct // max(1, used))
    made = []
    for number in (at * len(sources) // used for at in range(used)):
        source = sources[number]
        telling(f"running functions, part {len(made) + 1} of {used}", len(made) / used)
        path = folder / f"shard-{number:05}.safetensors"
        if not path.exists():
            functions = _functions(read_shard(source), each, options.longest)
            if not functions:
                continue
            write_shard(path, _shard(functions, scanner, options))
        made.append(path)
    return made


def _functions(shard: Shard, tokens: int, longest: int) -> list[tuple[Tensor, Any]]:
    """Token ids and origin of clean functions, from the first on, until there are enough tokens."""
    own, found, total = tree_of_tokens(shard), [], 0
    for index, tree in enumerate(shard.trees):
        ids = shard.ids[(own == index) & shard.clean]
        if not FIRST_POSITION < len(ids) <= longest:
            continue
        found.append((ids, tree))
        total += len(ids)
        if total >= tokens:
            break
    return found


def _shard(
    functions: Sequence[tuple[Tensor, Any]], scanner: ResidualScanner, options: DisentanglerOptions
) -> Shard:
    ordered = sorted(functions, key=lambda each: len(each[0]))
    written: list[Tensor] = []
    while len(written) < len(ordered):
        start = end = len(written)
        while end < len(ordered) and (end + 1 - start) * len(ordered[end][0]) <= options.batch_tokens:
            end += 1
        part = [ids for ids, _ in ordered[start : max(end, start + 1)]]
        written += mlp_out(scanner, part, options.layer)
    ids = torch.cat([ids for ids, _ in ordered])
    none = [torch.zeros(0, dtype=torch.int32) for _ in range(6)]
    return Shard(
        resid=torch.cat([each.half() for each in written]),
        ids=ids,
        keep=torch.cat([_ordinary(each) for each in written]),
        clean=torch.ones(len(ids), dtype=torch.bool),
        row_slots=torch.zeros(0, 1, dtype=torch.int32),
        row_kind=none[0],
        row_label=none[1],
        row_variant=none[2],
        row_tree=none[3],
        row_origin=none[4],
        row_type=none[5],
        trees=tuple(tree for _, tree in ordered),
    )


def _ordinary(values: Tensor) -> Tensor:
    keep = sink_mask(values).clone()
    keep[:FIRST_POSITION] = False
    return keep


def mlp_out(scanner: ResidualScanner, texts: Sequence[Tensor], layer: int) -> list[Tensor]:
    """What block `layer`'s W_out writes at each token of each text: [pos, d_model] in fp32."""
    longest = max(map(len, texts))
    ids = torch.zeros(len(texts), longest, dtype=torch.long)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text)] = text
    seen: list[Tensor] = []
    module = Anatomy.of(scanner).blocks[layer].mlp.module
    with hooks(after=[(module, lambda _, __, output: seen.append(output))]):
        scanner.resid_post(ids, layer)
    return [values[: len(text)].float().cpu() for values, text in zip(seen[0], texts, strict=True)]


def _trained(
    shards: Sequence[Path], work: Path, options: DisentanglerOptions, telling: Telling
) -> SparseCoder:
    if (work / TRAINED / CODER_FILE).is_file():
        return load_own_coder(work / TRAINED)

    def tell(message: str, fraction: float | None) -> None:
        if telling.progress is not None:
            telling.progress(f"training the disentangler: {message}", fraction)

    done = train_sparse_coder(
        shards, options.layer, options.training, folder=work, progress=tell, cancelled=telling.cancelled
    )
    coder = replace(done.coder, site=Site(options.layer, "mlp_out"))
    save_sparse_coder(work / TRAINED, coder, "bf16")
    return load_own_coder(work / TRAINED)


def measured(coder: SparseCoder, held_out: Sequence[Path], telling: Telling) -> dict[str, Any]:
    """Explained variance, L0 and dead latents on functions that it was not trained on."""
    quality = coder_quality(held_out, coder, progress=telling.progress, cancelled=telling.cancelled)
    return {
        "explained_variance": quality.explained_variance,
        "l0": quality.l0,
        "dead_latents": quality.dead,
        "latents": coder.d_sae,
        "held_out_tokens": quality.tokens,
    }


def loss_of(model: Any, coder: SparseCoder, functions: Sequence[Tensor], telling: Telling) -> dict[str, Any]:
    """Cross-entropy with the coder's reconstruction, and with the mean, in the MLP's place."""
    loss = loss_recovered(model, coder, functions, progress=telling.progress, cancelled=telling.cancelled)
    return {
        "ce_recovered": loss.recovered,
        "ce": {"clean": loss.clean, "coded": loss.coded, "ablated": loss.ablated, "tokens": loss.tokens},
    }


def kept_tokens(shards: Sequence[Path]) -> int:
    """Tokens that were trained on, each counted once."""
    return sum(int(read_shard(path).keep.sum()) for path in shards)
