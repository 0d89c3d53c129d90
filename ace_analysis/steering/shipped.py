"""The steering that a bundle brings: vectors that won on validation bugs, and the strengths they won at.

A bundle without the folder `steering` steers nothing. That is a result, not a gap: a vector ships only where
`ace bench repair` shows that it mends more than as many unsteered candidates do.
"""

from dataclasses import replace

from ace_analysis.features.bundle import Bundle
from ace_analysis.settings import SteeringSettings
from ace_analysis.steering.storage import TENSORS, load_vector
from ace_analysis.steering.vector import SteeringVector

FOLDER = "steering"


def shipped_steering(
    bundle: Bundle, settings: SteeringSettings
) -> tuple[tuple[SteeringVector, ...], tuple[float, ...]]:
    """A bundle's vectors, and the strengths that each of them is tried at.

    Raises:
        InputError: a file of the folder that is damaged.
        FingerprintError: a vector that was made from another model than the bundle.
    """
    vectors: list[SteeringVector] = []
    strengths: set[float] = set()
    for file in sorted((bundle.folder / FOLDER).glob(f"*{TENSORS}")):
        vector = load_vector(file)
        bundle.check_fingerprint(vector.fingerprint)
        vectors.append(replace(vector, normalize=vector.normalize and settings.normalize))
        strengths.update(float(each) for each in vector.about.get("strengths", [settings.default_strength]))
    return tuple(vectors), tuple(sorted(strengths))
