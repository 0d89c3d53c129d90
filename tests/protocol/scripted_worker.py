"""A worker without a model: the real worker's message loop, with a scan that follows words in the text.

    BUG           a finding there
    SLOW          half a second in this scope, ended by a cancel
    LONG          longer than any test in this scope, ended by a cancel
    LONG_ONCE     the same, the first time that any worker with this journal sees it
    STUCK         longer than any test in this scope, whatever is cancelled
    DIE           the process ends at this scope
    DIE_ONCE      the same, the first time that any worker with this journal sees it
    NOISE         a line on stdout, as libraries do

and an explanation of any place, unless the text has one of

    SLOW_WHY      two seconds before it, ended by a cancel
    LONG_WHY      longer than any test before it, ended by a cancel
    LONG_WHY_ONCE the same, the first time
    NO_WHY        it is refused

and two fixes for any stretch, GOOD and FINE, unless the text has one of

    SLOW_FIX      two seconds before them, ended by a cancel
    LONG_FIX      longer than any test before them, ended by a cancel
    NO_FIX        none is found
    REFUSE_FIX    it is refused
    TESTED        the first one has passed the user's tests

and edits of the model under names that are kept beside the journal; an edited model finds nothing. Of the
request's `kind`

    unknown       it is refused
    slow          longer than any test before the edit is planned or written, ended by a cancel
    slow_apply    the same before it is written
    dies          the process ends once it is written

What was asked goes into the journal, one JSON value per line.
"""

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from ace_analysis import worker
from ace_analysis.errors import Cancelled, InputError, ModelNotFound
from ace_analysis.report.attribution import (
    Attribution,
    AttributionTarget,
    HeadScore,
    LatentScore,
    LayerScore,
    TargetKind,
    TokenScore,
)
from ace_analysis.report.attribution_wire import attribution_to_wire
from ace_analysis.report.finding import Evidence, Finding, ScopeReport
from ace_analysis.report.repair import Fix, Gate, GateResult, Source
from ace_analysis.report.repair_wire import fix_to_wire
from ace_analysis.report.wire import to_wire
from ace_analysis.source.document import TextSpan
from ace_analysis.source.syntax import scopes_of

parser = argparse.ArgumentParser()
parser.add_argument("journal", type=Path)
parser.add_argument("--load-seconds", type=float, default=0.0)
parser.add_argument("--load-until", type=Path, help="loading ends when this file is there")
parser.add_argument("--refuse", help="what loading fails with")
parser.add_argument("--refuse-until", type=Path, help="loading fails while this file is not there")
parser.add_argument("--die-on-load", action="store_true")
parser.add_argument("--die-on-fix", action="store_true")
arguments = parser.parse_args()

LONG = 600.0
"""Seconds: what a test waits for is a cancel and never the end, so that no machine is too slow for it."""

known: set[str] = set()
model = "toy"


def note(what: str, **more: Any) -> None:
    with arguments.journal.open("a") as journal:
        journal.write(json.dumps({"what": what, "pid": os.getpid(), **more}) + "\n")


def load(desk: worker.Desk, job: worker.Job) -> dict[str, Any]:
    settings = job.get("settings")
    note("load", settings=settings)
    if arguments.die_on_load:
        sys.stderr.write("no memory left\n")
        sys.stderr.flush()
        os._exit(9)
    missing = arguments.refuse_until is not None and not arguments.refuse_until.exists()
    if arguments.refuse or missing:
        raise ModelNotFound(arguments.refuse or "no model is here. Run: ace model pull toy")
    seconds = LONG if arguments.load_until is not None else arguments.load_seconds
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not there(arguments.load_until):
        job.progress("reading weights", 1 - left / seconds)
        time.sleep(0.02)
        if job.cancelled():
            raise Cancelled("cancelled")
    global model
    model = settings["model"]["name"]
    return info(desk, job)


def there(path: Path | None) -> bool:
    return path is not None and path.exists()


def first(what: str) -> bool:
    """Whether no worker with this journal has met it before."""
    mark = arguments.journal.with_suffix(f".{what}")
    if mark.exists():
        return False
    mark.touch()
    return True


