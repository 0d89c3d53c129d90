"""Projects that every Python installation brings along: the standard library and the installed packages.

They are the one corpus that needs no download. Only packages under a permissive licence are used.
"""

import re
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageMetadata, distributions
from pathlib import Path

from ace_analysis.source.corpus import (
    LEFT_OUT,
    CodeFunction,
    Progress,
    Tally,
    functions_of_files,
    python_files,
)
from ace_analysis.source.licences import best_licence

_TESTS = frozenset({"test", "tests", "testing", "idlelib", "lib2to3", "turtledemo"})
_PERMISSIVE = re.compile(r"\b(MIT|BSD|Apache|PSF|Python Software Foundation|ISC|0BSD)\b", re.IGNORECASE)
_OTHER = re.compile(
    r"GPL|General Public|MPL|Mozilla|EUPL|CC-BY|Creative Commons|Propriet|Commercial|Commons Clause|NVIDIA",
    re.IGNORECASE,
)
_LONGEST_LICENCE_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledProject:
    """One project with its Python files, tests left out."""

    name: str
    version: str
    licence: str
    root: Path
    files: tuple[Path, ...]

    def functions(
        self, *, progress: Progress | None = None, tally: Tally | None = None
    ) -> Iterator[CodeFunction]:
        return functions_of_files(
            self.files, project=self.name, root=self.root, progress=progress, tally=tally
        )


def installed_projects() -> tuple[InstalledProject, ...]:
    """The standard library (as "stdlib") and each installed package under a permissive licence, by name."""
    found: dict[str, InstalledProject] = {}
    for distribution in distributions():
        project = _project_of(distribution)
        if project is not None:
            found.setdefault(project.name, project)
    return (standard_library(), *(found[name] for name in sorted(found)))


def standard_library() -> InstalledProject:
    root = Path(sysconfig.get_path("stdlib"))
    return InstalledProject(
        name="stdlib",
        version=sysconfig.get_python_version(),
        licence="PSF-2.0",
        root=root,
        files=tuple(python_files(root, LEFT_OUT | _TESTS)),
    )


def _project_of(distribution: Distribution) -> InstalledProject | None:
    metadata = distribution.metadata
    name, licence = metadata["Name"], licence_of(metadata)
    if not name or licence is None:
        return None
    files = tuple(
        sorted(
            {
                Path(str(distribution.locate_file(file)))
                for file in distribution.files or ()
                if file.suffix == ".py" and ".." not in file.parts and not (LEFT_OUT | _TESTS) & {*file.parts}
            }
        )
    )
    if not files:
        return None
    root = Path(str(distribution.locate_file("")))
    return InstalledProject(
        name=re.sub(r"[-_.]+", "-", name).lower(),
        version=distribution.version,
        licence=licence,
        root=root,
        files=files,
    )


def licence_of(metadata: PackageMetadata) -> str | None:
    """The licence if it is a permissive one, as SPDX names it: the most exact of what the metadata state."""
    classifiers = [
        value.rpartition("::")[2].strip()
        for value in metadata.get_all("Classifier") or ()
        if value.startswith("License ::")
    ]
    old = _first(metadata, "License").strip().split("\n")[0][:_LONGEST_LICENCE_NAME]
    stated = [_first(metadata, "License-Expression"), ", ".join(classifiers), old]
    chosen = best_licence(text for text in stated if text != "OSI Approved")
    return chosen if _PERMISSIVE.search(chosen) and not any(map(_OTHER.search, stated)) else None


def _first(metadata: PackageMetadata, name: str) -> str:
    return next(iter(metadata.get_all(name) or ()), "")
