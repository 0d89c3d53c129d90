"""What holds for every planted bug, on the standard library's own functions."""

import ast
import random
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from ace_analysis.errors import InputError
from ace_analysis.source.mutation import MutationGenerator, MutationPair, MutationType
from ace_analysis.source.mutation.generator import is_python, spread
from ace_analysis.source.sites import candidate_sites
from ace_analysis.source.syntax import scopes_of

STDLIB = Path(ast.__file__).parent
FILES = [
    *(
        "argparse.py",
        "configparser.py",
        "datetime.py",
        "fractions.py",
        "heapq.py",
        "shutil.py",
        "statistics.py",
    ),
    *("json/decoder.py", "logging/handlers.py", "email/message.py", "asyncio/streams.py", "subprocess.py"),
]
SHARE_AT_A_SITE = 0.95


def functions() -> list[str]:
    found = []
    for name in FILES:
        text = (STDLIB / name).read_text(encoding="utf-8")
        parts = [text[s.span.start : s.span.end] for s in scopes_of(text) if s.kind != "module"]
        found += [part for part in parts if 4 <= part.count("\n") <= 80][::3]
    return found


@pytest.fixture(scope="module")
def pairs() -> list[MutationPair]:
    return [pair for text in functions() for pair in MutationGenerator().mutations_of(text)]


def test_every_type_occurs_in_real_code(pairs):
    assert {pair.mutation_type for pair in pairs} == set(MutationType)


def test_every_mutant_parses_and_compiles(pairs):
    for pair in random.Random(0).sample(pairs, 2000):
        assert is_python(pair.negative), pair
        text = textwrap.dedent(pair.negative)
        if is_compiled(textwrap.dedent(pair.positive)):
            assert is_compiled(text), pair


def is_compiled(text: str) -> bool:
    try:
        compile(text, "mutant", "exec", dont_inherit=True)
    except SyntaxError:
        return False
    return True


def test_a_mutant_differs_from_the_original_inside_its_span_only(pairs):
    for pair in pairs:
        before, after = pair.positive_span, pair.negative_span
        assert pair.positive != pair.negative
        assert pair.positive[: before.start] == pair.negative[: before.start]
        assert pair.positive[before.end :] == pair.negative[after.end :]
        assert before.start <= after.start
        if pair.mutation_type not in (MutationType.REMOVED_GUARD, MutationType.SWAPPED_ARGUMENTS):
            changed = pair.negative[before.start : after.start]
            assert "\n" not in changed


def test_mutants_begin_at_a_candidate_site(pairs):
    """Because a detector scores candidate sites only. Swapped strings have none, and are rare."""
    total: Counter[MutationType] = Counter()
    hit: Counter[MutationType] = Counter()
    for pair in random.Random(1).sample(pairs, 1500):
        total[pair.mutation_type] += 1
        starts = {site.span.start for site in candidate_sites(pair.negative)}
        hit[pair.mutation_type] += pair.negative_span.start in starts
    shares = {kind.value: hit[kind] / count for kind, count in total.items()}
    assert sum(hit.values()) >= SHARE_AT_A_SITE * sum(total.values()), shares
    assert all(share > 0.8 for share in shares.values()), shares


def test_no_two_mutants_of_a_text_are_the_same():
    for text in functions()[::4]:
        negatives = [pair.negative for pair in MutationGenerator().mutations_of(text)]
        assert len(set(negatives)) == len(negatives)
        assert text not in negatives


def test_a_method_is_mutated_like_the_function_that_it_is():
    for text in functions()[::4]:
        indented = MutationGenerator().mutations_of(text)
        flat = MutationGenerator().mutations_of(dedented(text))
        if "\n\n" not in text and '"""' not in text:
            assert [pair.mutation_type for pair in indented] == [pair.mutation_type for pair in flat]


def dedented(text: str) -> str:
    indent = len(text) - len(text.lstrip(" "))
    return "".join(line[indent:] for line in text.splitlines(keepends=True))


def test_checking_finds_nothing_to_drop():
    for text in functions()[::10]:
        assert MutationGenerator().mutations_of(text, check=True) == MutationGenerator().mutations_of(text)


@pytest.mark.parametrize("text", ["def f(:\n    pass\n", "print 'a'\n", "\x00", "def f():\n  return (\n"])
def test_what_is_not_python_has_no_mutants(text):
    assert MutationGenerator().mutations_of(text) == []


@pytest.mark.parametrize("text", ["", "\n", "# only\n", "def f(): pass\n"])
def test_what_has_nothing_to_mistake_has_no_mutants(text):
    assert MutationGenerator().mutations_of(text) == []


@pytest.mark.parametrize("word", ["🐍", "漢字", "\ufeff", "e\u0301"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_spans_count_code_points(word, newline):
    text = newline.join(
        ["def f(a, b):", f"    # {word}", f"    s = '{word}' if a < b else a", "    return s", ""]
    )
    found = MutationGenerator().mutations_of(text)
    assert ("<", "<=") in {
        (
            text[p.positive_span.start : p.positive_span.end],
            p.negative[p.negative_span.start : p.negative_span.end],
        )
        for p in found
    }


# --- sampling ------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_pairs_and_another_seed_others():
    snippets = functions()[:12]
    assert MutationGenerator(3).generate_pairs(snippets) == MutationGenerator(3).generate_pairs(snippets)
    assert MutationGenerator(3).generate_pairs(snippets) != MutationGenerator(4).generate_pairs(snippets)


def test_a_snippets_pairs_do_not_depend_on_the_others():
    first, second = functions()[:2]
    alone = MutationGenerator().generate_pairs([second])
    assert MutationGenerator().generate_pairs([first, second])[-len(alone) :] == alone


SCRIPT = """
import hashlib, sys
from ace_analysis.source.mutation import MutationGenerator
text = sys.stdin.read()
pairs = MutationGenerator(1).generate_pairs([text]) + MutationGenerator().mutations_of(text)
print(hashlib.sha256("".join(pair.negative for pair in pairs).encode()).hexdigest())
"""


def test_pairs_do_not_depend_on_the_randomisation_of_hashes():
    text = max(functions(), key=len)
    found = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            input=text,
            env={"PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(found) == 1


def test_a_sample_goes_round_the_types():
    text = max(
        functions(), key=lambda part: len({p.mutation_type for p in MutationGenerator().mutations_of(part)})
    )
    every = MutationGenerator().mutations_of(text)
    kinds = {pair.mutation_type for pair in every}
    chosen = spread(every, len(kinds), random.Random(0))
    assert {pair.mutation_type for pair in chosen} == kinds
    assert len(spread(every, 10**6, random.Random(0))) == len(every)


def test_pairs_per_snippet_bounds_the_sample():
    pairs = MutationGenerator(0, pairs_per_snippet=2).generate_pairs(functions()[:5])
    assert len(pairs) == 10


def test_pairs_per_snippet_must_be_positive():
    with pytest.raises(InputError, match="pairs_per_snippet must be at least 1, got 0"):
        MutationGenerator(pairs_per_snippet=0)


def test_one_text_instead_of_a_list_is_told_what_was_expected():
    with pytest.raises(InputError, match=r"expected a list of texts, got one str; give \[text\]"):
        MutationGenerator().generate_pairs("x = 1\n")


@pytest.mark.parametrize("snippet", ["def f(:\n", None])
def test_a_snippet_that_is_not_python_is_named(snippet):
    with pytest.raises(InputError, match="expected Python, got snippet 1"):
        MutationGenerator().generate_pairs(["x = 1\n", snippet])
