"""`ace train steering` writes vectors and says what it wrote."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ace_analysis.cli import app
from ace_analysis.steering.vector import SteeringVector

FUNCTION = "def f{n}(a, b):\n    if a < b and b > {n}:\n        return a + b\n    return b - {n}\n\n\n"


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for project in range(20):
        folder = tmp_path / f"code/project{project}"
        folder.mkdir(parents=True)
        (folder / "m.py").write_text("".join(FUNCTION.format(n=10 * project + n) for n in range(3)))
    return tmp_path / "code"


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["train", "steering", *arguments], prog_name="ace")
    return done.exit_code, done.stdout, done.stderr


def test_vectors_are_written_and_told(corpus: Path, tiny_qwen2: Path, tmp_path: Path) -> None:
    model = ("--model", str(tiny_qwen2), "--device", "cpu", "--dtype", "float32")
    where = (str(corpus), "--projects", "-o", str(tmp_path / "out"), "--layer", "2", "--functions", "20")
    code, out, _ = run(*where, *model, "--json", "-q")
    made = json.loads(out)
    assert code == 0 and "means-all-layer2" in made["vectors"]
    assert SteeringVector.load(tmp_path / "out/means-all-layer2").about["pairs"] > 0
    code, out, err = run(*where, *model)
    assert (code, out) == (0, "") and "vectors of" in err


def test_a_corpus_that_is_none_is_told(tiny_qwen2: Path, tmp_path: Path) -> None:
    code, _, err = run("nowhere", "-o", str(tmp_path), "--model", str(tiny_qwen2))
    assert code == 2 and "expected a folder" in err
