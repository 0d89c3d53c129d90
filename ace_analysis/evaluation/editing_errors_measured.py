"""Does erasing error latents make a model write fewer errors? What to measure, and how it is told.

For the model as it is and under each edit: how strongly the erased latents fire at planted bugs of held-out
projects, how well the bundle's readout tells these bugs from the right sites (of the type that was erased,
and of the others), the loss on other code, the chance of the bug's first token beside the right one's where
it begins (what the model would rather write there), and pass@1 on small problems, on the same ones for all.
Each number is kept as it comes, so a run that was stopped goes on.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ace_analysis.editing.deltas import with_deltas
from ace_analysis.evaluation.disentangler import Telling
from ace_analysis.evaluation.editing_errors import ALL, ErrorArm, choices_of
from ace_analysis.evaluation.editing_repair import Hole, read_holes, told_repair
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.pass_at_1 import Answerer, Kept, Problem, solved, told_passes
from ace_analysis.evaluation.statistics import Interval, mean, ratio, site_auroc
from ace_analysis.features.bundle import Readout
from ace_analysis.features.examples import Tree, TreeOptions
from ace_analysis.features.harvest import HarvestOptions, run_trees, write_shard
from ace_analysis.features.readout import logits
from ace_analysis.features.sparse_coder import SparseCoder
from ace_analysis.features.table import SiteTable, site_table
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.scan import ResidualScanner

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Place:
    """Where latents are read: by which scanner and coder, and which latents each concept has there."""

    name: str
    scanner: ResidualScanner
    coder: SparseCoder
    concepts: Mapping[str, Sequence[int]]
    readout: Readout | None = None
    """Scores sites, where there is one for this coder."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Material:
    """What is measured on: held-out functions whose sites are read, others whose loss is told, problems."""

    trees: Sequence[Tree]
    tree: TreeOptions
    texts: Sequence[Tree]
    longest: int
    """Clean tokens of a text."""
    problems: Sequence[Problem] = ()
    holes: Sequence[Hole] = ()
    """Lines to be written anew."""


def read_sites(
    scanner: ResidualScanner, trees: Sequence[Tree], coder: SparseCoder, tree: TreeOptions, telling: Telling
) -> SiteTable:
    """The sites of some trees, with the model as it is now."""
    options = HarvestOptions(layer=coder.site.layer, tree=tree, token_budget=2048)
    shard = run_trees(trees, scanner, options, telling.cancelled)
    with tempfile.TemporaryDirectory(prefix="ace-sites-") as folder:
        path = Path(folder, "shard-00000.safetensors")
        write_shard(path, shard)
        return site_table([path], coder)


