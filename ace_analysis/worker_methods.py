"""What a worker can be asked: one handler a method, and what handlers share.

A handler runs on the job thread of worker.py, one at a time; it returns JSON or raises. It only reads its
params and writes its answer: what is done is in the engine. torch is imported by the first `ace/load` and not
before.
"""

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ace_analysis.errors import AceError, InputError
from ace_analysis.report.attribution_wire import attribution_to_wire
from ace_analysis.report.repair_wire import fix_to_wire
from ace_analysis.report.wire import to_wire
from ace_analysis.source.document import CodeDocument, TextSpan

if TYPE_CHECKING:
    from ace_analysis.engine import Engine
    from ace_analysis.engine.editing import Editor

JobId = int | str


@dataclass(slots=True, eq=False)
class Job:
    """One request: its params, whether it was cancelled, and a way to tell news before the answer."""

    id: JobId
    method: str
    params: Mapping[str, Any]
    notify: Callable[[str, Mapping[str, Any]], None]
    stop: threading.Event = field(default_factory=threading.Event)

    def cancelled(self) -> bool:
        return self.stop.is_set()

    def progress(self, message: str, fraction: float | None = None) -> None:
        self.notify("ace/progress", {"id": self.id, "message": message, "fraction": fraction})

    def get(self, name: str) -> Any:
        if name not in self.params:
            raise InputError(f"{self.method}: expected a parameter {name!r}, got {sorted(self.params)}")
        return self.params[name]


@dataclass(slots=True)
class Desk:
    """What jobs share: the engine, once one is loaded."""

    engine: "Engine | None" = None
    editor: "Editor | None" = None
    """Of this engine, once an edit was asked for."""

    @property
    def loaded(self) -> "Engine":
        if self.engine is None:
            raise InputError("expected ace/load first: no model is loaded")
        return self.engine

    @property
    def edits(self) -> "Editor":
        engine = self.loaded
        from ace_analysis.engine.editing import Editor
        from ace_analysis.evaluation.editing_search import search_setting

        if self.editor is None:
            self.editor = Editor(engine, search_setting)
        return self.editor


def load(desk: Desk, job: Job) -> dict[str, Any]:
    """Load the model that the settings name, in place of the one before."""
    from ace_analysis.settings import load_settings

    settings = load_settings(None, job.get("settings"))
    try:
        from ace_analysis.engine import Engine
    except ImportError as error:
        how = "pip install 'ace-lsp[engine]'"
        raise AceError(
            f"The engine is not installed for {sys.executable} ({error}). Install: {how}"
        ) from error
    if desk.engine is not None:
        desk.engine.close()
        desk.engine = desk.editor = None  # before the next one is there: two models may not fit into memory
    desk.engine = Engine.load(settings, progress=job.progress)
    return info(desk, job)


def info(desk: Desk, _: Job) -> dict[str, Any]:
    return {**desk.loaded.info(), "methods": sorted(METHODS)}


def scan(desk: Desk, job: Job) -> dict[str, Any]:
    """Analyse a text; each scope is told when it is done, all of them again at the end."""
    engine = desk.loaded
    from ace_analysis.engine import ScanOptions

    first = job.params.get("first")
    only = job.params.get("only")
    options = ScanOptions(
        sites=bool(job.params.get("sites", False)),
        max_false_alarms=job.params.get("max_false_alarms"),
        first=None if first is None else _span(first),
        only=None if only is None else tuple(_span(each) for each in only),
    )
    reports = engine.scan(
        _document(job),
        options=options,
        cancelled=job.cancelled,
        on_scope=lambda report: job.notify("ace/scope", {"id": job.id, "scope": to_wire(report)}),
    )
    return {"scopes": [to_wire(report) for report in reports]}


def explain(desk: Desk, job: Job) -> dict[str, Any]:
    """Why a place scores as it does, or what the model expects there; see Attribution."""
    engine = desk.loaded
    from ace_analysis.engine import ExplainOptions

    offset = _count(job.get("offset"), "offset")
    options = ExplainOptions(
        expectation=bool(job.params.get("expectation", False)),
        max_false_alarms=job.params.get("max_false_alarms"),
        check=_count(job.params.get("check", 0), "check"),
    )
    why = engine.explain(
        _document(job), offset, options=options, cancelled=job.cancelled, progress=job.progress
    )
    return attribution_to_wire(why)


def fix(desk: Desk, job: Job) -> dict[str, Any]:
    """What could stand in a place, best first. Tests run only where the request names a command."""
    engine = desk.loaded
    from ace_analysis.engine.fixing import options_from

    options = options_from(job.params.get("options") or {})
    span = _span((job.get("start"), job.get("end")))
    fixes = engine.fix(_document(job), span, options=options, cancelled=job.cancelled, progress=job.progress)
    return {"fixes": [fix_to_wire(each) for each in fixes]}


def preview_edit(desk: Desk, job: Job) -> dict[str, Any]:
    """What an edit of the model would change, and what it would do; nothing is written."""
    return desk.edits.preview(_mapping(job, "request"), cancelled=job.cancelled, progress=job.progress)


def apply_edit(desk: Desk, job: Job) -> dict[str, Any]:
    """Write an edit of the model that has this fingerprint, under a name; the model here stays as it is."""
    request, fingerprint = _mapping(job, "request"), job.get("fingerprint")
    return desk.edits.apply(request, str(fingerprint), cancelled=job.cancelled, progress=job.progress)


def undo_edit(desk: Desk, job: Job) -> dict[str, Any]:
    """Take an edit back; without a name, of the model here, and without an edit, the last one."""
    name, edit = job.params.get("name"), job.params.get("edit")
    for each in (name, edit):
        if each is not None and not isinstance(each, str):
            raise InputError(f"{job.method}: expected a name and an edit as texts, got {each!r}")
    return desk.edits.undo(name, edit, job.progress)


METHODS: dict[str, Callable[[Desk, Job], Any]] = {
    "ace/load": load,
    "ace/info": info,
    "ace/scan": scan,
    "ace/explain": explain,
    "ace/fix": fix,
    "ace/edit/preview": preview_edit,
    "ace/edit/apply": apply_edit,
    "ace/edit/undo": undo_edit,
}
"""What can be asked. A handler runs on the job thread; it returns JSON or raises."""


def _count(value: Any, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name}: expected a whole number, got {value!r}")
    return value


def _mapping(job: Job, name: str) -> Mapping[str, Any]:
    value = job.get(name)
    if not isinstance(value, Mapping):
        raise InputError(f"{name}: expected values by name, got {value!r}")
    return value


def _document(job: Job) -> CodeDocument:
    return CodeDocument(uri=job.get("uri"), text=job.get("text"), version=job.params.get("version", 0))


def _span(pair: Any) -> TextSpan:
    try:
        start, end = pair
        return TextSpan(int(start), int(end))
    except (TypeError, ValueError) as error:
        raise InputError(f"expected a span [start, end], got {pair!r}") from error
