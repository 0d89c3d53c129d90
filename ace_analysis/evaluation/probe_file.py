"""A fitted dense probe on disk: so that a bundle can be compared with its baseline wherever it goes.

Fitting the probe takes the training activations, gigabytes of them; the fitted probe is slots x d_model
numbers. No finding depends on it.
"""

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ace_analysis.errors import BundleError, StorageError
from ace_analysis.evaluation.baselines import DenseProbe
from ace_analysis.features.harvest import KINDS

FORMAT = "ace-dense-probe"
_WHAT = "a baseline to compare the sparse features with; no finding depends on it"


def probe_bytes(probe: DenseProbe) -> bytes:
    """The contents of a file that `read_probe` reads."""
    about = {"kinds": [str(kind) for kind in KINDS], "l2": probe.l2, "rows": probe.rows}
    tensors = {"weights": probe.weights.contiguous(), "kind_bias": probe.kind_bias.contiguous()}
    return save(tensors, {"format": FORMAT, "what": _WHAT, "probe": json.dumps(about)})


def keep_probe(path: Path, probe: DenseProbe) -> None:
    """Write a probe's file, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(probe_bytes(probe))
        part.replace(path)
    except OSError as error:
        raise StorageError(f"{path}: the dense probe can't be written ({error})") from error


def read_probe(path: Path, width: int) -> DenseProbe:
    """A probe of so many weights, slots times d_model.

    Raises BundleError where it is damaged, or made for other activations or kinds of sites.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            about = json.loads(metadata["probe"])
            weights, kind_bias = file.get_tensor("weights"), file.get_tensor("kind_bias")
        kinds = [str(kind) for kind in KINDS]
        if metadata.get("format") != FORMAT or about["kinds"] != kinds:
            raise ValueError(f"format {metadata.get('format')!r}, kinds {about['kinds']}")
        if weights.shape != (width,) or kind_bias.shape != (len(kinds),):
            raise ValueError(f"shapes {list(weights.shape)} and {list(kind_bias.shape)}")
        probe = DenseProbe(
            weights=weights.float(),
            kind_bias=kind_bias.float(),
            l2=float(about["l2"]),
            rows=int(about["rows"]),
        )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise BundleError(
            f"{path}: expected a dense probe of {width} weights for the kinds of sites of this version"
            f" ({error}); make the bundle again with `ace train bundle`"
        ) from error
    if not torch.isfinite(probe.weights).all():
        raise BundleError(f"{path}: expected finite weights; make the bundle again with `ace train bundle`")
    return probe
