"""`ace fix`: the command's options, and what it writes."""

import json
from typing import Annotated, Any

import typer

from ace_analysis.cli.fixing import (
    Fixed,
    FixPlan,
    LoadRepairer,
    TestCommand,
    fixes_of,
    load_repairer,
    target_of,
)
from ace_analysis.cli.messages import printable, tell_error, tell_note
from ace_analysis.cli.options import Device, Dtype, Model, Quiet
from ace_analysis.cli.scanning import interruptible
from ace_analysis.errors import AceError, Cancelled
from ace_analysis.report.repair import Fix
from ace_analysis.report.repair_wire import gate_to_wire
from ace_analysis.report.run import NOT_DONE
from ace_analysis.settings import load_settings

VERSION = 1
INTERRUPTED = 130

Target = Annotated[
    str,
    typer.Argument(
        metavar="FILE[:LINE]",
        help="A file, and the line that is wrong in it. Without a line: the worst finding.",
        show_default=False,
    ),
]
Apply = Annotated[bool, typer.Option("--apply", help="Write the first fix into the file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON object on stdout, and nothing else.")]


def _not_empty(test: str | None) -> str | None:
    if test is not None and not test.strip():
        raise typer.BadParameter("expected a command, got an empty one")
    return test


Test = Annotated[
    str | None,
    typer.Option(
        metavar="CMD",
        callback=_not_empty,
        help="A command that has to succeed with a fix; run in a copy of the project, as you.",
        show_default=False,
    ),
]
RunTests = Annotated[
    bool, typer.Option("--run-tests", help="Let the command in the setting fix.test decide, as --test does.")
]
TestSeconds = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="How long a run of the tests may take.", show_default="60"),
]
Candidates = Annotated[
    int | None,
    typer.Option(min=1, max=64, help="How many lines the model writes anew.", show_default="4"),
]


def fix_command(  # noqa: PLR0913 - a command's parameters are its options
    ctx: typer.Context,
    target: Target,
    apply: Apply = False,
    as_json: AsJson = False,
    test: Test = None,
    run_tests: RunTests = False,
    test_seconds: TestSeconds = None,
    candidates: Candidates = None,
    model: Model = None,
    device: Device = None,
    dtype: Dtype = None,
    quiet: Quiet = False,
) -> None:
    r"""Write a wrong line anew: candidates that pass every check, best first, as diffs.

    Each is valid Python, changes only its region, uses no name that is not defined, scores no worse than what
    stood there and makes the whole function likelier. Nothing is written without --apply. \[--json] has
    "fixes", best first, at most 5, each with "text" (the whole new file), "diff", "gates" and "source".
    """
    path, line = target_of(target)
    overrides = {
        "model": {"name": model, "device": device, "dtype": dtype},
        "fix": {"test": test, "test_seconds": test_seconds},
    }
    chosen = (settings := load_settings(path, overrides)).fix
    if run_tests and not chosen.test:
        raise typer.BadParameter("--run-tests needs a command: set fix.test in ace.toml, or give --test CMD")
    if chosen.test and test is None and not run_tests and not quiet:
        tell_note("fix.test is not run unless you say --run-tests")
    decides = (test is not None or run_tests) and bool(chosen.test)
    plan = FixPlan(
        path=path,
        line=line,
        settings=settings,
        writes=apply,
        candidates=candidates,
        test=TestCommand(command=chosen.test, seconds=chosen.test_seconds) if decides else None,
    )
    raise typer.Exit(_perform(plan, ctx.obj or load_repairer, apply=apply, as_json=as_json, quiet=quiet))


def _perform(plan: FixPlan, load: LoadRepairer, *, apply: bool, as_json: bool, quiet: bool) -> int:
    from ace_analysis.cli.progress import Reporter

    with Reporter(lambda file: None, quiet=quiet) as reporter, interruptible() as asked:
        try:
            fixed = fixes_of(plan, load, asked, reporter.loading)
        except Cancelled:
            tell_error("interrupted; nothing was written")
            return INTERRUPTED
        except AceError as error:
            tell_error(str(error))
            return NOT_DONE
    written = bool(apply and fixed.fixes)
    if written:
        try:
            fixed.source.replace(fixed.fixes[0].applied_to(fixed.document.text))
        except AceError as error:
            tell_error(str(error))
            return NOT_DONE
    if as_json:
        typer.echo(json.dumps(as_object(fixed, written=written), indent=2))
    else:
        _show(fixed, written=written, tested=plan.test is not None)
    return 0


def as_object(fixed: Fixed, *, written: bool) -> dict[str, Any]:
    """The JSON of a run."""
    finding = fixed.finding
    return {
        "version": VERSION,
        "path": str(fixed.source.path),
        "line": fixed.line,
        "finding": None
        if finding is None
        else {"kind": finding.kind, "score": finding.score, "span": [finding.span.start, finding.span.end]},
        "fixes": [_fix_object(fixed, each) for each in fixed.fixes],
        "applied": written,
    }


def _fix_object(fixed: Fixed, fix: Fix) -> dict[str, Any]:
    return {
        "text": fix.applied_to(fixed.document.text),
        "diff": fix.diff(fixed.document),
        "gates": [gate_to_wire(each) for each in fix.gates],
        "source": fix.source.value,
        "score": fix.score,
        "detail": fix.detail,
        "strength": fix.strength,
        "verified_by_tests": fix.verified_by_tests,
        "span": [fix.span.start, fix.span.end],
        "replacement": fix.replacement,
    }


def _show(fixed: Fixed, *, written: bool, tested: bool) -> None:
    """The first fix as a diff, the others in a line each."""
    from rich.console import Console
    from rich.text import Text

    console = Console(markup=False, emoji=False, highlight=False)
    where = f"{fixed.source.path}" + (f":{fixed.line}" if fixed.line is not None else "")
    if not fixed.fixes:
        every = "every check and the tests" if tested else "every check"
        why = "no finding" if fixed.line is None and fixed.finding is None else f"no fix passed {every}"
        console.print(Text(f"{printable(where)}: {why}."), soft_wrap=True)
        return
    first, *others = fixed.fixes
    console.print(Text(f"{printable(where)}: {_summary(first)}", style="bold"), soft_wrap=True)
    for line in first.diff(fixed.document).removesuffix("\n").split("\n"):
        console.print(Text(printable(line.replace("\t", "    ")), style=_style(line)), soft_wrap=True)
    for number, fix in enumerate(others, start=2):
        console.print(Text(f"  or {number}: {_summary(fix)}", style="dim"), soft_wrap=True)
    console.print(
        Text("Written." if written else "Nothing was written; --apply writes the first."), soft_wrap=True
    )


def _summary(fix: Fix) -> str:
    tested = ", the tests pass" if fix.verified_by_tests else ""
    gain = next((each.note for each in fix.gates if each.gate.value == "likelihood"), "")
    return f"{printable(fix.detail)} ({fix.source.value}; {gain}{tested})"


def _style(line: str) -> str:
    for mark, style in (("+++", "bold"), ("---", "bold"), ("@@", "cyan"), ("+", "green"), ("-", "red")):
        if line.startswith(mark):
            return style
    return ""
