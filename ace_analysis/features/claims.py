"""A folder that work is kept in says what the work was begun with, so that nothing else goes on with it.

A harvest or a training that was stopped goes on where it was. With another model, layer or option it would
go on to something that nobody asked for.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from ace_analysis.errors import FingerprintError, InputError, StorageError


def claim(path: Path, about: Mapping[str, object], what_to_do: str) -> None:
    """Write what a folder's work is begun with, or check that it is the same.

    Args:
        path: a JSON file in that folder, which is made where it is missing.
        about: anything that JSON can hold.
        what_to_do: the end of the message where it is not the same.

    Raises:
        FingerprintError: the work there was begun with something else; the message names the entries.
        InputError: the file is there and is no such JSON.
        StorageError: the folder can't be written.
    """
    given = json.loads(json.dumps(about))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            part = path.with_name(f".{path.name}.part")
            part.write_text(json.dumps(given, indent=1), encoding="utf-8")
            part.replace(path)
    except OSError as error:
        raise StorageError(f"{path.parent}: can't be written ({error})") from error
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected what was begun here, as JSON ({error}); {what_to_do}") from error
    if kept != given:
        kept = kept if isinstance(kept, dict) else {}
        names = sorted(name for name in {*kept, *given} if kept.get(name) != given.get(name))
        raise FingerprintError(f"{path.parent}: begun with another {', '.join(names)}; {what_to_do}")
