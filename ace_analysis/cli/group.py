"""How commands are found and how they fail.

A lazy command stands in the help with one line of text; its module is imported when it is called. Whatever
goes wrong ends with exit code 2, because 1 means findings: in one line where ACE raised it on purpose, with a
traceback where it is a mistake of ours.
"""

import sys
import traceback
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from ace_analysis.cli.messages import tell_error
from ace_analysis.errors import AceError
from ace_analysis.report.run import NOT_DONE

LAZY = {
    "model": ("ace_analysis.cli.models", "model_app", "Pull, list and remove models."),
    "cache": ("ace_analysis.cli.models", "cache_app", "See and clear everything that is kept."),
    "edit": ("ace_analysis.cli.edit", "edit_app", "Change the model itself, measured and undoable."),
    "train": ("ace_analysis.cli.train", "train_app", "Train sparse coders, make bundles for other models."),
    "bench": ("ace_analysis.cli.bench", "bench_app", "Measure detection and speed."),
}
"""Name to module, name of the typer app in it, and the line in the help."""

ENGINE_LIBRARIES = frozenset(
    {"torch", "numpy", "transformers", "transformer_lens", "tokenizers", "safetensors", "sae_lens", "gguf"}
    | {"scipy", "sklearn", "einops", "jaxtyping", "filelock", "sentencepiece"}
)


class LazyCommand(TyperGroup):
    """A sub-command that has not been imported yet."""

    def __init__(self, name: str, module: str, attribute: str, summary: str) -> None:
        super().__init__(name=name, help=summary)
        self._module = module
        self._attribute = attribute

    def load(self) -> TyperGroup:
        return get_group(getattr(import_module(self._module), self._attribute))


class AceGroup(TyperGroup):
    """The top of the command line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, (module, attribute, summary) in LAZY.items():
            self.add_command(LazyCommand(name, module, attribute, summary), name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command.load() if isinstance(command, LazyCommand) else command, rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AceError as error:
            tell_error(str(error))
        except Exception as error:
            # What typer ends with of itself carries its exit code; a closed pipe is its business, too.
            if hasattr(error, "exit_code") or isinstance(error, typer.Abort | BrokenPipeError):
                raise
            if isinstance(error, ImportError) and (error.name or "").split(".")[0] in ENGINE_LIBRARIES:
                tell_error(engine_missing(error))
                raise typer.Exit(NOT_DONE) from error
            traceback.print_exception(error, file=sys.stderr)
            tell_error("this is a mistake in ACE; please report it with the lines above")
        raise typer.Exit(NOT_DONE)


def engine_missing(error: ImportError) -> str:
    """The one line for a command that needs the engine where only the server is installed."""
    return f"the engine is not installed for {sys.executable} ({error}): pip install 'ace-lsp[engine]'"
