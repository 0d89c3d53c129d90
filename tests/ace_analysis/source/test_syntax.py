"""Scopes: what they cover, what stands above them, and what broken syntax costs."""

import ast
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.source.parsing import parse
from ace_analysis.source.syntax import MAX_HEADER_IMPORTS, MAX_RUN_LINES, scopes_of

STDLIB = Path(ast.__file__).parent
MOST_STEPS = 250
FILES = ["textwrap.py", "heapq.py", "argparse.py", "dataclasses.py", "json/decoder.py"]

FUNCTION = "def f{n}(a):\n    return a < {n}\n"
CLASS = """class C{n}(Base):
    x = {n}

    @property
    def p(self):
        return self.x

    def q(self): return {n}
"""
BROKEN_METHOD = """class A(
    B,
):
    x = 1

    def good(self):
        return 1

    @d(
        2)
    def bad(self):
        {bad}

    def fine(self):
        return 3

def f():
    return 4
"""
RUN = "x{n} = {n}\ny = x{n}\n"
parts = st.lists(
    st.sampled_from([FUNCTION, CLASS, RUN, "import os, re\n", "# 漢字 🐍\n", "\n\f\n"]), max_size=8
)
programs = parts.map(lambda found: "".join(part.format(n=n) for n, part in enumerate(found)))


def parts_of(text: str) -> list[tuple[str, str]]:
    return [(scope.name, text[scope.span.start : scope.span.end]) for scope in scopes_of(text)]


@given(programs, st.sampled_from(["\n", "\r\n", "\r"]))
def test_scopes_are_in_order_apart_and_whole_lines(program, newline):
    text = program.replace("\n", newline)
    scopes = scopes_of(text)
    assert all(a.span.end <= b.span.start for a, b in pairwise(scopes))
    for scope in scopes:
        assert scope.span.start == 0 or text[scope.span.start - 1] in "\r\n\f"
        assert text[: scope.span.end].endswith(newline)
        assert not scope.has_error


@given(programs, st.sampled_from(["\n", "\r\n", "\r"]))
def test_line_endings_change_nothing_else(program, newline):
    found = parts_of(program.replace("\n", newline))
    assert [(name, part.replace(newline, "\n")) for name, part in found] == parts_of(program)


@given(programs)
def test_a_scopes_result_depends_on_its_own_text_only(program):
    for scope in scopes_of(program):
        part = program[scope.span.start : scope.span.end]
        assert [(s.span.start, s.span.end) for s in scopes_of(part)] == [(0, len(part))]


@given(programs, st.data())
def test_a_broken_function_costs_only_itself(program, data):
    bad = data.draw(
        st.sampled_from(
            ["def bad(a:\n    return a\n", "def bad():\n    x = (\n", "def bad():\n    s = '''\n"]
        )
    )
    text = f"{FUNCTION.format(n=98)}\n{bad}\n{program}{CLASS.format(n=99)}"
    scopes = scopes_of(text)
    good = [s for s in scopes if not s.has_error]
    names = {s.name for s in good}
    assert {"f98", "C99.p", "C99.q"} <= names
    assert {s.name for s in scopes_of(program) if s.kind != "module"} <= names
    assert any(s.has_error for s in scopes)


@pytest.mark.parametrize("bad", ["return (1", "return 1 +", "x = [", "s = '''", "if (:"])
def test_a_broken_method_costs_only_itself(bad):
    text = BROKEN_METHOD.format(bad=bad)
    whole = {s.name: s for s in scopes_of(text) if not s.has_error}
    assert {"A.<module>", "A.good", "A.fine", "f"} <= whole.keys()
    assert whole["A.fine"].kind == "method"
    assert whole["A.fine"].header == "class A(\n"
    assert text[whole["A.fine"].span.start :].startswith("    def fine")


def test_text_in_a_long_string_is_no_definition_even_in_a_broken_file():
    text = "def f(a):\n    s = '''\ndef no(): pass\nclass No: pass\n'''\n    return s\n\ndef g(:\n    pass\n"
    scopes = scopes_of(text)
    assert scopes[0].name == "f"
    assert not scopes[0].has_error
    assert text[scopes[0].span.start : scopes[0].span.end].endswith("return s\n")


def test_a_class_inside_a_broken_function_is_part_of_the_function():
    text = "def f(a):\n    class X:\n        def g(self): return (\n    return X\n\ndef h(): return 1\n"
    assert [(s.kind, s.has_error) for s in scopes_of(text)] == [("function", True), ("function", False)]


