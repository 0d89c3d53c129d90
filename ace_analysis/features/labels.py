"""What a latent fires on, in a few tokens: the only thing about it that a person can read at a glance.

    labels.json    latent -> tokens, those that make it fire most first

A bundle can be used without it; then an explanation shows numbers only.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from ace_analysis.errors import StorageError

LABELS_FILE = "labels.json"

Labels = Mapping[int, tuple[str, ...]]


def read_labels(folder: Path) -> Labels:
    """The labels of a bundle; none where it has no such file.

    Raises:
        ValueError, OSError: the file is no such JSON, or can't be read.
    """
    path = folder / LABELS_FILE
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not isinstance(content.get("latents"), dict):
        raise ValueError(f"{path}: expected an object with 'latents'")
    return {int(latent): tuple(map(str, tokens)) for latent, tokens in content["latents"].items()}


def write_labels(folder: Path, labels: Labels) -> None:
    """Write the file, a line for each latent.

    Raises:
        StorageError: the disk is full or not writable.
    """
    rows = (
        f"{json.dumps(str(at))}: {json.dumps(list(labels[at]), ensure_ascii=False)}" for at in sorted(labels)
    )
    path = folder / LABELS_FILE
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text('{"latents": {\n' + ",\n".join(rows) + "\n}}\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: the labels can't be written ({error})") from error
