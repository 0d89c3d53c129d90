"""What has to be true of a process before torch is imported.

OpenMP's threads spin while they wait, by default: beside an editor, a browser and a second worker, two
threads then took 3.2 s for what 0.12 s are enough for. libgomp reads the policy once, when torch loads it.
"""

import os

BEFORE_TORCH = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
}
"""Variables that are set unless the user has set them."""


def prepare() -> None:
    """Set up this process for torch; call it before torch is imported. Calling it again does nothing."""
    for name, value in BEFORE_TORCH.items():
        os.environ.setdefault(name, value)