@dataclass(frozen=True, slots=True, eq=False)
class ErrorBench:
    """Measures arms, each measure under its own key."""

    causal: CausalModel
    material: Material
    answerer: Answerer
    ledger: Ledger
    key: str
    telling: Telling

    def all_of(self, arms: Sequence[ErrorArm], places: Sequence[Place]) -> dict[str, dict[str, Any]]:
        """What `measure` gives, by the arms' names."""
        found = {}
        for number, arm in enumerate(arms):
            self.telling(f"{arm.name}: arm {number + 1} of {len(arms)}", number / len(arms))
            found[arm.name] = self.measure(arm, places)
        return found

    def measure(self, arm: ErrorArm, places: Sequence[Place]) -> dict[str, Any]:
        """All measures of an arm; only what isn't kept is run.

        Sites are read for the model as it is and for edits of what is read there: an edit behind a place
        changes nothing in it.

        Raises Cancelled where the caller asked to stop; what was measured is kept.
        """
        with with_deltas(self.causal.model, arm.deltas):
            told = {"sites": {}, "written": self._kept(arm, "what is written", self._written)}
            for place in (each for each in places if _is_read(arm, each)):
                read = lambda place=place: self._sites(place)  # noqa: E731
                about = (place.name, {name: list(some) for name, some in place.concepts.items()})
                told["sites"][place.name] = self._kept(arm, repr(about), read)
            if holes := self.material.holes:
                fill = lambda: read_holes(self.causal, holes, self.telling)  # noqa: E731
                told["filled"] = self._kept(arm, f"what is filled in, {len(holes)} lines", fill)
            if self.material.problems:
                told["passed"] = self._passed(arm)
        return told

    def _kept(self, arm: ErrorArm, what: str, run: Callable[[], Any]) -> Any:
        about = hashlib.sha256(what.encode()).hexdigest()[:16]
        key = f"{self.key}/{arm.identity}/{about}"
        known = self.ledger.get(key)
        if known is None:
            self.telling(f"{arm.name}: measuring {what.split(',')[0].strip('(')}", None)
            known = run()
            self.ledger.put(key, known)
        return known

    def _passed(self, arm: ErrorArm) -> list[bool]:
        def tell(message: str, fraction: float | None) -> None:
            self.telling(f"{arm.name}: {message}", fraction)

        base = f"{self.key}/base"
        identity = f"{self.key}/{arm.identity}"
        kept = Kept(self.ledger, tell, self.telling.cancelled)
        return solved(self.answerer, self.material.problems, identity, kept, base if identity != base else "")

    @torch.no_grad()
    def _written(self) -> dict[str, Any]:
        """Of texts: project, nats, tokens; of choices: project, type, share of the wrong token."""
        losses, choices = [], []
        for tree in self.material.texts:
            self.telling("reading other code", len(losses) / len(self.material.texts))
            ids = torch.tensor(tree.ids[: tree.branch.count(0)][: self.material.longest])
            given = ids[None].to(self.causal.info.device)
            logits_ = self.causal.model(input_ids=given, use_cache=False).logits[0, :-1].float()
            loss = torch.nn.functional.cross_entropy(logits_, given[0, 1:], reduction="sum")
            losses.append([tree.project, float(loss), len(ids) - 1])
            for each in choices_of(tree):
                if each.position < len(ids):
                    pair = logits_[each.position - 1, [each.wrong, each.right]]
                    choices.append([tree.project, each.kind, float(pair.softmax(0)[0])])
        return {"loss": losses, "choices": choices}

    def _sites(self, place: Place) -> dict[str, Any]:
        """Of each planted bug: type, project, score, the same site's score in right code, activations."""
        table = read_sites(place.scanner, self.material.trees, place.coder, self.material.tree, self.telling)
        bugs = table.bugs[table.origin[table.bugs] >= 0]
        scores = logits(table, place.readout) if place.readout is not None else np.zeros(len(table))
        fired = {
            name: sum(np.asarray(slot[bugs][:, list(some)].sum(axis=1)).ravel() for slot in table.latents)
            for name, some in place.concepts.items()
        }
        return {
            "type": table.mutations[bugs].tolist(),
            "project": table.row_projects[bugs].tolist(),
            "bug": np.round(scores[bugs], 5).tolist(),
            "right": np.round(scores[table.origin[bugs]], 5).tolist(),
            "clean": np.round(scores[table.clean], 5).tolist(),
            "clean_project": table.row_projects[table.clean].tolist(),
            "fired": {name: np.round(values, 5).tolist() for name, values in fired.items()},
        }


def _is_read(arm: ErrorArm, place: Place) -> bool:
    if not arm.deltas:
        return True
    return arm.concept in place.concepts and min(e.layer for e in arm.deltas) <= place.coder.site.layer


