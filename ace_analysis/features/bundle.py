"""What a scan needs beside the model: a sparse coder, a readout, a calibration and the error features.

A bundle is one folder, made for one model: its fingerprint is checked before anything is read from it.

    bundle.json                the model, the layer, the slots, the calibration
    sparse_coder.safetensors   see features.storage
    readout.safetensors        weights [slot, latent]
    catalog.json               the error features, strongest first
    labels.json                what latents fire on; may be missing
    card.md                    data and measurements, for people
    corpus.json.gz             the functions that it was made of; may be missing
    probe.safetensors          a dense probe to compare with; may be missing
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ace_analysis.errors import BundleError, FingerprintError, InputError, StorageError
from ace_analysis.features.bundle_files import (
    BUNDLE_FILE,
    CARD_FILE,
    CATALOG_FILE,
    READOUT_FILE,
    SUMS,
    check_sums,
    sums_of,
    write_extras,
    write_json,
)
from ace_analysis.features.labels import Labels, read_labels, write_labels
from ace_analysis.features.positions import LINE_END
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.storage import CoderDtype, load_own_coder, save_sparse_coder
from ace_analysis.model.edits import base_of
from ace_analysis.settings import cache_dir

FORMAT_VERSION = 1
SHIPPED = Path(__file__).parents[1] / "bundles"
MAX_TOKENS = 1024


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Readout:
    """Log-odds of a candidate site: `kind_bias[kind]` plus, for each slot, `weights[slot]` . its latents.

    `slots` says where a site is read, see features.positions; latents count as 0 at masked positions. A kind
    without a bias is never scored.
    """

    weights: Float[Tensor, "slot d_sae"]
    kind_bias: Mapping[str, float]
    slots: tuple[int | str, ...]

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or len(self.weights) != len(self.slots):
            raise InputError(
                f"a readout of {len(self.slots)} slots needs weights [{len(self.slots)}, d_sae], "
                f"got {list(self.weights.shape)}"
            )
        for slot in self.slots:
            if slot != LINE_END and not (isinstance(slot, int) and slot >= 0):
                raise InputError(f"slots: expected offsets from 0 on or {LINE_END!r}, got {slot!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """From log-odds to probabilities and thresholds, fitted on validation projects.

    `prior` is the share of wrong sites at which the probabilities hold; `thresholds` maps false alarms per
    100 lines of clean code to the log-odds from which a site is shown.
    """

    scale: float
    offset: float
    prior: float
    thresholds: Mapping[float, float]

    def __post_init__(self) -> None:
        if not self.thresholds or any(rate <= 0 for rate in self.thresholds):
            raise InputError(f"thresholds: expected at least one rate above 0, got {sorted(self.thresholds)}")
        if self.scale <= 0:
            raise InputError(f"scale: expected a number above 0, got {self.scale}")

    def probability(self, logit: float) -> float:
        value = self.scale * logit + self.offset
        if value >= 0:
            return 1.0 / (1.0 + math.exp(-value))
        return (small := math.exp(max(value, -700.0))) / (1.0 + small)

    def threshold(self, max_false_alarms: float) -> float:
        """Log-odds for a rate; between measured rates linear in the log rate, outside them the nearest."""
        if not max_false_alarms > 0:
            raise InputError(f"max_false_alarms: expected a rate above 0, got {max_false_alarms}")
        rates = sorted(self.thresholds)
        if max_false_alarms <= rates[0]:
            return self.thresholds[rates[0]]
        for low, high in pairwise(rates):
            if max_false_alarms <= high:
                share = math.log(max_false_alarms / low) / math.log(high / low)
                return self.thresholds[low] + share * (self.thresholds[high] - self.thresholds[low])
        return self.thresholds[rates[-1]]

    @property
    def loosest(self) -> float:
        """The lowest threshold that any rate can ask for."""
        return min(self.thresholds.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFeature:
    """A latent that fires more on wrong code than on right code.

    `t_statistic` is Welch's over all sites (positive: more on wrong code), `paired_t` that of the paired,
    token-matched contrast with its `q_value`; `rate_buggy` and `rate_matched` are firing rates on wrong sites
    and on the same tokens in right code, `density` that on all tokens of ordinary code. `replicated` says
    whether it held on projects that it was not found on. One that is not `significant` is a candidate only:
    chance may well explain it, as its `q_value` says.
    """

    feature_idx: int
    t_statistic: float
    paired_t: float
    q_value: float
    separation: float
    rate_buggy: float
    rate_matched: float
    density: float
    kinds: tuple[str, ...] = ()
    replicated: bool = False
    label: str = ""
    significant: bool = True

    @property
    def direction(self) -> str:
        """On which code it fires more: "buggy" or "correct"."""
        return "buggy" if self.t_statistic > 0 else "correct"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Bundle:
    folder: Path
    model: str
    fingerprint: str
    layer: int
    coder: SparseCoder
    readout: Readout
    calibration: Calibration
    catalog: tuple[ErrorFeature, ...] = ()
    max_tokens: int = MAX_TOKENS
    card: str = ""
    labels: Labels = field(default_factory=dict)

    def __post_init__(self) -> None:
        width = self.readout.weights.shape[1]
        if width != self.coder.d_sae:
            raise BundleError(
                f"{self.folder}: the readout has {width} latents and the sparse coder {self.coder.d_sae}"
            )
        if self.coder.site.layer != self.layer:
            raise BundleError(
                f"{self.folder}: the bundle is for layer {self.layer}, its coder for {self.coder.site.layer}"
            )

    @classmethod
    def load(cls, folder: Path, *, device: torch.device | str = "cpu") -> "Bundle":
        """Read a bundle; its matrices come in fp32, so that a scan computes what was measured."""
        about = read_about(folder)
        check_sums(folder, about)
        try:
            weights = load_file(folder / READOUT_FILE)["weights"].float().to(device)
            catalog = json.loads((folder / CATALOG_FILE).read_text(encoding="utf-8"))
            card = folder / CARD_FILE
            thresholds = {float(rate): float(at) for rate, at in about["calibration"]["thresholds"].items()}
            return cls(
                folder=folder,
                model=about["model"],
                fingerprint=about["fingerprint"],
                layer=int(about["layer"]),
                coder=load_own_coder(folder, device=device),
                readout=Readout(weights=weights, kind_bias=about["kind_bias"], slots=tuple(about["slots"])),
                calibration=Calibration(**{**about["calibration"], "thresholds": thresholds}),
                catalog=tuple(_feature(each) for each in catalog["features"]),
                max_tokens=int(about["max_tokens"]),
                card=card.read_text(encoding="utf-8") if card.is_file() else "",
                labels=read_labels(folder),
            )
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, AttributeError, InputError) as e:
            raise BundleError(f"{folder}: the bundle is damaged or incomplete ({e!r})") from e

    def save(
        self, folder: Path, *, dtype: CoderDtype = "bf16", extras: Mapping[str, bytes] | None = None
    ) -> "Bundle":
        """Write the folder, `bundle.json` last; returns the bundle as it reads back.

        `extras` are the contents of files that no scan needs, by name, see features.bundle_files.
        """
        save_sparse_coder(folder, self.coder, dtype)
        about = {
            "format": FORMAT_VERSION,
            **{name: getattr(self, name) for name in ("model", "fingerprint", "layer", "max_tokens")},
            "slots": list(self.readout.slots),
            "kind_bias": dict(self.readout.kind_bias),
            "calibration": {
                **{name: getattr(self.calibration, name) for name in ("scale", "offset", "prior")},
                "thresholds": {str(rate): at for rate, at in sorted(self.calibration.thresholds.items())},
            },
        }
        try:
            save_file({"weights": self.readout.weights.float().cpu().contiguous()}, folder / READOUT_FILE)
            write_json(folder / CATALOG_FILE, {"features": [asdict(each) for each in self.catalog]})
            (folder / CARD_FILE).write_text(self.card, encoding="utf-8")
            write_labels(folder, self.labels)
            write_extras(folder, extras or {})
            write_json(folder / BUNDLE_FILE, {**about, SUMS: sums_of(folder)})
        except (OSError, SafetensorError) as error:
            raise StorageError(f"{folder}: the bundle can't be written ({error})") from error
        return Bundle.load(folder)

    def check_fingerprint(self, fingerprint: str) -> None:
        """Refuse another model than the one that this bundle was made for, or an edit of that one."""
        if base_of(fingerprint) != self.fingerprint:
            raise FingerprintError(_made_for_another(self.folder, self.model, self.fingerprint, fingerprint))

    def identity(self) -> str:
        """A digest of all that a score depends on; results are cached under it."""
        coder, readout, calibration = self.coder, self.readout, self.calibration
        digest = hashlib.sha256()
        for tensor in (coder.W_enc, coder.b_enc, coder.b_dec, coder.threshold, readout.weights):
            digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
        rest = (
            (self.fingerprint, self.layer, self.max_tokens, coder.apply_b_dec_to_input, coder.k),
            (readout.slots, sorted(readout.kind_bias.items())),
            calibration.loosest,
        )
        digest.update(repr(rest).encode())
        return digest.hexdigest()


def find_bundle(model_name: str, fingerprint: str) -> Bundle:
    """The bundle of a model: one that the user made, else one that ships; an edited model has its base's."""
    others: list[tuple[Path, dict[str, Any]]] = []
    for folder in _bundle_folders():
        about = read_about(folder)
        if about["fingerprint"] == base_of(fingerprint):
            return Bundle.load(folder)
        if about["model"] == model_name:
            others.append((folder, about))
    if others:
        folder, about = others[0]
        raise FingerprintError(_made_for_another(folder, model_name, about["fingerprint"], fingerprint))
    raise BundleError(
        f"{model_name} has no bundle yet: make one with `ace train bundle --model {model_name} CORPUS`"
    )


