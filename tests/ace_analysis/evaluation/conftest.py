"""A tiny model's harvest of a few functions with whole mutants."""

from pathlib import Path

import pytest
import torch

from ace_analysis.evaluation.held_out import Harvested
from ace_analysis.features.bundle import Bundle, Calibration, Readout
from ace_analysis.features.examples import TreeOptions
from ace_analysis.features.harvest import HarvestOptions, harvest
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.sites import Site
from ace_analysis.model.store import resolve_model
from ace_analysis.source.corpus import CodeFunction, functions_of_text
from ace_analysis.source.sites import SiteKind

LAYER = 1


def coder_along(rows: torch.Tensor, layer: int) -> SparseCoder:
    """A coder of an MLP's output whose latents are directions, each read along itself."""
    rows = torch.nn.functional.normalize(rows, dim=1)
    latents, width = rows.shape
    return SparseCoder(
        W_enc=rows.T.contiguous(),
        b_enc=torch.zeros(latents),
        W_dec=rows,
        b_dec=torch.zeros(width),
        threshold=torch.zeros(latents),
        site=Site(layer, "mlp_out"),
    )


@pytest.fixture(scope="session")
def few_functions(some_python: str) -> list[CodeFunction]:
    """Functions and methods of three projects, with and without a header."""
    texts = {f"p{n}": "import os\n" + some_python.replace("items", f"items_{n}") for n in range(3)}
    return [
        each
        for project, text in texts.items()
        for each in functions_of_text(text, project=project, path="f.py")
    ]


@pytest.fixture(scope="session")
def harvested(
    tiny_qwen2: Path, few_functions: list[CodeFunction], tmp_path_factory: pytest.TempPathFactory
) -> Harvested:
    folder = tmp_path_factory.mktemp("harvest")
    tree = TreeOptions(mutants=3, full=3)
    options = HarvestOptions(layer=LAYER, tree=tree, functions=4)
    harvest(few_functions, load_scanner(str(tiny_qwen2), device="cpu", dtype="float32"), folder, options)
    return Harvested.read(folder)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_qwen2: Path) -> Bundle:
    """A random bundle of the tiny model that finds something at every site."""
    generator = torch.Generator().manual_seed(7)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    width, latents = 32, 64
    coder = SparseCoder(
        W_enc=random(width, latents),
        b_enc=random(latents) * 0.1,
        W_dec=random(latents, width),
        b_dec=random(width) * 0.01,
        threshold=torch.full((latents,), 0.3),
        site=Site(LAYER),
    )
    return Bundle(
        folder=Path("tiny"),
        model="tiny",
        fingerprint=resolve_model(str(tiny_qwen2)).fingerprint,
        layer=LAYER,
        coder=coder,
        readout=Readout(
            weights=random(4, latents) * 0.1,
            kind_bias={kind.value: 0.0 for kind in SiteKind},
            slots=(0, 1, 2, "line_end"),
        ),
        calibration=Calibration(scale=1.0, offset=0.0, prior=0.1, thresholds={1.0: 2.0, 50.0: -1e6}),
    )
