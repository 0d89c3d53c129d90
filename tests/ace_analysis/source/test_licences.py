"""Equal licences get equal names, names stay as they are, and nothing is made more exact than it was said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ace_analysis.source.licences import best_licence, spdx_of

EXACT = (
    "MIT",
    "Apache-2.0",
    "BSD-3-Clause",
    "MIT OR Apache-2.0",
    "BSD-3-Clause AND 0BSD AND Zlib",
    "PSF-2.0",
)


@pytest.mark.parametrize("name", [*EXACT, "LicenseRef-Repoze-BSD-derived", "Apache-2.0 WITH LLVM-exception"])
def test_names_of_spdx_stay(name: str) -> None:
    assert spdx_of(name) == name


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ("MIT License", "MIT"),
        ("The MIT License (MIT)", "MIT"),
        ("mit", "MIT"),
        ("Apache", "Apache-2.0"),
        ("Apache 2.0 License", "Apache-2.0"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("Apache Software License", "Apache-2.0"),
        ("3-Clause BSD License", "BSD-3-Clause"),
        ("BSD 3-Clause License", "BSD-3-Clause"),
        ("2-clause BSD", "BSD-2-Clause"),
        ("Simplified BSD", "BSD-2-Clause"),
        ("BSD License", "BSD"),
        ("BSD license (see license.txt for details), Copyright (c) 2000-2025, X", "BSD"),
        ("ISC License (ISCL)", "ISC"),
        ("Python Software Foundation License", "PSF-2.0"),
        ("PSFL", "PSF-2.0"),
        ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
        ("DFSG approved, MIT License", "MIT"),
        ("MIT License, Apache Software License", "MIT, Apache-2.0"),
        ("  MIT\n License ", "MIT"),
        ("apache-2.0", "Apache-2.0"),
        ("", ""),
        ("Permitted to all", "Permitted to all"),
    ],
)
def test_spoken_names_become_those_of_spdx(stated: str, name: str) -> None:
    assert spdx_of(stated) == name


@given(st.text())
def test_a_name_once_found_is_not_changed_again(stated: str) -> None:
    assert spdx_of(spdx_of(stated)) == spdx_of(stated)


def test_the_most_exact_statement_counts() -> None:
    assert best_licence(["", "BSD License", "BSD-3-Clause"]) == "BSD-3-Clause"
    assert best_licence(["Copyright (c) 2015, Somebody", "BSD License"]) == "BSD"
    assert best_licence(["MIT", "Apache-2.0"]) == "MIT"
    assert best_licence(["Files: *"]) == "Files: *"
    assert best_licence(["", ""]) == ""