def bodies_of(module: ast.Module) -> list[list[ast.stmt]]:
    return [module.body, *(node.body for node in module.body if isinstance(node, ast.ClassDef))]


@pytest.mark.parametrize("name", FILES)
def test_every_function_and_method_has_its_scope(name):
    text = (STDLIB / name).read_text(encoding="utf-8")
    starts = {text[: s.span.start].count("\n") + 1 for s in scopes_of(text) if s.kind != "module"}
    expected = {
        min([node.lineno, *(d.lineno for d in node.decorator_list)])
        for body in bodies_of(ast.parse(text))
        for node in body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert expected <= starts


@pytest.mark.parametrize("name", FILES)
def test_every_top_level_statement_is_covered_once(name):
    text = (STDLIB / name).read_text(encoding="utf-8")
    covered = [0] * (text.count("\n") + 2)
    for scope in scopes_of(text):
        first = text[: scope.span.start].count("\n") + 1
        for line in range(first, first + text[scope.span.start : scope.span.end].count("\n")):
            covered[line] += 1
    assert max(covered) == 1
    for node in ast.parse(text).body:
        if not isinstance(node, ast.Import | ast.ImportFrom | ast.ClassDef):
            assert covered[node.lineno] == 1, node.lineno


def test_the_header_has_the_imports_that_are_used_and_the_lines_of_the_classes():
    text = (
        "import os\nimport re\nfrom a import (b,\n    c)\n\nclass A(B):  # note\n    class I:\n"
        "        def f(self):\n            return os.path + c\n"
    )
    (scope,) = scopes_of(text)
    assert scope.name == "A.I.f"
    assert scope.header == "import os\nfrom a import (b,\n    c)\nclass A(B):  # note\n    class I:\n"
    assert scope.prompt(text) == scope.header + "        def f(self):\n            return os.path + c\n"


def test_decorators_belong_to_their_function_also_when_they_are_long():
    text = "@a.b(1,\n   2)\n@c\nasync def f(x):\n    return x\n"
    assert parts_of(text) == [("f", text)]
    assert parts_of(text + "def g(:\n    pass\n")[0] == ("f", text)


def test_a_long_run_is_cut_between_statements():
    text = "".join(f"x{i} = {i}\n" for i in range(3 * MAX_RUN_LINES))
    found = parts_of(text)
    assert len(found) == 3
    assert "".join(part for _, part in found) == text
    assert {name for name, _ in found} == {"<module>"}


@pytest.mark.parametrize("text", ["", "\n", "\ufeff", "# only a comment\n", "import os\n", "\f"])
def test_nothing_to_analyse_gives_no_scope(text):
    assert scopes_of(text) == ()


@given(st.text(alphabet=st.sampled_from("def class(:)\n\r\t '\"#@=x1🐍\x00\ufeff"), max_size=60))
def test_any_text_at_all_gives_scopes_that_are_apart(text):
    scopes = scopes_of(text)
    assert all(a.span.end <= b.span.start for a, b in pairwise(scopes))
    assert all(s.span.end <= len(text) for s in scopes)


@pytest.mark.parametrize("broken", ["", "def bad(:\n    pass\n"])
def test_five_thousand_lines_cost_some_steps_each(lines_run, broken):
    part = (STDLIB / "argparse.py").read_text(encoding="utf-8")
    text = "".join(f"{part}\n" for _ in range(2)) + broken
    count = text.count("\n")
    assert count > 5000
    parse.cache_clear()
    assert lines_run(lambda: scopes_of(text)) < MOST_STEPS * count


def test_the_work_for_a_file_grows_with_its_length_and_no_faster(lines_run) -> None:
    """Thousands of imports and functions in one file: 64 times the work for 8 times as many, if quadratic."""

    def work(count: int) -> int:
        imports = "".join(f"import m{n}\n" for n in range(count))
        text = imports + "".join(f"def f{n}():\n    return m{n}\n" for n in range(count))
        found = []
        steps = lines_run(lambda: found.extend(scopes_of(text)))
        assert found[-1].header == f"import m{count - 1}\n"
        return steps

    assert work(4000) < 10 * work(500)


def test_a_header_has_the_first_of_many_imports_of_one_name_in_their_order() -> None:
    imports = [f"from m{n} import a, b{n}" for n in range(MAX_HEADER_IMPORTS + 5)]
    text = "\n".join([*imports, "def f():", "    return a + b3", ""])
    assert scopes_of(text)[-1].header == "".join(f"{line}\n" for line in imports[:MAX_HEADER_IMPORTS])
