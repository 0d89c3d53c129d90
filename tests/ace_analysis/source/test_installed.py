"""What every installation has: the standard library, and packages under a permissive licence."""

from email.message import Message
from importlib.metadata import PackageMetadata
from itertools import islice
from typing import cast

import pytest

from ace_analysis.source.corpus import Tally
from ace_analysis.source.installed import (
    installed_projects,
    licence_of,
    standard_library,
)


@pytest.fixture(scope="module")
def projects():
    return {project.name: project for project in installed_projects()}


def metadata(**fields: str) -> Message:
    message = Message()
    for name, value in fields.items():
        for line in value.split("|"):
            message[name.replace("_", "-")] = line
    return message


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"License_Expression": "MIT"}, "MIT"),
        ({"License": "BSD 3-Clause\nlong text"}, "BSD-3-Clause"),
        ({"Classifier": "License :: OSI Approved :: Apache Software License"}, "Apache-2.0"),
        ({"Classifier": "License :: OSI Approved :: ISC License (ISCL)|Topic :: X"}, "ISC"),
        ({"Classifier": "License :: OSI Approved :: BSD License", "License": "BSD-3-Clause"}, "BSD-3-Clause"),
        ({"License": "PSF-2.0"}, "PSF-2.0"),
        ({"License": "GPL-3.0"}, None),
        ({"License_Expression": "MIT AND LGPL-2.1"}, None),
        (
            {"License": "MIT", "Classifier": "License :: OSI Approved :: GNU General Public License (GPL)"},
            None,
        ),
        ({"Classifier": "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)"}, None),
        ({"License": "LicenseRef-NVIDIA-Proprietary"}, None),
        ({"License": "UNKNOWN"}, None),
        ({"License": "permitted"}, None),
        ({}, None),
    ],
)
def test_only_permissive_licences_count(fields, expected):
    found = licence_of(cast("PackageMetadata", metadata(**fields)))
    assert found == expected


def test_the_standard_library_is_a_project_without_its_tests():
    stdlib = standard_library()
    names = {path.relative_to(stdlib.root).as_posix() for path in stdlib.files}
    assert {"argparse.py", "json/decoder.py"} <= names
    assert not {name for name in names if {"test", "tests", "idlelib", "lib2to3"} & set(name.split("/"))}
    assert not {name for name in names if "site-packages" in name}


def test_installed_packages_are_projects_by_their_normalised_name(projects):
    assert next(iter(projects)) == "stdlib"
    assert {"pytest", "tree-sitter", "typing-extensions"} <= projects.keys()
    assert all(project.files and project.licence for project in projects.values())
    assert "nvidia-cublas-cu12" not in projects


def test_a_packages_files_are_its_own(projects):
    files = projects["pluggy"].files
    assert files
    assert {path.relative_to(projects["pluggy"].root).parts[0] for path in files} == {"pluggy"}


def test_functions_of_a_package_name_their_project(projects):
    tally = Tally()
    found = list(projects["pluggy"].functions(tally=tally))
    assert len(found) > 20
    assert {function.project for function in found} == {"pluggy"}
    assert tally.files > 5


def test_functions_are_read_as_they_are_asked_for():
    tally = Tally()
    assert len(list(islice(standard_library().functions(tally=tally), 5))) == 5
    assert tally.files < 10