def info(desk: worker.Desk, job: worker.Job) -> dict[str, Any]:
    edited = {"edited_from": edits()[model]["base"]} if edits().get(model, {}).get("edits") else {}
    methods = sorted(worker.METHODS)
    return {"model": model, "device": "cpu", "dtype": "float32", "methods": methods, **edited}


def scan(desk: worker.Desk, job: worker.Job) -> dict[str, Any]:
    text = job.get("text")
    note("scan", text=text, version=job.params.get("version"), first=job.params.get("first"))
    reports = []
    for scope in scopes_of(text):
        part = text[scope.span.start : scope.span.end]
        key = scope.header + part
        from_cache = key in known
        if not from_cache:
            obey(job, part)
            known.add(key)
        places = [] if "edited_from" in info(desk, job) else re.finditer("BUG", part)
        findings = tuple(found(scope.span.start + match.start()) for match in places)
        report = ScopeReport(scope=scope.span, name=scope.name, findings=findings, from_cache=from_cache)
        job.notify("ace/scope", {"id": job.id, "scope": to_wire(report)})
        reports.append(to_wire(report))
    note("done", version=job.params.get("version"), max_false_alarms=job.params.get("max_false_alarms"))
    return {"scopes": reports}


def obey(job: worker.Job, part: str) -> None:
    if "DIE_ONCE" in part and first("died"):
        os._exit(9)
    if re.search(r"\bDIE\b", part):
        os._exit(9)
    if "NOISE" in part:
        os.write(1, b"a library says hello\n")
    if "STUCK" in part:
        note("stuck")
        time.sleep(LONG)
    seconds = 0.5 if "SLOW" in part else 0.0
    if re.search(r"\bLONG\b", part) or ("LONG_ONCE" in part and first("long")):
        seconds = LONG
    if seconds:
        note("slow")
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if job.cancelled():
                note("cancelled", version=job.params.get("version"))
                raise Cancelled("cancelled")
            time.sleep(0.01)


def explain(desk: worker.Desk, job: worker.Job) -> dict[str, Any]:
    text, offset = job.get("text"), job.get("offset")
    note("explain", offset=offset, expectation=job.get("expectation"))
    if "NO_WHY" in text:
        raise InputError("expected a scope of at most 1,024 tokens, got 2,000")
    if "SLOW_WHY" in text:
        wait(job, 2.0)
    if re.search(r"\bLONG_WHY\b", text) or ("LONG_WHY_ONCE" in text and first("why")):
        wait(job, LONG)
    note("explained", offset=offset)
    start = re.search(r"\w*$", text[:offset]).start()  # pyright: ignore
    end = offset + re.match(r"\w*", text[offset:]).end()  # pyright: ignore
    span = TextSpan(start, max(end, start + 1))
    finding = text[start:end] == "BUG"
    target = AttributionTarget(
        kind=TargetKind.FINDING if finding else TargetKind.TOKEN,
        span=span,
        text=text[span.start : span.end],
        description="log-odds that `BUG` is wrong" if finding else "logit of this token",
        finding_kind="comparison" if finding else None,
        probability=0.9,
        alternative=None if finding else "beta",
    )
    latent = LatentScore(
        latent=7,
        feature="blocks.1.hook_resid_post/7",
        activation=3.0,
        threshold=1.0,
        score=1.5,
        span=span,
        label="a name that *ends* an expression",
    )
    why = Attribution(
        target=target,
        unit="log-odds" if finding else "logits",
        value=2.25,
        latents=(latent,) if finding else (),
        heads=(HeadScore(1, 0, -0.75), HeadScore(0, 3, 0.5)),
        layers=(LayerScore(0, 0.5, -0.25),),
        tokens=(TokenScore(span, text[span.start : span.end], 1.25), TokenScore(None, "<start>", -0.5)),
        unexplained=0.125,
        method="one transposed pass",
        notes=("Checked against nothing.",),
    )
    return attribution_to_wire(why)


