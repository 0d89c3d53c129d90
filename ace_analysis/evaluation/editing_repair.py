"""Whether an edited model still sets planted bugs right: their lines written anew, all around them known.

`ace fix` reads dozens of candidates a bug, too many for every arm on small machines. What it rests on is
measured instead, in two short passes a line. *Filled*: writing the line greedily in
the middle of its function gives the right line, which is repair by plain filling-in. *Preferred*: the right
line is likelier there than the buggy one, which is what fixes are mostly ranked by. A greedy text is known
without being written: it is the right line where each of its tokens, and its end, is the likeliest one.

Source: filling in the middle, Bavarian et al. 2022 (arXiv:2207.14255), section 3.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ace_analysis.evaluation.disentangler import Telling
from ace_analysis.evaluation.editing_errors import ALL
from ace_analysis.evaluation.statistics import mean
from ace_analysis.features.examples import TreeOptions, planted_in
from ace_analysis.model.causal import CausalModel
from ace_analysis.source.corpus import CodeFunction
from ace_analysis.source.mutation import MutationGenerator
from ace_analysis.steering.prompts import end_ids, line_end_ids, middle_prompt
from ace_analysis.steering.token_tree import TokenTree

MOST_TOKENS = 320
"""Of a prompt; a longer function is cut to what is nearest to the line."""
MEASURES = ("filled", "preferred")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """A line of a function, without its indentation, that a planted bug of a type changes."""

    project: str
    kind: str
    before: str
    after: str
    right: str
    wrong: str


def holes_of(functions: Sequence[CodeFunction], options: TreeOptions, count: int) -> list[Hole]:
    """Planted bugs that change one line, `count` at most; bugs of the same line are neighbours.

    The bugs are those of the functions' trees. Functions take turns, a line each.
    """
    generator = MutationGenerator(options.seed)
    queues = [iter(_lines_of(each, generator, options)) for each in functions]
    found: list[Hole] = []
    while queues and len(found) < count:
        for queue in list(queues):
            line = next(queue, None)
            if line is None:
                queues.remove(queue)
            else:
                found += line
    return found[:count]


def _lines_of(
    function: CodeFunction, generator: MutationGenerator, options: TreeOptions
) -> Iterator[list[Hole]]:
    lines: dict[int, list[Hole]] = {}
    for pair in planted_in(function, generator, options):
        right, wrong = (text.split("\n") for text in (pair.positive, pair.negative))
        changed = [at for at, (a, b) in enumerate(zip(right, wrong, strict=False)) if a != b]
        if len(right) != len(wrong) or len(changed) != 1:
            continue
        at = changed[0]
        indent = right[at][: len(right[at]) - len(right[at].lstrip())]
        if not right[at].strip() or wrong[at][: len(indent)] != indent:
            continue
        hole = Hole(
            project=function.project,
            kind=str(pair.mutation_type),
            before=function.header + "\n".join([*right[:at], indent]),
            after="\n".join(["", *right[at + 1 :]]) if at + 1 < len(right) else "",
            right=right[at].strip(),
            wrong=wrong[at].strip(),
        )
        lines.setdefault(at, []).append(hole)
    yield from lines.values()


def read_holes(causal: CausalModel, holes: Sequence[Hole], telling: Telling) -> dict[str, Any]:
    """Of each hole: type, project, whether it is filled with the right line, nats of right against wrong.

    Raises Cancelled where the caller asked to stop.
    """
    filled: list[bool] = []
    gains: list[float] = []
    for (before, after, right), same in groupby(holes, key=lambda e: (e.before, e.after, e.right)):
        telling("filling in lines", len(gains) / len(holes))
        wrong = [each.wrong for each in same]
        is_written, values = _read(causal, (before, after), [right, *wrong])
        filled += [is_written] * len(wrong)
        gains += [values[0] - value for value in values[1:]]
    return {
        "type": [each.kind for each in holes],
        "project": [each.project for each in holes],
        "filled": filled,
        "gain": [round(each, 5) for each in gains],
    }


def _read(causal: CausalModel, around: tuple[str, str], lines: Sequence[str]) -> tuple[bool, list[float]]:
    """Whether the first line is written greedily between two texts, and each line's log-probability."""
    tokenizer = causal.tokenizer
    ends = end_ids(tokenizer, causal.end_ids) | line_end_ids(tokenizer)
    ids = [each.ids[1:] for each in tokenizer.encode_many(list(lines))]
    tree = TokenTree(causal.model, middle_prompt(tokenizer, *around, MOST_TOKENS), behind=ids[0])
    likeliest = tree.along.argmax(dim=1).tolist()
    is_written = likeliest[:-1] == list(ids[0]) and likeliest[-1] in ends
    return is_written, [sum(each) for each in tree.score(ids, ends)]


def told_repair(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Shares of the bugs that an arm is about, of the others and of each type, and their changes.

    Args:
        kind: the arm's type of bugs, or ALL.
        before, after: what `read_holes` gave for the model as it is and for the arm.
    """
    types = np.array(before["type"])
    own = np.ones(len(types), dtype=bool) if kind == ALL else types == kind
    parts = {"own": own, "others": ~own} | {each: types == each for each in sorted(set(before["type"]))}
    told: dict[str, Any] = {}
    for name, flags in parts.items():
        if flags.any():
            projects = np.array(before["project"])[flags]
            told[name] = {"bugs": int(flags.sum())}
            for measure in MEASURES:
                was, now = (_rights(each, measure)[flags] for each in (before, after))
                told[name][measure] = mean(now, projects).as_json()
                told[name][f"{measure}_change"] = mean(now - was, projects).as_json()
    return told


def _rights(read: Mapping[str, Any], measure: str) -> NDArray[np.float64]:
    if measure == "filled":
        return np.array(read["filled"], dtype=float)
    gains = np.array(read["gain"], dtype=float)
    return (gains > 0) + 0.5 * (gains == 0)