def told_errors(
    arms: Sequence[ErrorArm], measured: Mapping[str, Mapping[str, Any]], detector: str
) -> dict[str, Any]:
    """Each arm beside the first one, which changes nothing.

    Args:
        measured: by the arms' names, what `measure` gave.
        detector: the place that has a readout.
    """
    base = measured[arms[0].name]
    passed = {arm.name: measured[arm.name].get("passed", []) for arm in arms}
    passes = told_passes(passed, arms[0].name) if passed[arms[0].name] else {}
    told = {}
    for arm in arms:
        mine = measured[arm.name]
        sites = {**base["sites"], **mine["sites"]}
        told[arm.name] = {
            "kind": arm.kind,
            "concept": arm.concept,
            "norm": sum(float((e.left.T @ e.left * (e.right @ e.right.T)).sum()) for e in arm.deltas) ** 0.5,
            "perplexity": _perplexity(base["written"]["loss"], mine["written"]["loss"]),
            "activation_fall": _silence(arm, base["sites"], sites),
            "wrong_share": _choices(arm.kind, base["written"]["choices"], mine["written"]["choices"]),
            "detection": _detection(arm.kind, base["sites"][detector], sites[detector]),
            **({"repair": told_repair(arm.kind, base["filled"], mine["filled"])} if "filled" in base else {}),
            **({"pass_at_1": passes[arm.name]} if passes else {}),
        }
    seen = base["sites"][detector]
    counts = {kind: seen["type"].count(kind) for kind in sorted(set(seen["type"]))}
    tokens = sum(each[2] for each in base["written"]["loss"])
    choices = len(base["written"]["choices"])
    return {
        "bugs": counts,
        "choices": choices,
        "clean_sites": len(seen["clean"]),
        "loss_tokens": tokens,
        "arms": told,
    }


def _perplexity(before: Sequence[Any], after: Sequence[Any]) -> dict[str, float | None]:
    more = ratio(
        [a[1] - b[1] for b, a in zip(before, after, strict=True)],
        [b[2] for b in before],
        [b[0] for b in before],
    )
    return Interval(*(float(np.expm1(each)) for each in (more.value, more.low, more.high))).as_json()


def _choices(kind: str, before: Sequence[Any], after: Sequence[Any]) -> dict[str, Any]:
    """How likely the wrong token is where a bug begins, beside the right one, and by how much more."""
    own = np.array([kind in (ALL, each[1]) for each in before], dtype=bool)
    parts = {}
    for name, flags in (("own", own), ("others", ~own)):
        if flags.any():
            projects = np.array([each[0] for each in before])[flags]
            was, now = (np.array([each[2] for each in some])[flags] for some in (before, after))
            told = {"share": mean(now, projects), "change": mean(now - was, projects)}
            parts[name] = {key: value.as_json() for key, value in told.items()}
    return parts


def _silence(
    arm: ErrorArm, before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, float | None] | None:
    """By which share the arm's latents fire less at the bugs that they are of; None where it wasn't read."""
    for place, sites in after.items():
        if arm.concept in sites["fired"]:
            own = _own(arm.kind, sites)
            was = np.array(before[place]["fired"][arm.concept])[own]
            now = np.array(sites["fired"][arm.concept])[own]
            if was.sum() > 0:
                return ratio(was - now, was, np.array(sites["project"])[own]).as_json()
    return None


def _own(kind: str, sites: Mapping[str, Any]) -> Flags:
    types = np.array(sites["type"])
    return np.ones(len(types), dtype=bool) if kind == ALL else types == kind


def _detection(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Of the bugs that the arm is about, of the others, and of each type."""
    own = _own(kind, before)
    types = np.array(before["type"])
    parts = {"own": own, "others": ~own} | {each: types == each for each in sorted(set(before["type"]))}
    return {name: _part(flags, before, after) for name, flags in parts.items() if flags.any()}


def _part(flags: Flags, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """`pair`: the bug scores above the same site in right code; `auroc`: above any site in right code."""
    projects = np.array(before["project"])[flags]
    wins = [_wins(sites, flags) for sites in (before, after)]
    return {
        "bugs": int(flags.sum()),
        "pair": mean(wins[1], projects).as_json(),
        "pair_change": mean(wins[1] - wins[0], projects).as_json(),
        "auroc_before": _auroc(before, flags).as_json(),
        "auroc": _auroc(after, flags).as_json(),
    }


def _wins(sites: Mapping[str, Any], flags: Flags) -> NDArray[np.float64]:
    bug, right = np.array(sites["bug"])[flags], np.array(sites["right"])[flags]
    return (bug > right) + 0.5 * (bug == right)


def _auroc(sites: Mapping[str, Any], flags: Flags) -> Interval:
    bug = np.array(sites["bug"])[flags]
    scores = np.concatenate([bug, sites["clean"]])
    labels = np.concatenate([np.array(sites["project"])[flags], sites["clean_project"]])
    return site_auroc(scores, np.arange(len(scores)) < len(bug), labels)
