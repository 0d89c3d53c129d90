"""Results that took long, kept as they come: one JSON line each, appended at once.

A benchmark that is stopped, or whose machine is, goes on where it was. A line that was cut off in the middle
(the machine went down while it was written) is forgotten, and so are older lines for the same key.
"""

import json
from pathlib import Path
from typing import Any

from ace_analysis.errors import InputError, StorageError


class Ledger:
    """Keys to JSON values in a file; one process writes at a time, any number may have read it before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._values: dict[str, Any] = {}
        self._is_torn = False
        if path.exists():
            self._read()

    def _read(self) -> None:
        try:
            lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        except (OSError, ValueError) as error:
            raise StorageError(f"expected kept results in {self.path}, got {error}; move it away") from error
        for number, line in enumerate(lines, start=1):
            if not line.endswith("\n"):
                self._is_torn = True
                return
            try:
                row = json.loads(line)
                self._values[row["key"]] = row["value"]
            except (ValueError, KeyError, TypeError):
                raise InputError(
                    f"{self.path}:{number}: expected a kept result, got {line[:60]!r}; move the file away"
                ) from None

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: str) -> Any | None:
        """The value kept for a key; None if there is none."""
        return self._values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keep a JSON value; it is on the disk when this returns."""
        line = json.dumps({"key": key, "value": value}, ensure_ascii=False) + "\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self._is_torn:
                self._drop_torn_line()
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            raise StorageError(
                f"can't write {self.path}: {error}; free some space or name another folder"
            ) from error
        self._values[key] = value

    def _drop_torn_line(self) -> None:
        whole = self.path.read_text(encoding="utf-8", errors="replace")
        self.path.write_text(whole[: whole.rfind("\n") + 1], encoding="utf-8")
        self._is_torn = False
