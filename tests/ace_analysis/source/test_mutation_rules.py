"""Rule by rule: which mistakes are planted, where they are marked, and which are known to be none."""

import pytest

from ace_analysis.source.mutation import MutationGenerator, MutationPair
from ace_analysis.source.sites import candidate_sites


def pairs_of(body: str, kind: str, parameters: str = "a, b, c, d") -> list[MutationPair]:
    text = f"def f({parameters}):\n" + "".join(f"    {line}\n" for line in body.split("\n"))
    return [pair for pair in MutationGenerator().mutations_of(text, check=True) if pair.mutation_type == kind]


def mutants(body: str, kind: str, parameters: str = "a, b, c, d") -> set[str]:
    """The mutated bodies, without their indentation."""
    return {
        "\n".join(line[4:] for line in pair.negative.splitlines()[1:])
        for pair in pairs_of(body, kind, parameters)
    }


def marked(body: str, kind: str, parameters: str = "a, b, c, d") -> set[str]:
    """The candidate sites that the mutants' spans begin at."""
    found = set()
    for pair in pairs_of(body, kind, parameters):
        sites = {site.span.start: site.text for site in candidate_sites(pair.negative)}
        found.add(sites.get(pair.negative_span.start, "(no site)"))
    return found


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("comparison", "a < b", {"a <= b", "a > b"}),
        ("comparison", "a == b", {"a != b"}),
        ("comparison", "a in b", {"a not in b"}),
        ("comparison", "a not  in b", {"a in b"}),
        ("comparison", "a is not None", {"a is None"}),
        ("comparison", "a < b < c", {"a <= b < c", "a > b < c", "a < b <= c", "a < b > c"}),
        ("arithmetic", "a + b", {"a - b"}),
        ("arithmetic", "a -= b", {"a += b"}),
        ("arithmetic", "a // b", {"a / b", "a % b"}),
        ("boolean", "a and b", {"a or b"}),
        ("boolean", "a = True", {"a = False"}),
        ("off_by_one", "a = 3", {"a = 2", "a = 4"}),
        ("off_by_one", "a + 0", {"a + 1"}),
        ("missing_not", "if not a: pass", {"if a: pass"}),
        ("missing_not", "if a: pass", {"if not a: pass"}),
        ("missing_not", "while a.b(): pass", {"while not a.b(): pass"}),
        ("missing_not", "x = not a", {"x = a"}),
        ("missing_not", "return not(a)", {"return (a)"}),
        ("missing_not", "x = a if b else c", {"x = a if not b else c"}),
        ("missing_not", "if a and b: pass", {"if not a and b: pass", "if a and not b: pass"}),
        ("none_return", "return a + 1", {"return None", "a + 1"}),
        ("none_return", "return a, b", {"return None", "a, b"}),
        ("wrong_index", "a[0]", {"a[1]", "a[-1]"}),
        ("wrong_index", "a[-1]", {"a[0]", "a[-2]"}),
        (
            "wrong_index",
            "for i in range(a): b[i]",
            {"for i in range(a): b[i + 1]", "for i in range(a): b[i - 1]"},
        ),
        ("wrong_index", "a[b + 1]", {"a[b]", "a[b + 2]"}),
        ("wrong_index", "a[1:]", {"a[0:]", "a[2:]"}),
        ("wrong_index", "a[::2]", set()),
        ("swapped_arguments", "g(a, b, c)", {"g(b, a, c)", "g(a, c, b)"}),
        ("swapped_arguments", "g(a, 2)", {"g(2, a)"}),
        ("wrong_keyword", "g(p=a, q=b)", {"g(q=a, p=b)"}),
        ("wrong_keyword", "g(p=a)\ng(q=b)", {"g(q=a)\ng(q=b)", "g(p=a)\ng(p=b)"}),
        ("wrong_attribute", "a.x\na.y", {"a.y\na.y", "a.x\na.x"}),
        ("wrong_attribute", "a.append(b)", {"a.extend(b)"} | {"a.appendleft(b)"}),
        ("removed_guard", "if a: return b\nreturn c", {"return c"}),
        ("removed_guard", "if a:\n    # why\n    raise b\n\nd = c", {"d = c"}),
    ],
)
def test_what_is_planted(kind, body, expected):
    assert mutants(body, kind) == expected


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("missing_not", "if not a: pass", {"if"}),
        ("missing_not", "while not a: pass", {"while"}),
        ("missing_not", "return not a", {"return"}),
        ("missing_not", "x = not a.b", {"a"}),
        ("missing_not", "if a: pass", {"not"}),
        ("none_return", "return self.x", {"None", "x"}),
        ("none_return", "return a", {"None", "a"}),
        ("removed_guard", "if a: return b\nx = g(c)", {"g"}),
        ("removed_guard", "if a: return b\nfor x in c: pass", {"for"}),
        ("swapped_arguments", "g(a, b)", {"b"}),
        ("swapped_arguments", "g(a, self.b)", {"b"}),
        ("swapped_arguments", "g([], a)", {"a"}),
        ("wrong_keyword", "g(p=a, q=b)", {"q"}),
        ("wrong_index", "a[0]", {"1", "-"}),
        ("wrong_index", "a[-1]", {"0", "-"}),
        ("comparison", "a not in b", {"in"}),
    ],
)
def test_where_it_is_marked(kind, body, expected):
    assert marked(body, kind) == expected


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("comparison", "if a > b: b = a"),
        ("comparison", "if (a > b): b = a"),
        ("comparison", "x = a if a > b else b"),
        ("comparison", "if a > b:\n    return a\nreturn b"),
        ("comparison", "if a > b:\n    x = a\nelse:\n    x = b"),
        ("comparison", "x = -a if a < 0 else a"),
    ],
)
def test_of_two_equal_values_either_is_the_larger(kind, body):
    assert not any(">=" in text or "<=" in text for text in mutants(body, kind))


