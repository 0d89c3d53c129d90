"""What a check does with a baseline: hides the findings that it knows, or learns those that there are.

Somebody who begins to check a large project can't look at everything at once. The baseline keeps what is
known out of the way, and each new finding is one.
"""

from pathlib import Path

from ace_analysis.cli.messages import printable_path
from ace_analysis.errors import InputError
from ace_analysis.report.baseline import (
    FILE_NAME,
    Baseline,
    baseline_of,
    read_baseline,
    relative_path,
    write_baseline,
)
from ace_analysis.report.finding import Finding
from ace_analysis.source.document import CodeDocument


class KnownFindings:
    """A baseline in use. `hidden` counts the findings that were not shown."""

    def __init__(self, file: Path, baseline: Baseline, *, learn: bool = False) -> None:
        """`learn`: take all findings as known from now on; `save` writes them."""
        self.file = file
        self.hidden = 0
        self.learn = learn
        self._baseline = baseline
        self._seen: dict[str, tuple[str, tuple[Finding, ...]]] = {}

    @classmethod
    def read(cls, file: Path, *, learn: bool) -> "KnownFindings":
        """From its file; one that is to be written need not be there, nor be readable."""
        try:
            return cls(file, read_baseline(file), learn=learn)
        except InputError as error:
            if not learn:
                missing = f"{error}; write one with: ace check --write-baseline --baseline {file}"
                raise InputError(missing if not file.exists() else str(error)) from error
            return cls(file, Baseline(), learn=True)

    def new(self, path: Path, document: CodeDocument, findings: tuple[Finding, ...]) -> tuple[Finding, ...]:
        """The findings of a file that are to be shown."""
        name = relative_path(path, self.file.parent)
        if self.learn:
            self._seen[name] = document.text, findings
            self.hidden += len(findings)
            return ()
        new = self._baseline.new(name, document.text, findings)
        self.hidden += len(findings) - len(new)
        return new

    def save(self) -> str:
        """Write what is known now, and say so; of files that this check did not read, what was known stays.

        Raises StorageError.
        """
        learnt = baseline_of((name, text, found) for name, (text, found) in self._seen.items())
        others = {name: keys for name, keys in self._baseline.known.items() if name not in self._seen}
        write_baseline(self.file, Baseline({**others, **learnt.known}))
        written = f"{self.hidden:,} known, written into {printable_path(self.file)}"
        return f"{written}; what comes new: ace check --baseline {printable_path(self.file)}"


def chosen_baseline(
    given: Path | None, configured: str | None, folder: Path, *, learn: bool
) -> KnownFindings | None:
    """The baseline of the command line, else of the settings (from their folder on), else the usual one.

    Raises InputError where it is asked for and can't be read.
    """
    if given is not None:
        return KnownFindings.read(given, learn=learn)
    if configured is not None:
        return KnownFindings.read(folder / Path(configured).expanduser(), learn=learn)
    return KnownFindings.read(folder / FILE_NAME, learn=True) if learn else None
