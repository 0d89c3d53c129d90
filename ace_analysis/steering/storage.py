"""A steering vector on disk: its direction as safetensors, and what is known of it beside it as JSON.

The JSON is written last, so a folder without it was never finished. It names the model by fingerprint, and
that travels in the safetensors file as well: the two can't be mixed up.
"""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ace_analysis.errors import InputError, StorageError

if TYPE_CHECKING:
    from ace_analysis.steering.vector import SteeringVector

FORMAT = "ace-steering-vector"
VERSION = 1
TENSORS = ".safetensors"


def save_vector(path: Path, vector: "SteeringVector") -> Path:
    """Write `path` with the ending .safetensors, and the same with .json; returns the first.

    Raises:
        StorageError: the files can't be written.
    """
    file = path if path.suffix == TENSORS else path.with_name(path.name + TENSORS)
    about = {
        "format": FORMAT,
        "version": VERSION,
        "model": vector.model,
        "fingerprint": vector.fingerprint,
        "layer": vector.layer,
        "normalize": vector.normalize,
        "about": dict(vector.about),
    }
    part = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"format": FORMAT, "fingerprint": vector.fingerprint}
        save_file({"direction": vector.direction.float().contiguous()}, part, metadata)
        part.replace(file)
        text = json.dumps(about, indent=1, ensure_ascii=False)
        file.with_suffix(".json").write_text(text + "\n", encoding="utf-8")
    except (OSError, SafetensorError) as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise StorageError(f"{file}: the steering vector can't be written ({error})") from error
    return file


def load_vector(path: Path) -> "SteeringVector":
    """Read what `save_vector` wrote, by the path of either file or without an ending.

    Raises:
        InputError: no such files, or ones that hold something else or do not belong together.
    """
    from ace_analysis.steering.vector import SteeringVector

    plain = path.with_suffix("") if path.suffix in (TENSORS, ".json") else path
    file = plain.with_name(plain.name + TENSORS)
    about = _read_about(plain.with_name(plain.name + ".json"))
    try:
        with safe_open(file, framework="pt", device="cpu") as opened:
            fingerprint = (opened.metadata() or {}).get("fingerprint")
            direction = opened.get_tensor("direction")
    except (OSError, SafetensorError) as error:
        raise InputError(f"{file}: expected a steering vector ({error}); save it again") from error
    if fingerprint != about["fingerprint"]:
        raise InputError(
            f"{file}: expected fingerprint {about['fingerprint'][:16]} as the .json beside it says, got"
            f" {str(fingerprint)[:16]}; the two files are not of one vector"
        )
    return SteeringVector(
        direction=direction.to(torch.float32),
        layer=int(about["layer"]),
        model=str(about["model"]),
        fingerprint=str(about["fingerprint"]),
        normalize=bool(about["normalize"]),
        about=dict(about.get("about", {})),
    )


def _read_about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: expected what is known of a steering vector ({error})") from error
    wanted = {"model", "fingerprint", "layer", "normalize"}
    if not isinstance(about, dict) or about.get("format") != FORMAT or not wanted <= set(about):
        raise InputError(
            f"{path}: expected format {FORMAT} with {', '.join(sorted(wanted))}, got {about!r:.100}"
        )
    if about.get("version") != VERSION:
        raise InputError(
            f"{path}: expected version {VERSION} of the format, got {about.get('version')}; update ace-lsp"
        )
    return about
