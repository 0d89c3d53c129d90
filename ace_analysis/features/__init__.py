"""From activations to what they say of code: sparse coders, error features, calibrated scores.

Importing anything below sets up the process for torch, which has to happen before torch is imported.
"""

from ace_analysis.model.runtime import prepare

prepare()
