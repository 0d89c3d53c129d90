"""No family is on two sides, nothing else leaves, and who gives way to whom does not depend on order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.source.corpus import CodeFunction, Split
from ace_analysis.source.families import (
    STANDARD_LIBRARY,
    family_of,
    normalised,
    relatives,
    without_relatives,
)

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
NAMES = (
    *("stdlib", "tomli", "zipp", "httpx", "httpx2", "httpcore", "pytest", "pytest-cov", "pluggy", "django"),
    *("django-filter", "rich", "requests", "parso", "jedi", "project1", "project2", "numpy"),
)
corpora = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(SPLITS), min_size=1)


def by_side(sides: dict[str, Split]) -> dict[Split, list[str]]:
    return {split: [name for name, side in sides.items() if side == split] for split in SPLITS}


def function(project: str, number: int = 0) -> CodeFunction:
    return CodeFunction(project=project, path=f"f{number}.py::f", text="def f(): pass\n", header="")


@given(corpora)
def test_what_stays_has_no_family_on_two_sides(sides: dict[str, Split]) -> None:
    gone = {(each.split, each.project) for each in relatives(by_side(sides))}
    family = {name: family_of(name, sides) for name in sides}
    kept = {name: side for name, side in sides.items() if (side, name) not in gone}
    for name, side in kept.items():
        others = {s for n, s in kept.items() if family[n] == family[name]}
        assert others == {side}
    assert STANDARD_LIBRARY not in {name for _, name in gone} or sides[STANDARD_LIBRARY] == "validation"


@given(corpora)
def test_only_projects_with_a_relative_on_another_side_leave(sides: dict[str, Split]) -> None:
    for each in relatives(by_side(sides)):
        assert sides[each.project] == each.split != each.relative_split == sides[each.relative]
        assert family_of(each.project, sides) == family_of(each.relative, sides)


@given(corpora, st.randoms(use_true_random=False))
def test_the_order_of_the_projects_does_not_matter(sides: dict[str, Split], rng: object) -> None:
    names = list(sides)
    rng.shuffle(names)  # pyright: ignore[reportAttributeAccessIssue]
    assert relatives(by_side({name: sides[name] for name in names})) == relatives(by_side(sides))


@given(st.sampled_from(NAMES))
def test_a_family_is_a_member_of_itself(name: str) -> None:
    family = family_of(name, NAMES)
    assert family_of(family, NAMES) == family
    assert family_of(name.upper().replace("-", "_"), NAMES) == family


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("httpx", "httpcore2"),
        ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"),
        ("dol", "py2store"),
        ("jedi", "parso"),
        ("hatch", "hatchling"),
        ("markdown-it-py", "mdurl"),
        ("pytest-timeout", "pytest_asyncio"),
        ("celery", "kombu"),
        ("einops", "fancy_einsum"),
        ("backports.zoneinfo", STANDARD_LIBRARY),
        ("importlib_resources", STANDARD_LIBRARY),
        ("jupyter-client", "traitlets"),
    ],
)
def test_relatives_are_known_without_each_other(one: str, other: str) -> None:
    assert family_of(one) == family_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("markdown", "markdown-it-py"),
        ("python-docx", "python-dateutil"),
        ("stdlib-list", STANDARD_LIBRARY),
        ("project1", "project2"),
        ("typing-inspection", "typing-extensions"),
        ("h11", "h2"),
        ("httpx", "requests"),
    ],
)
def test_a_likeness_of_names_alone_makes_no_relatives(one: str, other: str) -> None:
    among = (one, other, "python", "typing-extensions")
    assert family_of(one, among) != family_of(other, among)


def test_a_number_or_a_suffix_counts_where_the_name_without_it_is_there() -> None:
    assert family_of("tool2") == "tool2" and family_of("tool-extras") == "tool-extras"
    assert family_of("tool2", ["tool"]) == family_of("tool-extras", ["Tool"]) == "tool"


def test_names_are_compared_as_package_indexes_do() -> None:
    assert normalised("Py_Foo..bar") == "py-foo-bar"


def test_training_gives_way_to_exams_and_validation_to_the_test() -> None:
    found = relatives({"train": ["httpx"], "validation": ["httpcore", "rich"], "test": ["httpx2"]})
    assert {(each.project, each.relative) for each in found} == {("httpx", "httpx2"), ("httpcore", "httpx2")}
    assert str(found[0]) == "httpcore (validation), a relative of httpx2 (test)"


def test_relatives_of_the_standard_library_leave_the_exams_while_it_trains() -> None:
    found = relatives({"train": ["stdlib", "tomli"], "validation": ["zipp"], "test": ["typing-extensions"]})
    assert {each.project for each in found} == {"zipp", "typing-extensions"}
    assert {each.relative for each in found} == {"stdlib"}
    found = relatives({"train": ["tomli"], "test": ["typing-extensions"]})
    assert [each.project for each in found] == ["tomli"]


def test_functions_go_with_their_project_and_are_counted() -> None:
    given: dict[Split, list[CodeFunction]] = {
        "train": [function("rich"), function("jedi", 1), function("jedi", 2)],
        "validation": [function("requests")],
        "test": [function("parso")],
    }
    separated = without_relatives(given)
    assert {s: [f.project for f in kept] for s, kept in separated.functions.items()} == {
        "train": ["rich"],
        "validation": ["requests"],
        "test": ["parso"],
    }
    (gone,) = separated.left_out
    assert (gone.project, gone.split, gone.relative, gone.functions) == ("jedi", "train", "parso", 2)
    assert len(given["train"]) == 3
