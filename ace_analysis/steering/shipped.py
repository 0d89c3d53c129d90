"""The steering that a bundle brings: vectors that won on validation bugs, and the strengths they won at.

A bundle without the folder `steering` steers nothing: a vector ships only where `ace bench repair` shows that
it mends more than as many unsteered candidates do, and none has so far.
"""

from dataclasses import dataclass, replace

from ace_analysis.features.bundle import Bundle
from ace_analysis.settings import SteeringSettings
from ace_analysis.steering.gating import FeatureGate
from ace_analysis.steering.storage import TENSORS, load_vector
from ace_analysis.steering.vector import SteeringVector

FOLDER = "steering"


@dataclass(frozen=True, slots=True, eq=False)
class ShippedSteering:
    """Vectors, the strengths that each of them is tried at, and the gate in front of all of them."""

    vectors: tuple[SteeringVector, ...] = ()
    strengths: tuple[float, ...] = ()
    gate: FeatureGate | None = None


def shipped_steering(bundle: Bundle, settings: SteeringSettings) -> ShippedSteering:
    """A bundle's vectors; their `about` may name "strengths" and, as "gate", the latents that open it.

    Raises:
        InputError: a file of the folder that is damaged.
        FingerprintError: a vector that was made from another model than the bundle.
    """
    vectors: list[SteeringVector] = []
    strengths: set[float] = set()
    gates: set[int] = set()
    for file in sorted((bundle.folder / FOLDER).glob(f"*{TENSORS}")):
        vector = load_vector(file)
        bundle.check_fingerprint(vector.fingerprint)
        vectors.append(replace(vector, normalize=vector.normalize and settings.normalize))
        strengths.update(float(each) for each in vector.about.get("strengths", [settings.default_strength]))
        gates.update(int(each) for each in vector.about.get("gate", ()))
    gate = FeatureGate.of(bundle, sorted(gates)) if gates else None
    return ShippedSteering(tuple(vectors), tuple(sorted(strengths)), gate)
