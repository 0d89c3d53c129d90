"""What is kept of earlier scans, and that nothing that happens to the file stops a scan."""

import logging
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ace_analysis.engine import cache as cache_module
from ace_analysis.engine.cache import CHECK_EVERY, FILE_NAME, SCHEMA, ResultCache

BIG = 10**8


def key(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_what_was_put_is_there_in_memory_and_in_the_next_process(tmp_path: Path) -> None:
    first = ResultCache(tmp_path, BIG)
    first.put(key(1), b"one")
    assert first.get(key(1)) == b"one" and first.get(key(2)) is None
    first.close()
    assert ResultCache(tmp_path, BIG).get(key(1)) == b"one"


def test_the_newest_value_of_a_key_counts(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, BIG)
    cache.put(key(1), b"old")
    cache.put(key(1), b"new")
    cache.close()
    assert ResultCache(tmp_path, BIG).get(key(1)) == b"new"


@pytest.mark.parametrize(("folder", "size"), [(None, BIG), ("results", 0)])
def test_without_a_folder_or_a_size_nothing_is_written(tmp_path: Path, folder: str | None, size: int) -> None:
    cache = ResultCache(None if folder is None else tmp_path / folder, size)
    cache.put(key(1), b"one")
    assert cache.get(key(1)) == b"one"
    assert not list(tmp_path.iterdir())


def test_memory_forgets_what_was_not_used_for_longest() -> None:
    cache = ResultCache(None, 0, memory_entries=2)
    cache.put(key(1), b"1")
    cache.put(key(2), b"2")
    cache.get(key(1))
    cache.put(key(3), b"3")
    assert [cache.get(key(n)) for n in (1, 2, 3)] == [b"1", None, b"3"]


def test_what_memory_forgot_is_still_on_disk(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, BIG, memory_entries=1)
    cache.put(key(1), b"1")
    cache.put(key(2), b"2")
    assert cache.get(key(1)) == b"1"


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_only_the_user_may_read_the_file(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / "results", BIG)
    cache.put(key(1), b"one")
    for path in (tmp_path / "results").glob("results.sqlite*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (tmp_path / "results").stat().st_mode & 0o077 == 0


def test_the_file_stays_below_its_limit_and_drops_the_oldest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr(cache_module.time, "time", lambda: float(next(clock)))
    cache = ResultCache(tmp_path, 200_000, memory_entries=1)
    for number in range(20 * CHECK_EVERY):
        cache.put(key(number), bytes(2000))
    cache.close()
    assert (tmp_path / FILE_NAME).stat().st_size < 300_000
    kept = ResultCache(tmp_path, 200_000)
    assert kept.get(key(0)) is None and kept.get(key(20 * CHECK_EVERY - 1)) is not None


def test_what_is_used_stays_longer_than_what_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(cache_module.time, "time", lambda: now[0])
    cache = ResultCache(tmp_path, 200_000, memory_entries=1)
    for number in range(20 * CHECK_EVERY):
        now[0] += cache_module.TOUCH_SECONDS + 1
        cache.put(key(number), bytes(2000))
        assert cache.get(key(0)) is not None


def test_a_limit_smaller_than_one_entry_keeps_nothing_and_does_not_hang(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, 1, memory_entries=1)
    for number in range(2 * CHECK_EVERY):
        cache.put(key(number), b"x")
    assert cache.get(key(0)) is None


# --- the file is broken ---------------------------------------------------------------------------------


def no_database(path: Path) -> None:
    path.write_bytes(b"this was never a database" * 1000)


def another_layout(path: Path) -> None:
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE other (x)")


def a_later_version(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")


def broken_pages(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "harm", [no_database, another_layout, a_later_version, broken_pages, cut_short, emptied]
)
def test_a_broken_file_is_thrown_away_and_made_new(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    first = ResultCache(tmp_path, BIG)
    for number in range(50):
        first.put(key(number), bytes(3000))
    first.close()
    harm(tmp_path / FILE_NAME)
    second = ResultCache(tmp_path, BIG)
    for number in range(50):
        second.get(key(number))
    second.put(key(99), b"new")
    second.close()
    assert ResultCache(tmp_path, BIG).get(key(99)) == b"new"


def test_a_file_that_breaks_while_it_is_open_is_made_new(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    writer = ResultCache(tmp_path, BIG)
    for number in range(200):
        writer.put(key(number), bytes(3000))
    writer.close()
    reader = ResultCache(tmp_path, BIG)
    broken_pages(tmp_path / FILE_NAME)
    with caplog.at_level(logging.WARNING):
        assert reader.get(key(150)) is None
    assert "was damaged" in caplog.text
    reader.put(key(1), b"again")
    reader.close()
    assert ResultCache(tmp_path, BIG).get(key(1)) == b"again"


def test_a_folder_that_cannot_be_made_leaves_the_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    with caplog.at_level(logging.WARNING):
        cache = ResultCache(tmp_path / "file" / "results", BIG)
    cache.put(key(1), b"one")
    assert cache.get(key(1)) == b"one"
    assert "results are kept in memory only" in caplog.text


def test_a_locked_file_is_a_miss_and_not_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "LOCK_SECONDS", 0.05)
    cache = ResultCache(tmp_path, BIG, memory_entries=1)
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    cache.put(key(1), b"one")
    other.execute("ROLLBACK")
    cache.put(key(2), b"two")
    cache.put(key(3), b"three")
    assert cache.get(key(1)) is None and cache.get(key(2)) == b"two"


def test_a_file_that_is_cleared_under_our_feet_does_not_stop_us(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, BIG, memory_entries=1)
    cache.put(key(1), b"one")
    for path in tmp_path.iterdir():
        path.unlink()
    cache.put(key(2), b"two")
    cache.put(key(3), b"three")
    fresh = ResultCache(tmp_path, BIG)
    fresh.put(key(4), b"four")
    assert fresh.get(key(4)) == b"four"


# --- more than one at once ------------------------------------------------------------------------------


def test_two_processes_write_at_once_and_lose_nothing(tmp_path: Path) -> None:
    code = (
        "import runpy, sys; from pathlib import Path\n"
        "cache = runpy.run_path(sys.argv[1])['ResultCache'](Path(sys.argv[2]), 10**8)\n"
        "start = int(sys.argv[3])\n"
        "for number in range(start, start + 200): cache.put(number.to_bytes(32, 'big'), bytes(500))\n"
    )
    command = [sys.executable, "-c", code, str(cache_module.__file__), str(tmp_path)]
    processes = [subprocess.Popen([*command, str(start)], stderr=subprocess.PIPE) for start in (0, 1000)]
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0 and b"Traceback" not in errors, errors
    cache = ResultCache(tmp_path, BIG)
    assert all(cache.get(key(n)) is not None for n in (*range(200), *range(1000, 1200)))


def test_threads_share_one_cache(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path, BIG, memory_entries=1)

    def work(start: int) -> None:
        for number in range(start, start + 50):
            cache.put(key(number), bytes(10))
            cache.get(key(number))

    threads = [threading.Thread(target=work, args=(start,)) for start in (0, 100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(cache.get(key(n)) is not None for n in (*range(50), *range(100, 150), *range(200, 250)))
