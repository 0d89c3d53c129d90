"""The options of `ace check`, and its help, apart from what they do."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    HUMAN = "human"
    JSON = "json"
    SARIF = "sarif"


_PARAGRAPHS = (
    """[bold]Exit code.[/bold] 0: nothing found. 1: findings. 2: something could not be done; the findings are
    written all the same. 130: interrupted; what was found until then is written.""",
    """[bold]--json[/bold] writes one object and nothing else: {"version", "model", "bundle", "files":
    [{"path", "findings": [{"line" (from 1), "column" (from 0, in code points), "end_line", "end_column",
    "score" (calibrated probability at the bundle's prior), "kind", "evidence": [{"feature", "activation",
    "threshold", "line", "column"}]}], "sites" (with --sites), "error" (where a file could not be checked)}]}.
    All of it: --schema.""",
    """[bold]In the code.[/bold] # ace: ignore on a line, or # ace: ignore\\[off-by-one] for some kinds;
    # ace: ignore-file in one of the first ten lines.""",
    """[bold]In a large project.[/bold] ace check --write-baseline takes what is found now as known, in
    ace-baseline.json or the file of --baseline. With baseline = "ace-baseline.json" in \\[tool.ace.check],
    the command and the editor show what is new. Known again is a file's finding of the same kind, text and
    line's text, wherever the line has moved.""",
    """[bold]Before a commit.[/bold] ace check --changed HEAD, or the hook in .pre-commit-hooks.yaml.""",
)
EPILOG = "\n\n".join(" ".join(paragraph.split()) for paragraph in _PARAGRAPHS)

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH...",
        help="Files, folders, globs, or - for a text from stdin. Without any: the current folder.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="The same as --format json.")]
ChosenFormat = Annotated[
    Format | None, typer.Option("--format", help="What to write on stdout.", show_default="human")
]
Sites = Annotated[bool, typer.Option("--sites", help="With --json: every candidate and its score, too.")]
MaxFalseAlarms = Annotated[
    float | None,
    typer.Option(help="False alarms per 100 lines of clean code that are accepted.", show_default="1"),
]
Changed = Annotated[
    str | None,
    typer.Option(metavar="REV", help="Only lines changed since a git revision; untracked files count whole."),
]
BaselineFile = Annotated[
    Path | None,
    typer.Option("--baseline", metavar="FILE", help="Show only findings that this file does not know."),
]
WriteBaseline = Annotated[
    bool,
    typer.Option(
        "--write-baseline", help="Take all findings as known: write them into the baseline, and show none."
    ),
]
Excluded = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="Leave out, as in a .gitignore. Repeatable."),
]
StdinFilename = Annotated[
    str | None, typer.Option(metavar="NAME", help="What a text from stdin is called in the results.")
]
Model = Annotated[
    str | None, typer.Option(help="A name of `ace model list`, a hub name, a folder or a GGUF file.")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps or xpu.")]
Dtype = Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress and no notes on stderr; errors still.")
]
Schema = Annotated[bool, typer.Option("--schema", help="Write the JSON schema of --json, and nothing more.")]
