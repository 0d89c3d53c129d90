"""A tiny random bundle that finds something in most lines, and an engine of it and a tiny random model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ace_analysis.engine import Engine
from ace_analysis.engine.cache import ResultCache
from ace_analysis.features.bundle import Bundle, Calibration, Readout
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.model.loading import load_scanner
from ace_analysis.model.scan import ResidualScanner
from ace_analysis.model.sites import Site
from ace_analysis.settings import EngineSettings
from ace_analysis.source.sites import SiteKind

D_MODEL, D_SAE, LAYER = 32, 64, 1


@pytest.fixture(scope="session")
def scanner(tiny_qwen2: Path) -> ResidualScanner:
    return load_scanner(str(tiny_qwen2), device="cpu", dtype="float32", n_blocks=LAYER + 1)


@pytest.fixture(scope="session")
def bundle_for(scanner: ResidualScanner) -> Callable[..., Bundle]:
    """A random bundle for the tiny model; keywords replace the bundle's own."""

    def make(**changes: object) -> Bundle:
        generator = torch.Generator().manual_seed(7)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator)

        coder = SparseCoder(
            random(D_MODEL, D_SAE),
            random(D_SAE) * 0.1,
            random(D_SAE, D_MODEL),
            random(D_MODEL) * 0.01,
            torch.full((D_SAE,), 0.3),
            Site(LAYER),
        )
        weights = random(4, D_SAE) * (torch.rand(D_SAE, generator=generator) < 0.5) * 0.1
        values: dict[str, object] = {
            "folder": Path("tiny"),
            "model": scanner.info.name,
            "fingerprint": scanner.info.fingerprint,
            "layer": LAYER,
            "coder": coder,
            "readout": Readout(
                weights=weights,
                kind_bias={kind.value: -0.1 * index for index, kind in enumerate(SiteKind)},
                slots=(0, 1, 2, "line_end"),
            ),
            "calibration": Calibration(
                scale=0.5, offset=-1.0, prior=0.05, thresholds={0.5: 4.0, 1.0: 2.0, 5.0: -1.0, 50.0: -1e6}
            ),
            "max_tokens": 256,
        }
        return Bundle(**{**values, **changes})  # pyright: ignore[reportArgumentType]

    return make


@pytest.fixture
def engine_with(scanner: ResidualScanner, bundle_for: Callable[..., Bundle]) -> Callable[..., Engine]:
    """An engine with the tiny model; keywords go to the bundle."""

    def make(
        settings: EngineSettings | None = None, cache: ResultCache | None = None, **changes: object
    ) -> Engine:
        return Engine(scanner, bundle_for(**changes), settings, cache)

    return make


@pytest.fixture
def engine(engine_with: Callable[..., Engine]) -> Engine:
    return engine_with()
