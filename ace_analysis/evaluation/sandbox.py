"""Runs a program with its tests where it can do no harm by accident: what a wrong program does is unknown.

Each run has a fresh process in a folder of its own, an environment of its own (nothing of the caller's, so no
secrets), limits on time, memory, files and what it writes, and is ended with all that it started. Where the
system allows it without privileges (Linux, `unshare`) the run also has no network and its own process table,
so that nothing survives it; elsewhere what leaves the process group does. This guards against accidents. It
is no jail for code that means harm: run only code that you trust not to.

Python's hashes are seeded, so the same program and tests end the same way, and outcomes may be kept.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from ace_analysis.errors import InputError
from ace_analysis.evaluation.ledger import Ledger

MEGABYTE = 2**20
WAIT_FACTOR = 3
"""A run may wait this many times as long as it may compute: a busy machine is not the program's fault."""

_OUT_OF_TIME = frozenset({-9 & 255, -24 & 255})
"""How the launcher tells that its child was ended by SIGKILL or SIGXCPU, which RLIMIT_CPU sends."""
_FIXED = {"LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
_ISOLATED = ("unshare", "--user", "--map-root-user", "--net", "--pid", "--fork", "--kill-child", "--")
_LAUNCHER = """
import os, runpy, sys
script, seconds, memory, written = sys.argv[1], *map(int, sys.argv[2:5])
try:
    import resource
    for name, value in (("CPU", seconds), ("AS", memory), ("FSIZE", written), ("CORE", 0), ("NOFILE", 256)):
        if value >= 0:
            hard = resource.getrlimit(getattr(resource, "RLIMIT_" + name))[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (value, value))
except ImportError:
    pass
if hasattr(os, "fork"):
    # The first process of a process table is deaf to signals, so the program is its child.
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        os._exit(os.waitstatus_to_exitcode(status) & 255)
sys.argv = [script]
runpy.run_path(script, run_name="__main__")
"""


class Outcome(StrEnum):
    """How a run ended; PASSED: it came to its end, exit status 0."""

    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a run may take: seconds of computing, megabytes of address space (0: no limit) and of a file."""

    seconds: int = 10
    megabytes: int = 3072
    written_megabytes: int = 16

    def __post_init__(self) -> None:
        if self.seconds < 1 or self.megabytes < 0 or self.written_megabytes < 1:
            raise InputError(
                f"a run needs at least 1 second, 0 or more megabytes and 1 megabyte to write, got {self}"
            )


class Sandbox:
    """Runs programs with their tests; with a ledger, each pair only once, in this and all later processes."""

    def __init__(self, limits: Limits | None = None, ledger: Ledger | None = None) -> None:
        self.limits = limits or Limits()
        self._ledger = ledger
        self.runs = 0
        """How many were really run."""

    def passes(self, text: str, tests: str) -> bool:
        """Whether a program's tests run to their end."""
        return self.run(text, tests) is Outcome.PASSED

    def run(self, text: str, tests: str) -> Outcome:
        """Run a program and then its tests, as one script in a fresh process."""
        key = self._key(text, tests)
        known = self._ledger.get(key) if self._ledger is not None else None
        if known in tuple(Outcome):
            return Outcome(known)
        outcome = _run(text, tests, self.limits)
        self.runs += 1
        if self._ledger is not None:
            self._ledger.put(key, outcome.value)
        return outcome

    def _key(self, text: str, tests: str) -> str:
        about = repr((text, tests, sorted(asdict(self.limits).items()), sys.version_info[:2]))
        return hashlib.sha256(about.encode(errors="surrogatepass")).hexdigest()


def _run(text: str, tests: str, limits: Limits) -> Outcome:
    """The script makes a file of a random name as its last act, so that `exit(0)` half way is no pass."""
    word = os.urandom(8).hex()
    with tempfile.TemporaryDirectory(prefix="ace-run-", ignore_cleanup_errors=True) as folder:
        script, done = Path(folder, "program.py"), Path(folder, f"done-{word}")
        last = f"__import__('pathlib').Path({str(done)!r}).touch()"
        script.write_text(f"{text}\n{tests}\n{last}\n", encoding="utf-8", errors="replace")
        process = subprocess.Popen(
            [*_prefix(), *_python(script, limits)],
            cwd=folder,
            env={"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, **_FIXED},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            status = process.wait(timeout=limits.seconds * WAIT_FACTOR)
        except subprocess.TimeoutExpired:
            return Outcome.TIMED_OUT
        finally:
            _end(process)
        if status == 0 and done.exists():
            return Outcome.PASSED
    return Outcome.TIMED_OUT if status in _OUT_OF_TIME else Outcome.FAILED


def _python(script: Path, limits: Limits) -> Sequence[str]:
    memory = limits.megabytes * MEGABYTE if limits.megabytes else -1
    numbers = (limits.seconds, memory, limits.written_megabytes * MEGABYTE)
    return [sys.executable, "-s", "-P", "-c", _LAUNCHER, str(script), *map(str, numbers)]


@lru_cache(maxsize=1)
def _prefix() -> tuple[str, ...]:
    """The command that takes network and process table away, where it works."""
    if shutil.which(_ISOLATED[0]) is None:
        return ()
    try:
        tried = subprocess.run([*_ISOLATED, "true"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return _ISOLATED if tried.returncode == 0 else ()


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and whatever it started."""
    try:
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass
    process.wait()
