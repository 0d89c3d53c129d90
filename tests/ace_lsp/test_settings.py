from pathlib import Path

import pytest

from ace_lsp.settings import Run, ServerSettings, folder_of, merge, parse_settings


def test_nothing_set_means_the_defaults():
    assert parse_settings(None).settings == ServerSettings()
    assert parse_settings([]) == parse_settings(None)
    assert parse_settings({}).problems == ()


def test_camel_case_and_snake_case_mean_the_same():
    camel = parse_settings({"worker": {"cancelTimeout": 2}, "maxLines": 3})
    snake = parse_settings({"worker": {"cancel_timeout": 2}, "max_lines": 3})
    assert camel == snake
    assert camel.settings.worker.cancel_timeout == 2.0
    assert camel.settings.max_lines == 3


def test_a_section_ace_around_everything_is_taken_off():
    assert parse_settings({"ace": {"run": "manual"}}).settings.run is Run.MANUAL


def test_an_unknown_key_names_the_nearest_known_one_and_costs_nothing_else():
    parsed = parse_settings({"debonce": 100, "run": "onSave"})
    assert parsed.problems == ("ace: unknown setting 'debonce'; did you mean 'debounce'?",)
    assert parsed.settings == ServerSettings(run=Run.ON_SAVE)


def test_an_unknown_key_of_a_section_is_told_with_its_section():
    (problem,) = parse_settings({"worker": {"idleMinute": 1}}).problems
    assert problem == "ace.worker: unknown setting 'idleMinute'; did you mean 'idleMinutes'?"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ({"run": "always"}, "one of onType, onSave, manual"),
        ({"enable": 1}, "true or false"),
        ({"debounce": "600"}, "a number of at least 0"),
        ({"debounce": -1}, "a number of at least 0"),
        ({"worker": {"command": "ace worker"}}, "a list of strings"),
        ({"worker": 3}, "a section"),
    ],
)
def test_a_value_of_the_wrong_kind_says_what_was_expected_and_keeps_the_default(raw, expected):
    parsed = parse_settings(raw)
    assert parsed.settings == ServerSettings()
    assert len(parsed.problems) == 1
    assert f"expected {expected}" in parsed.problems[0]


def test_something_else_than_settings_is_told():
    assert "expected settings by name" in parse_settings([1]).problems[0]


def test_the_engines_sections_are_passed_on_and_what_only_plugins_read_is_left():
    raw = {"model": {"name": "m", "cacheDir": None}, "interpreter": ["python"], "check": {}}
    parsed = parse_settings(raw)
    assert parsed.problems == ()
    assert parsed.settings.engine == {"model": {"name": "m"}, "check": {}}


def test_merging_goes_section_by_section_and_null_sets_nothing():
    assert merge({"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"y": 3}, "b": None}) == {
        "a": {"x": 1, "y": 3},
        "b": 1,
    }


def test_a_file_belongs_to_the_deepest_folder_that_holds_it():
    folders = (Path("/w"), Path("/w/inner"), Path("/w/inn"))
    assert folder_of(Path("/w/inner/a.py"), folders) == Path("/w/inner")
    assert folder_of(Path("/elsewhere/a.py"), folders) is None
