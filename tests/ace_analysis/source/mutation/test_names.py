"""Names that are taken for each other, and those that can't be."""

import pytest

from ace_analysis.source.sites import candidate_sites


def test_a_name_is_exchanged_for_one_that_is_used_alike(mutants):
    assert "a[c] + g(d)\na[c]" in mutants("a[b] + g(d)\na[c]", "variable_misuse")


@pytest.mark.parametrize(
    "body",
    [
        "x = a.m()\ny = x.m()",
        "if a:\n    y = a\nreturn a",
        "for y in a: pass\nreturn a",
        "y = [y for y in a]",
        "try: pass\nexcept E as y: pass\nreturn a",
        "g = lambda y: 1\nreturn a",
    ],
)
def test_a_name_is_never_read_before_it_is_certainly_bound(pairs_of, body):
    """`y` is bound late, or in one branch, or elsewhere; it may only be read where it was before."""
    original = reads(f"def f(a):\n    {body.replace(chr(10), chr(10) + '    ')}\n")
    for pair in pairs_of(body, "variable_misuse", "a"):
        assert reads(pair.negative) <= original


def reads(text: str) -> int:
    return [site.text for site in candidate_sites(text)].count("y")


def test_names_of_attributes_and_keywords_are_no_variables(mutants):
    body = "g(a=a, b=b)\nreturn c.a + c.b"
    for text in mutants(body, "variable_misuse"):
        assert text.startswith("g(a=")
        assert ", b=" in text
        assert text.count(".a") == text.count(".b") == 1


def test_self_and_underscore_are_never_confused(mutants):
    body = "for _ in self.x: g(a, self, b)"
    for text in mutants(body, "variable_misuse", "self, a, b"):
        assert text.count("self") == body.count("self")
        assert text.count("_") == 1


def test_two_names_of_one_value_are_not_exchanged(mutants):
    found = mutants("e = a\nreturn g(e) + g(a)", "variable_misuse", "a")
    assert "e = a\nreturn g(a) + g(a)" not in found


def test_names_in_inner_functions_stay_inside(mutants):
    body = "def inner(p, q):\n    return p - q\nreturn a - b"
    outer = {text.split("\n")[-1] for text in mutants(body, "variable_misuse")}
    assert not any("p" in line or "q" in line for line in outer)


def test_a_called_name_is_not_exchanged_for_a_variable(mutants):
    assert mutants("g = a\ng(b)", "variable_misuse", "a, b") <= {"g = b\ng(b)", "g = a\ng(a)", "g = a\ng(g)"}