def read_about(folder: Path) -> dict[str, Any]:
    """The contents of `bundle.json`, its format and its four identifying entries checked."""
    path = folder / BUNDLE_FILE
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{path}: expected a bundle, found no such file") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: expected JSON ({error})") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT_VERSION:
        got = about.get("format") if isinstance(about, dict) else about
        raise BundleError(f"{path}: expected format {FORMAT_VERSION}, got {got!r}; update ace-lsp")
    missing = [name for name in ("model", "fingerprint", "layer") if name not in about]
    if missing:
        raise BundleError(f"{path}: {', '.join(missing)} missing")
    return about


def _bundle_folders() -> list[Path]:
    roots = (cache_dir() / "bundles", SHIPPED)
    return [file.parent for root in roots for file in sorted(root.glob(f"*/{BUNDLE_FILE}"))]


def _made_for_another(folder: Path, model: str, expected: str, got: str) -> str:
    return (
        f"{folder}: this bundle was made for {model} with fingerprint {expected[:16]}, the model here has "
        f"{got[:16]}; pull the model again or make a bundle with `ace train bundle --model {model} CORPUS`"
    )


def _feature(entry: Mapping[str, Any]) -> ErrorFeature:
    values = {each.name: entry[each.name] for each in fields(ErrorFeature) if each.name in entry}
    return ErrorFeature(**{**values, "kinds": tuple(values.get("kinds", ()))})