def fix(desk: worker.Desk, job: worker.Job) -> dict[str, Any]:
    text, span = job.get("text"), TextSpan(job.get("start"), job.get("end"))
    note("fix", start=span.start, end=span.end, version=job.params.get("version"), options=job.get("options"))
    if arguments.die_on_fix:
        os._exit(9)
    if "REFUSE_FIX" in text:
        raise InputError("expected a place with code on it, got an empty line; name another line")
    if "SLOW_FIX" in text:
        wait(job, 2.0)
    if "LONG_FIX" in text:
        wait(job, LONG)
    words = () if "NO_FIX" in text else ("GOOD", "FINE")
    fixes = [
        Fix(
            span=span,
            replacement=word,
            source=Source.EDIT,
            score=-number,
            gates=(GateResult(Gate.PARSES, True),),
            detail=f"`{text[span.start : span.end]}` becomes `{word}`",
            verified_by_tests="TESTED" in text and number == 0,
        )
        for number, word in enumerate(words)
    ]
    return {"fixes": [fix_to_wire(each) for each in fixes]}


def edits() -> dict[str, Any]:
    """What the ledger has: by name, the base and how many edits."""
    ledger = arguments.journal.with_suffix(".edits")
    return json.loads(ledger.read_text()) if ledger.exists() else {}


def write_edits(entries: dict[str, Any]) -> None:
    arguments.journal.with_suffix(".edits").write_text(json.dumps(entries))


def preview_edit(desk: worker.Desk, job: worker.Job) -> dict[str, Any]:
    request = job.get("request")
    note("preview", request=request)
    if request.get("kind") == "unknown":
        raise InputError("expected a kind that has error features (comparison), got 'unknown'")
    if request.get("kind") == "slow":
        wait(job, LONG)
    return receipt_of(request)


def receipt_of(request: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": request.get("name") or "toy-edit1",
        "sha256": "ab" * 32,
        "fingerprint_before": f"print of {model}",
        "told": "layer 1 mlp.down: 3 rows change\n  perplexity: 5.1 -> 5.2",
    }


def apply_edit(desk: worker.Desk, job: worker.Job) -> dict[str, Any]:
    request = job.get("request")
    note("apply", request=request, fingerprint=job.get("fingerprint"))
    if request.get("kind") in ("slow", "slow_apply"):
        wait(job, LONG)
    receipt, kept = receipt_of(request), edits()
    entry = kept.get(receipt["name"], {"base": model, "edits": 0})
    write_edits({**kept, receipt["name"]: {**entry, "edits": entry["edits"] + 1}})
    if request.get("kind") == "dies":
        os._exit(9)
    return receipt


def undo_edit(desk: worker.Desk, job: worker.Job) -> dict[str, Any]:
    kept, name = edits(), job.params.get("name") or model
    note("undo", name=name)
    if not kept.get(name, {}).get("edits"):
        raise ModelNotFound(f"expected an edited model (none yet), got {name!r}")
    entry = {**kept[name], "edits": kept[name]["edits"] - 1}
    write_edits({**kept, name: entry})
    return {**receipt_of({"name": name}), "base": entry["base"], "left": entry["edits"]}


def wait(job: worker.Job, seconds: float) -> None:
    """Work that takes so long, tells how far it is and can be cancelled."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        job.progress("working", 1 - left / seconds)
        if job.cancelled():
            note("cancelled", method=job.method)
            raise Cancelled("cancelled")
        time.sleep(0.02)


def found(start: int) -> Finding:
    span = TextSpan(start, start + 3)
    evidence = Evidence("blocks.1.hook_resid_post/7", span, activation=3.0, threshold=1.0, weight=0.5)
    return Finding(span=span, kind="comparison", score=0.9, threshold=0.5, evidence=(evidence,))


if __name__ == "__main__":
    worker.METHODS.update(
        {"ace/load": load, "ace/info": info, "ace/scan": scan, "ace/explain": explain, "ace/fix": fix}
    )
    worker.METHODS.update(
        {"ace/edit/preview": preview_edit, "ace/edit/apply": apply_edit, "ace/edit/undo": undo_edit}
    )
    worker.main()
