"""What a long measurement has done so far: one JSON line for each text and method, in a folder.

A measurement of hours is stopped and goes on: what stands in the folder is not measured again. The folder
belongs to one model, bundle and set of texts; with others it is refused.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ace_analysis.errors import InputError, StorageError

ABOUT, LINES = "about.json", "records.jsonl"

Key = tuple[str, str, str]
"""A text's name, a method's (or a part of the measurement), and the sort of ablation."""


class Records:
    """The records of one folder."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        """
        Args:
            folder: made where there is none.
            about: what has to be the same for all records.

        Raises:
            InputError: the folder holds records of something else.
            StorageError: it can't be written.
        """
        self.folder = folder
        self._found: dict[Key, dict[str, Any]] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._check(dict(about))
            path = folder / LINES
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            if text and not text.endswith("\n"):
                # Cut short: the next line must not become a part of it.
                path.write_text(f"{text}\n", encoding="utf-8")
            for line in text.splitlines():
                self._read(line)
        except OSError as error:
            raise StorageError(f"{folder}: the records can't be kept there ({error})") from error

    def __len__(self) -> int:
        return len(self._found)

    def get(self, prompt: str, part: str, how: str = "") -> dict[str, Any] | None:
        """A record, or None where that has not been measured yet."""
        return self._found.get((prompt, part, how))

    def put(self, prompt: str, part: str, how: str = "", **values: Any) -> dict[str, Any]:
        """Keep a record, at once on the disk."""
        record = {"prompt": prompt, "part": part, "how": how, **values}
        try:
            with (self.folder / LINES).open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise StorageError(f"{self.folder}: the record can't be written ({error})") from error
        self._found[prompt, part, how] = record
        return record

    def _check(self, about: dict[str, Any]) -> None:
        path = self.folder / ABOUT
        text = json.dumps(about, indent=1, sort_keys=True)
        if not path.is_file():
            path.write_text(text + "\n", encoding="utf-8")
            return
        kept = json.loads(path.read_text(encoding="utf-8"))
        other = sorted(name for name in {*kept, *about} if kept.get(name) != json.loads(text).get(name))
        if other:
            raise InputError(
                f"{self.folder}: expected records of the same measurement, got others of {', '.join(other)};"
                " name another folder, or delete this one"
            )

    def _read(self, line: str) -> None:
        """A line; the last one of a measurement that was killed may be cut short, and counts for nothing."""
        try:
            record = json.loads(line)
            self._found[record["prompt"], record["part"], record["how"]] = record
        except (ValueError, KeyError, TypeError):
            return
