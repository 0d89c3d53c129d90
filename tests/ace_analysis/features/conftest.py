"""A tiny harvest of a tiny random model, and shards and tables that are made up."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse

from ace_analysis.features.examples import BUG, CLEAN, TreeOptions
from ace_analysis.features.harvest import HarvestOptions, Shard, harvest
from ace_analysis.features.table import SiteTable
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.source.corpus import CodeFunction, functions_of_text

LAYER = 1
FUNCTION = '''
def {name}(values, limit={number}):
    """Sum of what is below a limit."""
    total = {number}
    for index, value in enumerate(values):
        if value < limit and index != {number}:
            total += value * index
    return total
'''


@pytest.fixture(scope="session")
def tiny_scanner(tiny_qwen2: Path) -> ResidualScanner:
    return load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=LAYER + 1)


@pytest.fixture(scope="session")
def some_functions() -> list[CodeFunction]:
    """Five functions of two projects."""
    texts = [FUNCTION.format(name=f"sum{number}", number=number) for number in range(5)]
    return [
        function
        for number, text in enumerate(texts)
        for function in functions_of_text(text, project=f"project{number % 2}", path=f"{number}.py")
    ]


@pytest.fixture(scope="session")
def harvest_options() -> HarvestOptions:
    return HarvestOptions(layer=LAYER, tree=TreeOptions(mutants=4, full=2), functions=2, token_budget=400)


@pytest.fixture(scope="session")
def tiny_harvest(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_scanner: ResidualScanner,
    some_functions: list[CodeFunction],
    harvest_options: HarvestOptions,
) -> Path:
    """Three shards. Not to be written to."""
    folder = tmp_path_factory.mktemp("harvest")
    assert harvest(some_functions, tiny_scanner, folder, harvest_options) == 3
    return folder


@pytest.fixture
def shard_of() -> Callable[[torch.Tensor, torch.Tensor], Shard]:
    """A shard of activations [token, d_model] in which only some tokens are kept; it has no rows."""

    def make(resid: torch.Tensor, keep: torch.Tensor) -> Shard:
        none = torch.zeros(0, dtype=torch.int32)
        return Shard(
            resid=resid.bfloat16(),
            ids=torch.arange(len(resid), dtype=torch.int32),
            keep=keep,
            clean=torch.ones(len(resid), dtype=torch.bool),
            row_slots=torch.zeros(0, 4, dtype=torch.int32),
            row_kind=none,
            row_label=none,
            row_variant=none,
            row_tree=none,
            row_origin=none,
            row_type=none,
            trees=({"project": "p", "name": "f", "lines": 3},),
        )

    return make


@pytest.fixture
def table_of() -> Callable[[Sequence[NDArray[np.float64]], NDArray[np.bool_]], SiteTable]:
    """A table of one function with latents [row, latent] per slot; `wrong` rows are planted bugs."""

    def make(latents: Sequence[NDArray[np.float64]], wrong: NDArray[np.bool_]) -> SiteTable:
        rows = len(wrong)
        zeros = np.zeros(rows, dtype=np.int64)
        return SiteTable(
            latents=tuple(sparse.csr_array(each.astype(np.float32)) for each in latents),
            label=np.where(wrong, BUG, CLEAN).astype(np.int64),
            kind=np.arange(rows, dtype=np.int64) % 2,
            mutation=wrong.astype(np.int64),
            function=zeros,
            text=zeros,
            line=np.arange(rows, dtype=np.int64),
            origin=np.arange(rows, dtype=np.int64),
            token=zeros,
            projects=np.array(["p"]),
            names=np.array(["f"]),
            lines=np.array([rows], dtype=np.int64),
        )

    return make
