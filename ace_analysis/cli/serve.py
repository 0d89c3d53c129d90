"""`ace serve` and `ace worker`: become the language server, or the process that holds the model.

The server is another package, which the engine knows nothing of; both are started as modules of this same
Python. The folder that the command runs in is kept off the module path (-P): it is somebody's project, and a
file in it may be called torch.py.
"""

import os
import subprocess
import sys
from typing import Any

import typer

PASSED_ON: dict[str, Any] = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "allow_interspersed_args": False,
}


def serve_command(ctx: typer.Context) -> None:
    """Run the language server on stdio, as `ace-lsp` does. Arguments are passed on."""
    become("ace_lsp", ctx.args)


def worker_command(ctx: typer.Context) -> None:
    """Run the process that holds the model: JSON-RPC on stdio, for the server or another program."""
    become("ace_analysis.worker", ctx.args)


def become(module: str, arguments: list[str], *, by_exec: bool = os.name != "nt") -> None:
    """Go on as another module of the same Python; stdin and stdout stay the same pipes.

    On Windows, exec starts another process and ends this one, whose end the caller would take for the
    server's: there, a child is waited for.
    """
    command = [sys.executable, "-P", "-m", module, *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    if not by_exec:
        raise typer.Exit(subprocess.call(command))
    os.execv(sys.executable, command)
