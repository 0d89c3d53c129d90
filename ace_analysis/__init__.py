"""ACE: likely bugs in Python code, read from a code model's own activations.

Each step is one function from one frozen type to the next, and a folder is where a type is born:

    text ──> tokens ──> activations ──> features ──> findings
    source/  model/     model/          features/    report/
                          ├─> decomposition/ (why)      ├─> editing/ (change)
                          └─> steering/ (nudge)         └─> quantization/ (cheaper)

    errors.py      everything that ACE raises on purpose
    settings.py    EngineSettings; the only reader of configuration files and environment variables
    source/        text: documents, scopes, candidate sites, mutations, corpora
    report/        results: findings and their evidence, as JSON and SARIF
    model/         weights, tokens, hooks: torch begins here
    quantization/  PAHQ: one head at full precision, the rest cheap
    features/      sparse coders, error features, calibrated scores
    decomposition/ CD-T: which tokens, heads and layers a prediction or a finding comes from
    steering/      steering vectors, and repairs of a wrong place, checked before they are offered
    editing/       (empty yet) PISCES: concepts removed from the weights, measured, undoable
    engine/        one model, one bundle, the public verbs
    evaluation/    what `ace bench` measures
    pipeline.py    ACEPipeline: the whole of it for a notebook
    worker.py      the process that the language server (the package ace_lsp) starts; worker_methods.py: what
                   it can be asked
    cli/           the command `ace`
    bundles/       what ships: one folder per model

The public names below are imported when they are first used: `import ace_analysis` brings in no other module,
so a language server or a test that needs only text and results never pays for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ace_analysis.decomposition.cdt import ContextualDecomposition
    from ace_analysis.decomposition.result import DecompositionResult
    from ace_analysis.decomposition.walk import CDTOptions
    from ace_analysis.engine import Engine, ScanOptions
    from ace_analysis.errors import AceError
    from ace_analysis.features.bundle import ErrorFeature
    from ace_analysis.features.comparison import Identification
    from ace_analysis.features.detector import Detection, SAEDetector
    from ace_analysis.model.loading import load_hooked_model
    from ace_analysis.pipeline import ACEPipeline, AnalysisResults
    from ace_analysis.quantization import FocusedHead, PAHQQuantizer, QuantizationConfig, QuantizationReport
    from ace_analysis.report.finding import Evidence, FileReport, Finding, ScopeReport, Severity, SiteScore
    from ace_analysis.settings import EngineSettings, load_settings
    from ace_analysis.source.document import CodeDocument, TextSpan
    from ace_analysis.source.mutation import MutationGenerator, MutationPair, MutationType
    from ace_analysis.steering.vector import SteeringVector

    __version__: str

__all__ = [
    "ACEPipeline",
    "AceError",
    "AnalysisResults",
    "CDTOptions",
    "CodeDocument",
    "ContextualDecomposition",
    "DecompositionResult",
    "Detection",
    "Engine",
    "EngineSettings",
    "ErrorFeature",
    "Evidence",
    "FileReport",
    "Finding",
    "FocusedHead",
    "Identification",
    "MutationGenerator",
    "MutationPair",
    "MutationType",
    "PAHQQuantizer",
    "QuantizationConfig",
    "QuantizationReport",
    "SAEDetector",
    "ScanOptions",
    "ScopeReport",
    "Severity",
    "SiteScore",
    "SteeringVector",
    "TextSpan",
    "__version__",
    "load_hooked_model",
    "load_settings",
]

_HOMES = {
    "ace_analysis.decomposition.cdt": ("ContextualDecomposition",),
    "ace_analysis.decomposition.result": ("DecompositionResult",),
    "ace_analysis.decomposition.walk": ("CDTOptions",),
    "ace_analysis.engine": (
        "Engine",
        "ScanOptions",
    ),
    "ace_analysis.errors": ("AceError",),
    "ace_analysis.features.bundle": ("ErrorFeature",),
    "ace_analysis.features.comparison": ("Identification",),
    "ace_analysis.features.detector": (
        "Detection",
        "SAEDetector",
    ),
    "ace_analysis.model.loading": ("load_hooked_model",),
    "ace_analysis.pipeline": (
        "ACEPipeline",
        "AnalysisResults",
    ),
    "ace_analysis.quantization": (
        "FocusedHead",
        "PAHQQuantizer",
        "QuantizationConfig",
        "QuantizationReport",
    ),
    "ace_analysis.report.finding": (
        "Evidence",
        "FileReport",
        "Finding",
        "ScopeReport",
        "Severity",
        "SiteScore",
    ),
    "ace_analysis.settings": (
        "EngineSettings",
        "load_settings",
    ),
    "ace_analysis.source.document": (
        "CodeDocument",
        "TextSpan",
    ),
    "ace_analysis.source.mutation": (
        "MutationGenerator",
        "MutationPair",
        "MutationType",
    ),
    "ace_analysis.steering.vector": ("SteeringVector",),
}
"""Where each public name lives. A name stands here, in `__all__` and under TYPE_CHECKING: tested."""

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name at its first use, and keep it."""
    if name == "__version__":
        value: object = _installed_version()
    elif name in _HOME_OF:
        value = getattr(import_module(_HOME_OF[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _installed_version() -> str:
    """The installed distribution's version, or one that says that ACE runs uninstalled from a checkout."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("ace-lsp")
    except PackageNotFoundError:
        return "0+uninstalled"
