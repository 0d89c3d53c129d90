"""What was begun goes on with the same, and with nothing else."""

from pathlib import Path

import pytest

from ace_analysis.errors import FingerprintError, InputError, StorageError
from ace_analysis.features.claims import claim

ABOUT = {"model": "a", "layer": 3, "slots": (0, 1)}


def test_a_folder_is_made_and_stays_claimed_by_the_same(tmp_path: Path) -> None:
    path = tmp_path / "new" / "about.json"
    claim(path, ABOUT, "clear it")
    before = path.read_bytes()
    claim(path, dict(reversed(ABOUT.items())), "clear it")
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["about.json"]


@pytest.mark.parametrize(
    ("about", "names"),
    [
        ({**ABOUT, "layer": 4}, "layer"),
        ({**ABOUT, "layer": 4, "model": "b"}, "layer, model"),
        ({"model": "a", "layer": 3}, "slots"),
        ({**ABOUT, "seed": 0}, "seed"),
    ],
)
def test_what_is_different_is_named(tmp_path: Path, about: dict[str, object], names: str) -> None:
    claim(tmp_path / "about.json", ABOUT, "clear it")
    with pytest.raises(FingerprintError, match=f"{tmp_path}: begun with another {names}; clear it"):
        claim(tmp_path / "about.json", about, "clear it")


@pytest.mark.parametrize("content", ["", "{"])
def test_a_claim_that_can_t_be_read_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "about.json").write_text(content)
    with pytest.raises(InputError, match=r"about.json: expected what was begun here.*; clear it"):
        claim(tmp_path / "about.json", ABOUT, "clear it")


def test_a_claim_of_another_form_is_another(tmp_path: Path) -> None:
    (tmp_path / "about.json").write_text("[1]")
    with pytest.raises(FingerprintError, match="another layer, model, slots; clear it"):
        claim(tmp_path / "about.json", ABOUT, "clear it")


def test_a_folder_that_can_t_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file: can't be written"):
        claim(tmp_path / "file" / "about.json", ABOUT, "clear it")
