"""Disentanglers on disk: sparse coders of what a block's MLP writes, each in a folder beside a bundle.

    <bundle>/disentanglers/layer-23/sparse_coder.safetensors   see features.storage
                                    disentangler.json          the model, measurements, the SHA-256

A bundle may have some or none: only the erasing of concepts needs one.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ace_analysis.errors import BundleError, FingerprintError, StorageError
from ace_analysis.features.bundle_files import write_json
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.storage import CODER_FILE, CoderDtype, load_own_coder, save_sparse_coder
from ace_analysis.model.disk import sha256_of

FOLDER = "disentanglers"
ABOUT = "disentangler.json"
FORMAT = 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Disentangler:
    """A sparse coder of mlp_out and what is known of it; `card` holds what JSON can."""

    coder: SparseCoder
    model: str
    fingerprint: str
    card: Mapping[str, Any]

    @property
    def layer(self) -> int:
        return self.coder.site.layer

    def identity(self) -> str:
        """A digest of the coder: what was measured with another one is not this one's."""
        digest = hashlib.sha256(repr((self.fingerprint, self.layer, self.coder.k)).encode())
        for tensor in (
            getattr(self.coder, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")
        ):
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def check_fingerprint(self, fingerprint: str) -> None:
        """Refuse another model than the one whose activations it learned."""
        if fingerprint != self.fingerprint:
            raise FingerprintError(
                f"expected the model that this disentangler was made for ({self.model}, fingerprint "
                f"{self.fingerprint[:16]}), got {fingerprint[:16]}; train one with `ace train disentangler`"
            )

    def save(self, folder: Path, dtype: CoderDtype = "bf16") -> Path:
        """Write a folder, the card last.

        Raises StorageError where the disk is full or not writable.
        """
        path = save_sparse_coder(folder, self.coder, dtype)
        about = {
            "format": FORMAT,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "layer": self.layer,
            "sha256": sha256_of(path),
            "card": dict(self.card),
        }
        try:
            write_json(folder / ABOUT, about)
        except OSError as error:
            raise StorageError(f"{folder / ABOUT}: can't be written ({error})") from error
        return folder


def load_disentangler(folder: Path) -> Disentangler:
    """Read what `save` wrote.

    Raises BundleError where there is none, or one that is damaged.
    """
    path = folder / ABOUT
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(
            f"{path}: expected a disentangler, found no such file; train one with `ace train disentangler`"
        ) from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: expected JSON ({error})") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise BundleError(f"{path}: expected format {FORMAT}; update ace-lsp")
    try:
        expected, card = str(about["sha256"]), dict(about["card"])
        model, fingerprint = str(about["model"]), str(about["fingerprint"])
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{path}: this disentangler is damaged or incomplete ({error!r})") from error
    coder = load_own_coder(folder)
    if (got := sha256_of(folder / CODER_FILE)) != expected:
        raise BundleError(
            f"{folder / CODER_FILE}: damaged, expected the SHA-256 {expected[:16]}…, got {got[:16]}…"
        )
    return Disentangler(coder=coder, model=model, fingerprint=fingerprint, card=card)


def disentanglers_of(bundle: Path) -> dict[int, Path]:
    """Layer to folder, of all disentanglers beside a bundle."""
    found = {}
    for path in sorted((bundle / FOLDER).glob(f"layer-*/{ABOUT}")):
        number = path.parent.name.removeprefix("layer-")
        if number.isdecimal():
            found[int(number)] = path.parent
    return dict(sorted(found.items()))


def find_disentangler(bundle: Path, layer: int | None = None) -> Disentangler:
    """One of a bundle's disentanglers; without a layer the last, where the logit lens says most.

    Raises BundleError where there is none, at that layer or at all.
    """
    found = disentanglers_of(bundle)
    if not found:
        raise BundleError(
            f"{bundle}: expected a disentangler beside this bundle, found none; train one with "
            "`ace train disentangler`, or remove a direction instead"
        )
    at = max(found) if layer is None else layer
    if at not in found:
        raise BundleError(
            f"{bundle}: expected a disentangler of layer {', '.join(map(str, found))}, got layer {at};"
            f" leave the layer out, or train one with `ace train disentangler --layer {at}`"
        )
    return load_disentangler(found[at])
