"""A bundle brings the steering that won, and most bring none."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ace_analysis.errors import FingerprintError
from ace_analysis.features.bundle import Bundle
from ace_analysis.settings import SteeringSettings
from ace_analysis.steering.shipped import shipped_steering
from ace_analysis.steering.vector import SteeringVector

SETTINGS = SteeringSettings()


def vector(bundle: Bundle, **changes: object) -> SteeringVector:
    made = SteeringVector(
        direction=torch.ones(32), layer=1, model=bundle.model, fingerprint=bundle.fingerprint
    )
    return replace(made, **changes)


def test_a_bundle_without_vectors_steers_nothing(bundle_for: Callable[..., Bundle], tmp_path: Path) -> None:
    found = shipped_steering(bundle_for(folder=tmp_path), SETTINGS)
    assert (found.vectors, found.strengths, found.gate) == ((), (), None)


def test_vectors_come_with_the_strengths_that_they_won_at(
    bundle_for: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle = bundle_for(folder=tmp_path)
    vector(bundle, about={"strengths": [2.0, 0.5]}).save(tmp_path / "steering/a")
    found = shipped_steering(bundle, SETTINGS)
    assert len(found.vectors) == 1 and found.strengths == (0.5, 2.0) and found.gate is None


def test_a_vector_can_bring_a_gate(bundle_for: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = bundle_for(folder=tmp_path)
    vector(bundle, about={"gate": [7, 3]}).save(tmp_path / "steering/a")
    gate = shipped_steering(bundle, SETTINGS).gate
    assert gate is not None and gate.latents == (3, 7)


def test_a_vector_that_names_no_strength_takes_the_settings(
    bundle_for: Callable[..., Bundle], tmp_path: Path
) -> None:
    bundle = bundle_for(folder=tmp_path)
    vector(bundle).save(tmp_path / "steering/a")
    settings = SteeringSettings(default_strength=0.25, normalize=False)
    found = shipped_steering(bundle, settings)
    assert found.strengths == (0.25,) and found.vectors[0].normalize is False


def test_another_models_vector_is_refused(bundle_for: Callable[..., Bundle], tmp_path: Path) -> None:
    bundle = bundle_for(folder=tmp_path)
    vector(bundle, fingerprint="0" * 64).save(tmp_path / "steering/a")
    with pytest.raises(FingerprintError):
        shipped_steering(bundle, SETTINGS)
