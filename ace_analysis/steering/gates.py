"""What a candidate has to be before a model is asked about it: valid, in its region, with known names.

These cost no pass of the model. They are asked in the order of `Gate`, and the first that fails ends it.
"""

import builtins
import symtable
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from ace_analysis.report.repair import Gate, GateResult
from ace_analysis.source.document import TextSpan
from ace_analysis.steering.candidates import flush_left, program_of

_KNOWN = frozenset(dir(builtins)) | {
    "__file__",
    "__name__",
    "__doc__",
    "__path__",
    "__package__",
    "__spec__",
    "__loader__",
    "__builtins__",
    "__annotations__",
    "__class__",
    "__module__",
    "__qualname__",
    "__debug__",
}


@dataclass(frozen=True)
class TextGates:
    """The gates of one region of one document; `scope` is the part of it that has to stay valid Python."""

    document: str
    scope: TextSpan
    region: TextSpan

    @cached_property
    def _program(self) -> str | None:
        return program_of(self.document[self.scope.start : self.scope.end])

    @cached_property
    def _undefined(self) -> frozenset[str] | None:
        return undefined_names(self.document)

    @cached_property
    def _compiles(self) -> bool:
        return _is_taken(self.document[self.scope.start : self.scope.end]) or _is_taken(self.document)

    def results(self, changed: str) -> tuple[GateResult, ...]:
        """What the gates say of a whole changed document; nothing behind the first that fails."""
        results: list[GateResult] = []
        for result in self._asked(changed):
            results.append(result)
            if not result.passed:
                break
        return tuple(results)

    def program_in(self, changed: str) -> str | None:
        """The syntax tree of the scope in a changed document."""
        grown = len(changed) - len(self.document)
        return program_of(changed[self.scope.start : self.scope.end + grown])

    def _asked(self, changed: str) -> Iterator[GateResult]:
        grown = len(changed) - len(self.document)
        program = self.program_in(changed)
        valid = program is not None and self._stays_valid(changed, grown)
        yield GateResult(Gate.PARSES, valid, "" if valid else "no valid Python")
        yield self._region(changed, grown, program)
        yield self._names(changed, grown)

    def _stays_valid(self, changed: str, grown: int) -> bool:
        """Whether the compiler takes it: `def f(a, a)` has a syntax tree and is no Python.

        The scope is asked alone, and with what is around it where it leans on that, as a nonlocal name does.
        One that the compiler did not take before either can't be told from what is broken elsewhere.
        """
        scope = changed[self.scope.start : self.scope.end + grown]
        could_tell = self._program is None or self._compiles
        return _is_taken(scope) or _is_taken(changed) or not could_tell

    def _region(self, changed: str, grown: int, program: str | None) -> GateResult:
        start, end = self.region.start, self.region.end
        untouched = (
            changed[:start] == self.document[:start]
            and end + grown >= start
            and changed[end + grown :] == self.document[end:]
        )
        if not untouched:
            return GateResult(Gate.REGION, False, "changes more than the region")
        if program == self._program:
            return GateResult(Gate.REGION, False, "the same program in other words")
        return GateResult(Gate.REGION, True)

    def _names(self, changed: str, grown: int) -> GateResult:
        before, after = self._undefined, undefined_names(changed)
        if before is None or after is None:
            # Something else in the file is broken, or it imports with a star: the scope alone is asked.
            scope, end = self.scope, self.scope.end + grown
            before = undefined_names(_dedented(self.document[scope.start : scope.end])) or frozenset()
            after = undefined_names(_dedented(changed[scope.start : end])) or frozenset()
        new = sorted(after - before)
        return GateResult(Gate.NAMES, not new, f"{new[0]!r} is not defined" if new else "")


def undefined_names(text: str) -> frozenset[str] | None:
    """Names that a module uses and nowhere defines; None where it is no Python, or imports with a star."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            top = symtable.symtable(text, "<text>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    tables = list(_tables(top))
    if _has_star(text):
        return None
    defined = {symbol.get_name() for symbol in top.get_symbols() if _defines(symbol)}
    defined |= {
        symbol.get_name()
        for table in tables
        for symbol in table.get_symbols()
        if symbol.is_declared_global() and symbol.is_assigned()
    }
    used = {
        symbol.get_name()
        for table in tables
        for symbol in table.get_symbols()
        if symbol.is_referenced() and (table is top or symbol.is_global())
    }
    return frozenset(used - defined - _KNOWN)


def _is_taken(text: str) -> bool:
    """Whether a text, indented or not, is a program to the compiler."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(flush_left(text), "<text>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _tables(top: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    stack = [top]
    while stack:
        table = stack.pop()
        yield table
        stack.extend(table.get_children())


def _defines(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()


def _has_star(text: str) -> bool:
    lines = (line.split("#")[0].split() for line in text.splitlines() if "import" in line)
    return any(words[:1] == ["from"] and words[-1:] == ["*"] for words in lines)


def _dedented(text: str) -> str:
    return f"class _:\n{text}" if text[:1] in (" ", "\t") else text
