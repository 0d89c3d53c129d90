"""Pages of mapped weights are given back and come again with what is in the file."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ace_analysis.model import mapped
from ace_analysis.model.mapped import MAPS, let_go_of

PAGE = 4096


def resident(path: Path) -> int:
    """Bytes of a mapped file that are in this process' memory."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0] and not line.split()[0].endswith(":"):
            inside = line.endswith(str(path))
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.mark.skipif(not MAPS.exists(), reason="the system does not tell what is mapped")
def test_what_was_read_is_not_held_any_more_and_is_read_again(tmp_path: Path) -> None:
    weights = torch.arange(1_000_000, dtype=torch.float32)
    file = tmp_path / "model.safetensors"
    save_file({"weight": weights}, file)
    with safe_open(file, framework="pt") as opened:
        read = opened.get_tensor("weight")
        assert float(read.sum()) > 0
        held = resident(file)
        if held < read.nbytes:
            pytest.skip("safetensors reads the file here instead of mapping it")
        assert let_go_of(tmp_path) >= read.nbytes
        assert resident(file) < read.nbytes // 4 < held
        assert torch.equal(read, weights)


def test_files_of_other_folders_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "one" / "model.safetensors"
    file.parent.mkdir()
    save_file({"weight": torch.ones(PAGE)}, file)
    with safe_open(file, framework="pt") as opened:
        assert float(opened.get_tensor("weight").sum()) == PAGE
        assert let_go_of(tmp_path) == let_go_of(tmp_path / "none") == 0


def test_a_system_that_does_not_tell_what_is_mapped_is_no_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(mapped, "MAPS", tmp_path / "none")
    assert let_go_of(tmp_path) == 0