@pytest.mark.parametrize(
    ("kind", "body", "never"),
    [
        ("comparison", "len(a) > 0", "len(a) != 0"),
        ("comparison", "len(a) >= 0", "len(a) > -1"),
        ("off_by_one", "len(a) >= 0", "len(a) >= -1"),
        ("comparison", "len(a) == 0", "len(a) <= 0"),
        ("comparison", "a is None", "a == None"),
        ("comparison", "a == None", "a is None"),
        ("arithmetic", "a + 0", "a - 0"),
        ("arithmetic", "a += 0", "a -= 0"),
        ("arithmetic", "a * 1", "a / 1"),
        ("arithmetic", "2 * 2", "2 + 2"),
        ("arithmetic", "int(a / b)", "int(a // b)"),
        ("boolean", "a and a", "a or a"),
        ("off_by_one", "range(a, b, 1)", "range(a, b, 0)"),
        ("off_by_one", "a // 1", "a // 0"),
        ("swapped_arguments", "g(a, a)", "g(a, a)"),
        ("none_return", "return None", "None"),
        ("none_return", "return False", "return None"),
        ("wrong_keyword", "g(p=a, q=a)", "g(q=a, p=a)"),
    ],
)
def test_a_known_equivalent_is_never_planted(kind, body, never):
    assert never not in mutants(body, kind)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("swapped_arguments", "max(a, b)"),
        ("swapped_arguments", "math.gcd(a, b)"),
        ("swapped_arguments", "getattr(a, 'b')"),
        ("swapped_arguments", "g(*a, *b)"),
        ("removed_guard", "for x in a:\n    if x: continue"),
        ("removed_guard", "if a:\n    return\nelse:\n    c()\nd()"),
        ("removed_guard", "if a: return b"),
        ("none_return", "yield a\nreturn b"),
        ("arithmetic", "'a' + b"),
        ("arithmetic", "[0] * a"),
        ("arithmetic", "'%s' % a"),
        ("arithmetic", "str(a) + b"),
        ("wrong_keyword", "g(p=a)"),
        ("off_by_one", "a = [1, 2, 3, 4, 5, 6]"),
        ("off_by_one", "a = 0x10 + 100000"),
    ],
)
def test_what_nobody_gets_wrong_is_left_alone(kind, body):
    assert mutants(body, kind) == set()


@pytest.mark.parametrize(
    "line",
    [
        '"""a < b and not c, 1 + 2"""',
        "x: 'a < b'",
        "x: list[a]",
        "log.debug('%s', a < b, a, b)",
        "self.logger.warning('x', a + 1, exc_info=True)",
        "if __debug__: b = a < 3",
        "# a < b",
        "import a.b as c",
    ],
)
def test_what_nobody_sees_is_left_alone(line):
    text = f"def f(a, b):\n    {line}\n    return None\n"
    assert MutationGenerator().mutations_of(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("def f(a=True): pass\n", {"def f(a=False): pass\n"}),
        ("def f(a: int = 3): pass\n", {"def f(a: int = 4): pass\n", "def f(a: int = 2): pass\n"}),
    ],
)
def test_another_default_value_is_a_wrong_keyword(text, expected):
    found = [p for p in MutationGenerator().mutations_of(text) if p.mutation_type == "wrong_keyword"]
    assert {pair.negative for pair in found} == expected


# --- names ---------------------------------------------------------------------------------------------


def test_a_name_is_exchanged_for_one_that_is_used_alike():
    assert "a[c] + g(d)" in mutants("a[b] + g(d)\na[c]", "variable_misuse") | {
        text.split("\n")[0] for text in mutants("a[b] + g(d)\na[c]", "variable_misuse")
    }


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
def test_a_name_is_never_read_before_it_is_certainly_bound(body):
    """`y` is bound late, or in one branch, or elsewhere; it may only be read where it was before."""
    original = reads(f"def f(a):\n    {body.replace(chr(10), chr(10) + '    ')}\n")
    for pair in pairs_of(body, "variable_misuse", "a"):
        assert reads(pair.negative) <= original


def reads(text: str) -> int:
    return [site.text for site in candidate_sites(text)].count("y")


def test_names_of_attributes_and_keywords_are_no_variables():
    body = "g(a=a, b=b)\nreturn c.a + c.b"
    for text in mutants(body, "variable_misuse"):
        assert text.startswith("g(a=")
        assert ", b=" in text
        assert text.count(".a") == text.count(".b") == 1


def test_self_and_underscore_are_never_confused():
    body = "for _ in self.x: g(a, self, b)"
    for text in mutants(body, "variable_misuse", "self, a, b"):
        assert text.count("self") == body.count("self")
        assert text.count("_") == 1


def test_two_names_of_one_value_are_not_exchanged():
    found = mutants("e = a\nreturn g(e) + g(a)", "variable_misuse", "a")
    assert "e = a\nreturn g(a) + g(a)" not in found


def test_names_in_inner_functions_stay_inside():
    body = "def inner(p, q):\n    return p - q\nreturn a - b"
    outer = {text.split("\n")[-1] for text in mutants(body, "variable_misuse")}
    assert not any("p" in line or "q" in line for line in outer)


def test_a_called_name_is_not_exchanged_for_a_variable():
    assert mutants("g = a\ng(b)", "variable_misuse", "a, b") <= {"g = b\ng(b)", "g = a\ng(a)", "g = a\ng(g)"}
