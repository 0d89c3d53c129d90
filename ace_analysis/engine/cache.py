"""Scores that are kept, so that text which was read once costs nothing again.

In memory for a session, on disk for the next one. The disk part is SQLite in WAL mode, since a server's
worker and `ace check` may run at once. It holds what was made of a user's code, so only the user may read it,
and it is only ever a shortcut: whatever goes wrong with it, the scan goes on without it.
"""

import contextlib
import logging
import os
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

FILE_NAME = "results.sqlite"
SCHEMA = 1
MEMORY_ENTRIES = 4096
LOCK_SECONDS = 5.0
TOUCH_SECONDS = 3600.0
"""An entry's time of use is only written when it is older than this: reading should not write."""

CHECK_EVERY = 32
"""Writes between two looks at the file's size."""

_FULL_AGAIN = 0.8
"""Share of the allowed size that is left when the oldest entries were dropped."""


class ResultCache:
    """Bytes by key: least recently used ones go first, in memory by count and on disk by size."""

    def __init__(self, folder: Path | None, max_bytes: int, *, memory_entries: int = MEMORY_ENTRIES) -> None:
        """`folder` None, or `max_bytes` 0, keeps nothing on disk."""
        self._memory: OrderedDict[bytes, bytes] = OrderedDict()
        self._memory_entries = memory_entries
        self._lock = threading.Lock()
        self._disk = _Disk(folder / FILE_NAME, max_bytes) if folder is not None and max_bytes > 0 else None

    def get(self, key: bytes) -> bytes | None:
        with self._lock:
            value = self._memory.get(key)
            if value is None and self._disk is not None:
                value = self._disk.get(key)
            if value is not None:
                self._remember(key, value)
            return value

    def put(self, key: bytes, value: bytes) -> None:
        with self._lock:
            self._remember(key, value)
            if self._disk is not None:
                self._disk.put(key, value)

    def close(self) -> None:
        """Let go of the file; the cache goes on in memory."""
        with self._lock:
            if self._disk is not None:
                self._disk.close()
            self._disk = None

    def _remember(self, key: bytes, value: bytes) -> None:
        self._memory[key] = value
        self._memory.move_to_end(key)
        while len(self._memory) > self._memory_entries:
            self._memory.popitem(last=False)


class _Disk:
    """One SQLite file. Errors end in a miss; a broken file is thrown away once and made new."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._writes = 0
        self._connection: sqlite3.Connection | None = None
        with self._forgiving():
            self._connection = _opened(path)

    def get(self, key: bytes) -> bytes | None:
        value = None
        with self._forgiving():
            value = self._read(key)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        with self._forgiving():
            if self._connection is None:
                return
            row = (key, time.time(), value)
            self._connection.execute(
                "INSERT OR REPLACE INTO results (key, used, value) VALUES (?, ?, ?)", row
            )
            self._writes += 1
            if self._writes % CHECK_EVERY == 0:
                self._shrink()

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _read(self, key: bytes) -> bytes | None:
        if self._connection is None:
            return None
        row = self._connection.execute("SELECT value, used FROM results WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        value, used = row
        now = time.time()
        if now - used > TOUCH_SECONDS:
            self._connection.execute("UPDATE results SET used = ? WHERE key = ?", (now, key))
        return bytes(value)

    def _shrink(self) -> None:
        """Drop the entries that were not used for longest, until the file is well below its limit."""
        connection = self._connection
        if connection is None or _used_bytes(connection) <= self._max_bytes:
            return
        while _used_bytes(connection) > self._max_bytes * _FULL_AGAIN:
            (count,) = connection.execute("SELECT count(*) FROM results").fetchone()
            oldest = "SELECT key FROM results ORDER BY used LIMIT ?"
            connection.execute(f"DELETE FROM results WHERE key IN ({oldest})", (max(1, count // 10),))
            if not count:
                break
        connection.execute("PRAGMA incremental_vacuum").fetchall()

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        """Whatever the file does to us, the scan goes on; one that is no database any more is replaced."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error) or "busy" in str(error):
                log.debug("results are locked by another process: %s", error)
                return
            self._give_up(error)
        except sqlite3.DatabaseError as error:
            self._replace(error)
        except (OSError, Timeout) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        log.warning("results are kept in memory only: %s can't be used (%s)", self._path, error)
        self.close()

    def _replace(self, error: Exception) -> None:
        log.warning("%s was damaged (%s) and is made new; what it held is computed again", self._path, error)
        self.close()
        try:
            self._connection = _opened(self._path, suspected=True)
        except (sqlite3.Error, OSError, Timeout) as again:
            self._give_up(again)


def _opened(path: Path, *, suspected: bool = False) -> sqlite3.Connection:
    """A sound database at `path`; every page is looked at where damage is suspected.

    Under a lock, so that two processes don't throw away each other's new file.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(path.with_suffix(".lock"), timeout=LOCK_SECONDS):
        try:
            return _connected(path, every_page=suspected)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
                path.with_name(name).unlink(missing_ok=True)
            return _connected(path)


def _connected(path: Path, *, every_page: bool = False) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    path.chmod(0o600)
    connection = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _prepare(connection)
        if every_page and connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("a page is damaged")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Pragmas and the table; a file of another layout or with broken pages is refused."""
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("PRAGMA synchronous = NORMAL")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if version == SCHEMA and tables == ["results"]:
        connection.execute("SELECT key, used, value FROM results ORDER BY used LIMIT 1").fetchall()
        return
    if version or tables:
        raise sqlite3.DatabaseError(f"expected layout {SCHEMA}, got {version} with tables {tables}")
    connection.execute("CREATE TABLE results (key BLOB PRIMARY KEY, used REAL NOT NULL, value BLOB NOT NULL)")
    connection.execute("CREATE INDEX by_use ON results (used)")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def _used_bytes(connection: sqlite3.Connection) -> int:
    """Size of the pages that hold something."""
    page_size, pages, free = (
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("page_size", "page_count", "freelist_count")
    )
    return page_size * (pages - free)
