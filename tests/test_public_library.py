"""The names that `ace_analysis` promises."""

import ast
import dataclasses
import importlib.metadata
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import ace_analysis

ROOT = Path(__file__).parents[1]


def names_for_type_checkers() -> dict[str, str]:
    """Name to module, as the TYPE_CHECKING block imports them."""
    tree = ast.parse((ROOT / "ace_analysis/__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: node.module or "" for node in imports for alias in node.names}


@pytest.mark.parametrize("name", ace_analysis.__all__)
def test_every_public_name_resolves_to_the_object_that_type_checkers_see(name: str) -> None:
    value = getattr(ace_analysis, name)
    if name != "__version__":
        assert value is getattr(import_module(names_for_type_checkers()[name]), name)


def test_type_checkers_and_all_list_the_same_names() -> None:
    assert sorted(ace_analysis.__all__) == sorted([*names_for_type_checkers(), "__version__"])


def test_every_home_is_the_module_that_type_checkers_read() -> None:
    homes = ace_analysis._HOME_OF
    assert homes == names_for_type_checkers()


def test_the_public_names_are_listed_before_they_are_imported() -> None:
    assert set(ace_analysis.__all__) <= set(dir(ace_analysis))


def test_a_name_that_is_not_public_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="'ace_analysis' has no attribute 'Finger'"):
        ace_analysis.Finger  # noqa: B018


def test_the_version_is_the_installed_distributions() -> None:
    assert ace_analysis.__version__ == importlib.metadata.version("ace-lsp")


def test_an_uninstalled_checkout_says_so_in_its_version() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import ace_analysis; print(ace_analysis.__version__)"
    )
    shown = subprocess.run(
        [sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT.parent
    )
    assert shown.stdout.strip() == "0+uninstalled"


@pytest.mark.parametrize("package", ["ace_analysis", "ace_lsp"])
def test_both_packages_tell_type_checkers_that_they_are_typed(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


def test_the_pipeline_is_called_as_promised() -> None:
    pipeline = ace_analysis.ACEPipeline
    inspect.signature(pipeline).bind("gemma-2-2b")
    inspect.signature(pipeline.load).bind(object())
    inspect.signature(pipeline.full_analysis).bind(object(), ["x = 1\n"])
    inspect.signature(ace_analysis.AnalysisResults.summary).bind(object())
    assert inspect.signature(pipeline.full_analysis, eval_str=True).return_annotation is (
        ace_analysis.AnalysisResults
    )


def test_a_hooked_model_is_loaded_as_promised() -> None:
    bound = inspect.signature(ace_analysis.load_hooked_model).bind("gemma-2-2b", device="cuda")
    assert bound.arguments == {"name": "gemma-2-2b", "device": "cuda"}


def test_pairs_are_generated_as_promised() -> None:
    generator = ace_analysis.MutationGenerator
    inspect.signature(generator).bind()
    inspect.signature(generator.generate_pairs).bind(object(), ["x = 1\n"])
    fields = {field.name for field in dataclasses.fields(ace_analysis.MutationPair)}
    assert {"positive", "negative", "mutation_type"} <= fields


def test_the_detector_is_called_as_promised() -> None:
    detector = ace_analysis.SAEDetector
    inspect.signature(detector).bind(object(), layer=12)
    inspect.signature(detector.load_sae).bind(object(), "path/to/sae")
    inspect.signature(detector.identify_error_features).bind(
        object(), positive_inputs=["x = 1\n"], negative_inputs=["x = 2\n"]
    )
    fields = {field.name for field in dataclasses.fields(ace_analysis.ErrorFeature)}
    assert {"feature_idx", "t_statistic"} <= fields


def test_the_quantizer_is_called_as_promised() -> None:
    quantizer = ace_analysis.PAHQQuantizer
    fields = ["target_precision", "background_precision"]
    assert [field.name for field in dataclasses.fields(ace_analysis.QuantizationConfig)][:2] == fields
    inspect.signature(quantizer).bind(object(), object())
    inspect.signature(quantizer.quantize_background).bind(object())
    inspect.signature(quantizer.focus_on_head).bind(object(), layer=10, head=5)
    inspect.signature(quantizer.restore).bind(object())


def test_a_model_is_decomposed_as_promised() -> None:
    decomposition = ace_analysis.ContextualDecomposition
    inspect.signature(decomposition).bind(object())
    inspect.signature(decomposition.decompose).bind(object(), [0, 1, 2], relevant_positions=[0, 1, 2])
    inspect.signature(decomposition.decompose).bind(object(), [0, 1, 2])
    result = inspect.signature(decomposition.decompose, eval_str=True).return_annotation
    assert result is ace_analysis.DecompositionResult
    inspect.signature(result.get_top_layers).bind(object(), k=5)
    inspect.signature(result.get_top_heads).bind(object(), k=10)


def test_a_steering_vector_is_made_and_applied_as_promised() -> None:
    vector = ace_analysis.SteeringVector
    inspect.signature(vector.from_prompts).bind(object(), positive_prompt="a", negative_prompt="b", layer=12)
    inspect.signature(vector.apply).bind(object(), object(), object(), strength=1.5)
