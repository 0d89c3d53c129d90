"""The edits of a line: what they may not touch, and which mistakes they undo."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ace_analysis.errors import InputError
from ace_analysis.source.mutation import MutationGenerator, MutationType
from ace_analysis.steering.candidates import EditKind, Programs, line_edits, line_span, program_of

FUNCTION = '''def merge(first, second, key=None):
    """Both lists as one, in order."""
    result, i, j = [], 0, 0
    while i < len(first) and j < len(second):
        if key is not None and key(first[i]) <= key(second[j]):
            result.append(first[i])
            i += 1
        else:
            result.append(second[j])
            j = j + 1
    result.extend(first[i:] or second[j:])
    return result if result else [None]
'''
LINES = range(len(FUNCTION.splitlines()))
UNDONE = {
    MutationType.COMPARISON,
    MutationType.ARITHMETIC,
    MutationType.BOOLEAN,
    MutationType.OFF_BY_ONE,
    MutationType.VARIABLE_MISUSE,
    MutationType.SWAPPED_ARGUMENTS,
    MutationType.WRONG_INDEX,
}


def results(text: str, line: int) -> list[str]:
    return [edit.applied_to(text) for edit in line_edits(text, line)]


@pytest.mark.parametrize("line", LINES)
def test_only_the_line_changes_and_it_stays_one_line(line):
    before = FUNCTION.split("\n")
    for text in results(FUNCTION, line):
        after = text.split("\n")
        assert len(after) == len(before)
        assert [i for i, pair in enumerate(zip(before, after, strict=True)) if len(set(pair)) > 1] == [line]


@pytest.mark.parametrize("line", LINES)
def test_no_two_edits_give_the_same_text(line):
    found = results(FUNCTION, line)
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("indent", ["", "    "])
def test_planted_mistakes_can_be_undone(indent):
    right = "".join(indent + line for line in FUNCTION.splitlines(keepends=True))
    pairs = [pair for pair in MutationGenerator().mutations_of(right) if pair.mutation_type in UNDONE]
    assert {pair.mutation_type for pair in pairs} >= UNDONE - {MutationType.SWAPPED_ARGUMENTS}
    for pair in pairs:
        line = pair.negative.count("\n", 0, pair.negative_span.start)
        wanted = program_of(right)
        assert wanted in map(program_of, results(pair.negative, line)), pair.negative.split("\n")[line]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("while True:", "while queue:"),
        ("return []", "return [a]"),
        ("return []", "return [[]]"),
        ("return True", "return a == 0"),
        ("a = a + b", "a = max(a, a + b)"),
        ("return f(a, b)", "return f(b, a)"),
        ("return f(a)", "return a"),
        ("f(a)", "return f(a)"),
        ("if f(a):", "if not f(a):"),
        ("if a < 0:", "if a < 0 or not b:"),
        ("for a in b:", "for a in b[k:]:"),
        ("for a in range(b):", "for a in range(b + 1):"),
        ("k = b[a]", "k = b[a - 1]"),
        ("k = a * b", "k = a * (b - 1)"),
        ("k=a*b", "k=a*(b-1)"),
        ("k = sum(a, b)", "k = sum(a)"),
        ("k = any(a)", "k = all(a)"),
        ("a.append(b)", "a.extend(b)"),
        ("a = b", "a += b"),
        ("break", "continue"),
        ("yield f(a)", "yield from f(a)"),
        ("k = ''", "k = ' '"),
        ("k = None", "k = False"),
        ("return a", "return -a"),
    ],
)
def test_a_mistake_and_its_undoing(wrong, right):
    body = "\n        pass" if wrong.endswith(":") else ""
    text = f"def f(a, b, k, queue):\n    for _ in a:\n     pass\n    {wrong}{body}\n"
    changed = text.replace(f"    {wrong}", f"    {right}")
    assert program_of(changed) in map(program_of, results(text, 3))


@pytest.mark.parametrize("text", ["x = 1\n\n", "", "# only a comment", "def f(:\n  (("])
def test_a_line_with_nothing_to_change_has_few_edits_or_none(text):
    assert all(program_of(each) is None for each in results(text, text.count("\n")))


def test_text_beyond_ascii_and_windows_line_ends_keep_their_places():
    text = "def f(n):\r\n    s = 'größer ✓'\r\n    if n < 1 and s != '✓':\r\n        return n\r\n"
    changed = [each for each in results(text, 2) if "n <= 1" in each]
    assert changed == [text.replace("n < 1", "n <= 1")]


@example(" ")
@settings(max_examples=40, deadline=None)
@given(st.text(alphabet=" \n()[]:=<+-1aif.,'\\", max_size=40))
def test_any_text_is_taken(text):
    for line in range(text.count("\n") + 1):
        line_edits(text, line)


def test_a_line_that_the_text_does_not_have_is_refused():
    with pytest.raises(InputError, match=r"expected a line of 0\.\.1, got 2"):
        line_span("a\nb", 2)


def test_the_span_of_a_line_is_its_text_without_its_indentation():
    span = line_span("if a:\n\t b = 1  \r\n", 1)
    assert "if a:\n\t b = 1  \r\n"[span.start : span.end] == "b = 1"


def test_the_same_program_in_other_words_is_not_new():
    programs = Programs("x = (a + b)\n")
    assert not programs.is_new("x = a + b  # the sum\n")
    assert programs.is_new("x = a - b\n")
    assert not programs.is_new("x = (a - b)\n")
    assert not programs.is_new("x = (a -\n")


def test_a_method_is_a_program_though_it_is_indented():
    assert program_of("    def f(self):\n        return 1\n") == program_of("def f(self):\n  return 1\n")
    assert program_of("    return (") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a < b", "b > a"),
        ("a >= b + 1", "b + 1 <= a"),
        ("a == b", "b == a"),
        ("a * (b + 1)", "(b + 1) * a"),
        ("not a == b", "a != b"),
        ("not (a in b)", "a not in b"),
        ("not b is None", "b is not None"),
        ("a if b > c else d", "a if c < b else d"),
        ("sorted(list(a), key=k)", "sorted(a, key=k)"),
        ("list(sorted(a, key=k))", "sorted(a, key=k)"),
        ("set(tuple(a))", "set(a)"),
        ("list(list(list(a)))", "list(a)"),
        ("abs(abs(a > b))", "abs(b < a)"),
    ],
)
def test_other_words_for_the_same(one, other):
    assert program_of(f"x = {one}\n") == program_of(f"x = {other}\n")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a < b", "a > b"),
        ("a + b", "b + a"),
        ("a - b", "b - a"),
        ("a < b < c", "c > b > a > 0"),
        ("not a < b", "a < b"),
        ("a and b", "b and a"),
        ("a in b", "b in a"),
        ("a @ b", "b @ a"),
        ("sorted(sorted(a), key=k)", "sorted(a, key=k)"),
        ("max(list(a), b)", "max(a, b)"),
        ("len(list(a))", "len(a)"),
        ("iter(list(a))", "iter(a)"),
        ("list(list(*a))", "list(*a)"),
        ("str(int(a))", "str(a)"),
        ("a.sorted(list(b))", "a.sorted(b)"),
    ],
)
def test_what_may_be_another_thing_stays_another_program(one, other):
    assert program_of(f"x = {one}\n") != program_of(f"x = {other}\n")


def test_edits_of_one_token_come_first():
    kinds = [edit.kind for edit in line_edits("def f(a, b):\n    return a + b\n", 1)]
    assert kinds.index(EditKind.ARITHMETIC) < kinds.index(EditKind.SWAP)
