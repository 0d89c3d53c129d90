"""Each gate lets right candidates through and stops one that it is there for."""

import pytest

from ace_analysis.report.repair import Gate
from ace_analysis.source.document import TextSpan
from ace_analysis.steering.gates import TextGates, undefined_names

DOCUMENT = "import math\n\n\ndef area(radius):\n    square = radius * radius\n    return math.pi * square\n"
LINE = "square = radius * radius"


def gates(document: str = DOCUMENT, line: str = LINE) -> TextGates:
    start = document.index(line)
    scope = TextSpan(document.index("def "), len(document))
    return TextGates(document, scope, TextSpan(start, start + len(line)))


def stopped_by(replacement: str, document: str = DOCUMENT, line: str = LINE) -> Gate | None:
    results = gates(document, line).results(document.replace(line, replacement))
    assert all(each.passed for each in results[:-1])
    return None if results[-1].passed else results[-1].gate


def test_a_right_candidate_passes_all_of_them_in_order() -> None:
    results = gates().results(DOCUMENT.replace(LINE, "square = radius ** 2"))
    assert [each.gate for each in results] == [Gate.PARSES, Gate.REGION, Gate.NAMES]
    assert all(each.passed for each in results)


def test_what_is_no_python_is_stopped() -> None:
    assert stopped_by("square = radius *") is Gate.PARSES
    assert stopped_by("square = (radius") is Gate.PARSES


@pytest.mark.parametrize(
    "replacement", ["return = radius", "square = f(radius, x=1, x=2)", "nonlocal radius", "break"]
)
def test_what_has_a_syntax_tree_and_is_refused_by_the_compiler_is_no_python(replacement: str) -> None:
    assert stopped_by(replacement) is Gate.PARSES


def test_two_parameters_of_one_name_are_no_python_though_the_line_was_broken_before() -> None:
    assert stopped_by("def area(radius, radius):", line="def area(radius):") is Gate.PARSES
    broken = DOCUMENT.replace("def area(radius):", "def area(radius:")
    scope = TextSpan(0, len(broken))
    start = broken.index("def area(radius:")
    asked = TextGates(broken, scope, TextSpan(start, start + len("def area(radius:")))
    assert asked.results(DOCUMENT.replace("(radius)", "(radius, radius)"))[-1].gate is Gate.PARSES
    assert asked.results(DOCUMENT)[-1].passed


def test_a_scope_that_leans_on_what_is_around_it_is_judged_with_it_or_not_at_all() -> None:
    document = "def outer(x):\n    def inner():\n        nonlocal x\n        x = x + 1\n    return inner\n"
    start, line = document.index("    def inner"), "x = x + 1"
    scope = TextSpan(start, document.index("    return inner"))
    at = document.index(line)
    asked = TextGates(document, scope, TextSpan(at, at + len(line)))
    assert asked.results(document.replace(line, "x = x - 1"))[-1].passed
    assert asked.results(document.replace(line, "x = f(a=1, a=2)"))[-1].gate is Gate.PARSES
    broken = document + "\ndef g(:\n    pass\n"
    elsewhere = TextGates(broken, scope, TextSpan(at, at + len(line)))
    assert elsewhere.results(broken.replace(line, "x = x - 1"))[-1].passed


def test_what_changes_more_than_its_region_is_stopped() -> None:
    changed = DOCUMENT.replace(LINE, "square = radius").replace("math.pi", "math.e")
    assert gates().results(changed)[-1].gate is Gate.REGION
    assert "more than the region" in gates().results(changed)[-1].note


def test_the_same_program_in_other_words_is_stopped() -> None:
    assert stopped_by("square = (radius*radius)  # the square") is Gate.REGION


def test_a_name_that_nobody_defined_is_stopped() -> None:
    assert stopped_by("square = diameter * radius") is Gate.NAMES


def test_a_definition_that_others_need_may_not_go() -> None:
    result = gates().results(DOCUMENT.replace(LINE, "squared = radius * radius"))[-1]
    assert result.gate is Gate.NAMES and result.note == "'square' is not defined"


def test_a_name_that_was_undefined_before_is_no_reason() -> None:
    document = DOCUMENT.replace("math.pi", "missing")
    assert stopped_by("square = radius ** 2", document) is None


def test_a_file_that_is_broken_elsewhere_is_judged_by_the_scope() -> None:
    document = f"def broken(:\n    pass\n\n\n{DOCUMENT}"
    start = document.index(LINE)
    scope = TextSpan(document.index("def area"), len(document))
    asked = TextGates(document, scope, TextSpan(start, start + len(LINE)))
    assert asked.results(document.replace(LINE, "square = radius ** 2"))[-1].passed
    assert asked.results(document.replace(LINE, "square = diameter"))[-1].gate is Gate.NAMES


def test_a_method_is_judged_with_its_indentation() -> None:
    document = "class C:\n    def m(self, x):\n        return x + 1\n"
    start = document.index("return")
    scope = TextSpan(document.index("    def"), len(document))
    asked = TextGates(document, scope, TextSpan(start, len(document) - 1))
    assert asked.results(document.replace("x + 1", "x - 1"))[-1].passed
    assert asked.results(document.replace("x + 1", "y - 1"))[-1].gate is Gate.NAMES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\nprint(x, y)\n", {"y"}),
        ("def f(a, *b, c=1, **d):\n    return [e for e in (a, b, c, d)]\n", set()),
        ("import os.path as p, sys\nfrom re import sub as s\np, sys, s\n", set()),
        ("class A:\n    def m(self):\n        return __class__, A, self.z\n", set()),
        ("def f():\n    global g\n    g = 1\n\n\ndef h():\n    return g\n", set()),
        ("def f():\n    def inner():\n        return x\n    x = 1\n    return inner\n", set()),
        ("try:\n    pass\nexcept ValueError as e:\n    print(e, __file__)\n", set()),
        ("def f():\n    return later\n\n\nlater = 1\n", set()),
        ("with open('x') as f, (g := f):\n    f, g\n", set()),
    ],
)
def test_a_name_is_undefined_where_nothing_binds_it(text: str, expected: set[str]) -> None:
    assert undefined_names(text) == expected


@pytest.mark.parametrize("text", ["def f(:\n", "from os import *\nx\n", "\0"])
def test_what_can_not_be_known_is_none(text: str) -> None:
    assert undefined_names(text) is None
