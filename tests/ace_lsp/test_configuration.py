from pathlib import Path

import pytest

from ace_lsp.configuration import Configuration
from ace_lsp.settings import Run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "inner").mkdir(parents=True)
    return folder


def configuration(*roots: Path, options: object = None) -> Configuration:
    made = Configuration()
    made.start(options, roots)
    return made


def test_nothing_set_anywhere_means_the_defaults(project):
    settings = configuration(project).of(project / "a.py")
    assert settings.server.run is Run.ON_TYPE
    assert settings.check.max_false_alarms == 1.0
    assert not settings.excluded


def test_each_source_beats_the_one_before(project):
    mine = configuration(project, options={"run": "manual", "debounce": 2, "check": {"maxFalseAlarms": 2}})
    (project / "ace.toml").write_text('[lsp]\nrun = "onSave"\ndebounce = 1\nmax_lines = 1\n')
    assert mine.of(project / "a.py").server.run is Run.MANUAL
    mine.set_client({"debounce": 3}, {project: {"check": {"max_false_alarms": 4}}})
    settings = mine.of(project / "a.py")
    assert (settings.server.run, settings.server.debounce, settings.server.max_lines) == (Run.MANUAL, 3, 1)
    assert settings.check.max_false_alarms == 4
    assert mine.of(None).check.max_false_alarms == 4


def test_a_documents_nearest_file_counts_and_is_read_again_only_when_told(project):
    (project / "inner/ace.toml").write_text("[check]\nmax_false_alarms = 5\n")
    mine = configuration(project)
    assert mine.of(project / "inner/a.py").check.max_false_alarms == 5
    assert mine.of(project / "a.py").check.max_false_alarms == 1
    (project / "inner/ace.toml").write_text("[check]\nmax_false_alarms = 6\n")
    assert mine.of(project / "inner/a.py").check.max_false_alarms == 5
    mine.forget_files()
    assert mine.of(project / "inner/a.py").check.max_false_alarms == 6


def test_exclusion_counts_from_the_files_folder_and_else_from_the_workspaces(project):
    (project / "inner/ace.toml").write_text('[check]\nexclude = ["/b.py"]\n')
    mine = configuration(project, options={})
    assert mine.of(project / "inner/b.py").excluded
    assert not mine.of(project / "b.py").excluded
    mine.set_client({"check": {"exclude": ["inner/"]}}, {})
    assert mine.of(project / "other.py").excluded is False
    (project / "inner/ace.toml").unlink()
    mine.forget_files()
    assert mine.of(project / "inner/a.py").excluded


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[check\n", "expected TOML"),
        ("[check]\nmax_false_alarm = 1\n", "did you mean 'max_false_alarms'"),
        ('[lsp]\nrun = "never"\n', "expected one of onType, onSave, manual"),
        ('[lsp.worker]\ncommand = ["x"]\n', "read from the editor's settings only"),
    ],
)
def test_a_mistake_in_a_file_names_the_file_once_and_leaves_the_rest(project, text, told):
    (project / "ace.toml").write_text(text)
    mine = configuration(project, options={"debounce": 7})
    assert mine.of(project / "a.py").server.debounce == 7
    (problem,) = mine.new_problems()
    assert told in problem and str(project / "ace.toml") in problem
    mine.forget_files()
    assert mine.of(project / "a.py").server.worker.command == ()
    assert mine.new_problems() == ()


def test_a_mistake_in_the_editors_engine_settings_leaves_the_files(project):
    (project / "ace.toml").write_text("[check]\nmax_false_alarms = 5\n")
    mine = configuration(project, options={"check": {"maxFalseAlarm": 2}})
    assert mine.of(project / "a.py").check.max_false_alarms == 5
    assert "did you mean 'max_false_alarms'" in mine.new_problems()[0]


def test_kinds_to_hide_may_be_a_findings_or_a_sites_and_a_misspelt_one_is_told(project):
    mine = configuration(options={"check": {"ignore": ["name", "off-by-one", "comparsion"]}})
    assert mine.of(None).hidden >= {"variable-misuse", "off-by-one"}
    assert mine.new_problems() == ("check.ignore: unknown kind 'comparsion'; did you mean 'comparison'?",)


def test_the_worker_is_told_the_first_folders_model_and_never_what_to_hide(project):
    (project / "ace.toml").write_text('[model]\nname = "mine"\n[check]\nignore = ["comparison"]\n')
    plan = configuration(project, options={"worker": {"command": ["x"]}}).worker_plan()
    assert plan.command == ("x",)
    assert plan.engine["model"]["name"] == "mine"
    assert plan.engine["check"]["ignore"] == ()


def test_what_is_set_is_known_while_another_model_is_chosen():
    mine = configuration(options={"model": {"name": "set"}})
    mine.choose_model("chosen")
    assert mine.model_set == "set"
    assert mine.worker_plan().engine["model"]["name"] == "chosen"


def test_a_worker_serves_for_other_thresholds_and_not_for_another_model():
    plans = {
        name: configuration(options=options).worker_plan().identity
        for name, options in {
            "default": {},
            "check": {"check": {"max_false_alarms": 3}, "debounce": 9},
            "model": {"model": {"name": "x"}},
            "command": {"worker": {"command": ["x"]}},
        }.items()
    }
    assert plans["default"] == plans["check"]
    assert plans["default"] not in (plans["model"], plans["command"])


def test_without_a_command_of_the_users_this_python_runs_the_engine_outside_of_the_project():
    command = configuration().worker_plan().command
    assert command[1:] == ("-P", "-m", "ace_analysis.worker")
