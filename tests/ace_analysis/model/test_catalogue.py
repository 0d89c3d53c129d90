"""The catalogue is consistent with itself."""

import re

import pytest

from ace_analysis.model.catalogue import KNOWN, KnownModel, known_by_sha256
from ace_analysis.settings import DEFAULT_MODEL


@pytest.mark.parametrize("known", KNOWN.values(), ids=KNOWN.keys())
def test_the_parts_add_up_to_the_file(known: KnownModel) -> None:
    assert sum(part.size for part in known.parts) == known.size


@pytest.mark.parametrize("known", KNOWN.values(), ids=KNOWN.keys())
def test_checksums_are_checksums_and_versions_are_pinned(known: KnownModel) -> None:
    for part in known.parts:
        assert re.fullmatch(r"[0-9a-f]{64}", part.sha256)
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", part.requirement)
    assert known_by_sha256(known.sha256) is known


def test_the_default_model_is_in_it_under_its_published_checksum() -> None:
    known = KNOWN[DEFAULT_MODEL]
    assert known.size == 491_400_064
    assert known.sha256 == "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32"


def test_names_are_in_lower_case() -> None:
    assert list(KNOWN) == [name.lower() for name in KNOWN]


def test_an_unknown_checksum_is_no_known_model() -> None:
    assert known_by_sha256("0" * 64) is None
