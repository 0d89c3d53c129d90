"""A tiny model's harvest of a few functions with whole mutants."""

from pathlib import Path

import pytest

from ace_analysis.evaluation.held_out import Harvested
from ace_analysis.features.examples import TreeOptions
from ace_analysis.features.harvest import HarvestOptions, harvest
from ace_analysis.model.loading import load_scanner
from ace_analysis.source.corpus import CodeFunction, functions_of_text

LAYER = 1


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
