"""A vector survives the disk, and nothing else is taken for one."""

import json
from pathlib import Path

import pytest
import torch

from ace_analysis.errors import InputError, StorageError
from ace_analysis.steering.vector import SteeringVector

VECTOR = SteeringVector(
    direction=torch.arange(4.0),
    layer=3,
    model="m",
    fingerprint="f" * 64,
    normalize=False,
    about={"method": "by hand", "pairs": 7},
)


def test_a_vector_comes_back_as_it_was(tmp_path: Path) -> None:
    file = VECTOR.save(tmp_path / "deep/v")
    assert file == tmp_path / "deep/v.safetensors"
    for path in (file, tmp_path / "deep/v", tmp_path / "deep/v.json"):
        back = SteeringVector.load(path)
        assert torch.equal(back.direction, VECTOR.direction)
        assert (back.layer, back.model, back.fingerprint, back.normalize) == (3, "m", "f" * 64, False)
        assert back.about == VECTOR.about


def test_a_name_with_dots_keeps_them(tmp_path: Path) -> None:
    assert VECTOR.save(tmp_path / "qwen2.5-v1").name == "qwen2.5-v1.safetensors"
    assert SteeringVector.load(tmp_path / "qwen2.5-v1").layer == 3


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="what is known of a steering vector"):
        SteeringVector.load(tmp_path / "none")
    file = VECTOR.save(tmp_path / "v")
    file.unlink()
    with pytest.raises(InputError, match="expected a steering vector"):
        SteeringVector.load(file)


def test_two_files_of_different_vectors_are_noticed(tmp_path: Path) -> None:
    VECTOR.save(tmp_path / "v")
    about = json.loads((tmp_path / "v.json").read_text())
    (tmp_path / "v.json").write_text(json.dumps({**about, "fingerprint": "0" * 64}))
    with pytest.raises(InputError, match="not of one vector"):
        SteeringVector.load(tmp_path / "v")


@pytest.mark.parametrize(
    ("change", "told"), [({"format": "x"}, "expected format"), ({"version": 9}, "update ace-lsp")]
)
def test_another_format_is_refused(tmp_path: Path, change: dict[str, object], told: str) -> None:
    VECTOR.save(tmp_path / "v")
    about = json.loads((tmp_path / "v.json").read_text())
    (tmp_path / "v.json").write_text(json.dumps({**about, **change}))
    with pytest.raises(InputError, match=told):
        SteeringVector.load(tmp_path / "v")


def test_a_place_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="can't be written"):
        VECTOR.save(tmp_path / "file/v")
