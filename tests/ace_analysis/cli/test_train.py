"""From a folder of projects to findings, with a tiny random model: the whole path that a user goes."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from ace_analysis.cli import app
from ace_analysis.engine import Engine, ScanOptions
from ace_analysis.evaluation.corpora import SPLITS
from ace_analysis.evaluation.made_of import read_made_of
from ace_analysis.evaluation.probe_file import read_probe
from ace_analysis.features.bundle import Bundle
from ace_analysis.features.bundle_files import PROBE_FILE
from ace_analysis.settings import EngineSettings, ModelSettings, cache_dir
from ace_analysis.source.document import CodeDocument

FUNCTION = '''
def {name}_{number}(values, limit={number}):
    """Sum of what is below a limit."""
    total = {number}
    for index, value in enumerate(values):
        if value < limit and index != {number}:
            total += value * index
    return total
'''
PROJECTS = 6

Ace = Callable[..., Result]


@pytest.fixture
def projects(tmp_path: Path) -> Path:
    """Six small projects; which of them are held out is settled by their names."""
    root = tmp_path / "projects"
    for number in range(PROJECTS):
        folder = root / f"project{number}"
        folder.mkdir(parents=True)
        text = "".join(FUNCTION.format(name=f"sum{number}", number=10 * number + k) for k in range(3))
        (folder / "code.py").write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def ace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ace:
    """The command, with a cache of its own: no other test may find the bundle."""
    monkeypatch.setenv("ACE_CACHE_DIR", str(tmp_path / "cache"))

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["train", *map(str, arguments)], prog_name="ace")

    return run


SMALL = ("--width", "64", "--k", "4", "--tokens", "20480")


def test_a_folder_of_projects_becomes_a_bundle_that_a_scan_works_with(
    ace: Ace, projects: Path, tiny_qwen2: Path
) -> None:
    """The bundle goes where a scan finds it, and says in its card what it was made of."""
    done = ace("bundle", projects, "--projects", "--model", tiny_qwen2, *SMALL, "--json", "--quiet")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    folder = Path(told["folder"])
    assert folder == cache_dir() / "bundles" / tiny_qwen2.name
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert "explained variance" in card and "Cross-entropy recovered" in card and "project0" in card
    made = read_made_of(folder)
    assert made is not None and made.projects_of(*SPLITS) == {f"project{n}" for n in range(PROJECTS)}
    sums = {text for some in made.functions.values() for each in some.values() for _, text in each}
    assert len(sums) == 3 * PROJECTS and "" not in sums
    probe = read_probe(folder / PROBE_FILE, 4 * Bundle.load(folder).coder.d_model)
    assert probe.rows > 0 and PROBE_FILE in card
    settings = EngineSettings(model=ModelSettings(name=str(tiny_qwen2), device="cpu", dtype="float32"))
    engine = Engine.load(settings)
    document = CodeDocument(uri="a.py", text=FUNCTION.format(name="f", number=1))
    (report,) = engine.scan(document, options=ScanOptions(sites=True))
    assert report.sites and all(0 < site.score < 1 for site in report.sites)

    again = ace("bundle", projects, "--projects", "--model", tiny_qwen2, *SMALL, "--json", "--quiet")
    assert again.exit_code == 0, again.output
    assert (folder / "card.md").read_text(encoding="utf-8") == card


def test_a_harvest_and_a_coder_can_be_made_one_by_one(
    ace: Ace, projects: Path, tiny_qwen2: Path, tmp_path: Path
) -> None:
    harvest, out = tmp_path / "harvest", tmp_path / "coder"
    done = ace(
        "harvest", projects, "--projects", "--model", tiny_qwen2, "--out", harvest, "--json", "--quiet"
    )
    assert done.exit_code == 0, done.output
    counts = json.loads(done.stdout)["functions"]
    assert sum(counts.values()) == 3 * PROJECTS and min(counts.values()) > 0
    done = ace("merge", harvest, "--out", tmp_path / "merged", "--json", "--quiet")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["functions"] == counts
    harvest = tmp_path / "merged"
    done = ace("sae", harvest, "--out", out, *SMALL, "--json", "--quiet")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["width"] == 64 and told["hook"] == "blocks.1.hook_resid_post"
    assert (out / "sparse_coder.safetensors").is_file()
    nowhere = ace("sae", harvest, "--out", out, *SMALL, "--device", "nowhere", "--quiet")
    assert nowhere.exit_code == 2 and "expected a device" in nowhere.stderr

    wide = ace("sae", harvest, "--out", out, "--width", "32", "--tokens", "4096", "--quiet")
    assert wide.exit_code == 2 and "begun with another d_sae" in wide.stderr


def test_too_few_projects_are_refused_with_what_to_do(
    ace: Ace, projects: Path, tiny_qwen2: Path, tmp_path: Path
) -> None:
    done = ace("harvest", projects, "--model", tiny_qwen2, "--out", tmp_path / "h")
    assert done.exit_code == 2 and "--projects" in done.stderr


def test_the_help_needs_no_model_and_names_all_steps(ace: Ace) -> None:
    done = ace("--help")
    assert done.exit_code == 0
    assert all(name in done.stdout for name in ("harvest", "merge", "sae", "bundle"))
