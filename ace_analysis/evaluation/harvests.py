"""The three harvests that a bundle is made of: training, validation and test projects, in one folder.

Training functions have many mutants, each run only to the line behind its bug. Those of validation and test
are run whole, since thresholds and ranks are about all sites of a mutant.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ace_analysis.errors import InputError
from ace_analysis.evaluation.corpora import Corpus, CorpusRequest, corpus_in
from ace_analysis.features.examples import TreeOptions
from ace_analysis.features.harvest import HarvestOptions, Progress, harvest
from ace_analysis.model.listing import details_of
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import never
from ace_analysis.source.corpus import Split

MUTANTS: dict[Split, int] = {"train": 10, "validation": 2, "test": 3}
DEPTH = 0.4
"""The layer at this share of a model's depth is where planted bugs were read best."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HarvestRequest:
    """What to run. `mutants` per training function; `layer` None is the one at 0.4 of the model's depth."""

    corpus: CorpusRequest
    model: str
    layer: int | None = None
    mutants: int = MUTANTS["train"]
    functions_per_shard: int = 64
    device: str = "auto"
    dtype: str = "auto"
    tree: TreeOptions = field(default_factory=TreeOptions)


def make_harvest(
    request: HarvestRequest,
    folder: Path,
    *,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = never,
) -> Corpus:
    """Run all functions of a corpus, which is returned; goes on where it was stopped.

    Raises:
        FingerprintError: the folder holds a harvest of another model, corpus or option.
        Cancelled: the caller asked to stop; what is complete is kept.
    """
    layer = default_layer(request.model) if request.layer is None else request.layer
    corpus = corpus_in(folder, request.corpus, progress)
    if progress is not None:
        progress(f"loading {request.model}", None)
    scanner = load_scanner(request.model, device=request.device, dtype=request.dtype, n_blocks=layer + 1)
    for split, functions in corpus.functions.items():

        def tell(message: str, fraction: float | None, split: str = split) -> None:
            if progress is not None:
                progress(f"{split}: {message}", fraction)

        options = HarvestOptions(
            layer=layer, tree=tree_options(request, split), functions=request.functions_per_shard
        )
        harvest(functions, scanner, folder / split, options, progress=tell, cancelled=cancelled)
    return corpus


def tree_options(request: HarvestRequest, split: Split) -> TreeOptions:
    mutants = request.mutants if split == "train" else MUTANTS[split]
    return TreeOptions(
        slots=request.tree.slots,
        mutants=mutants,
        full=0 if split == "train" else mutants,
        branch_tokens=request.tree.branch_tokens,
        max_tokens=request.tree.max_tokens,
        seed=request.tree.seed,
    )


def default_layer(model: str) -> int:
    """Counted from 0; 9 of Qwen2.5-Coder-0.5B's 24."""
    n_layers = details_of(model).n_layers
    if not n_layers:
        raise InputError(
            f"{model}: expected the number of layers in its configuration; name one with --layer"
        )
    return min(n_layers - 1, int(DEPTH * n_layers))
