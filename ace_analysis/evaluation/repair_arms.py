"""The ways to make candidates for a line that `ace bench repair` compares.

All written arms make the same number of lines (one greedy, the others drawn), stop at the line's end, and
differ in what is named alone: the prompt, or a direction with its strength and its gate. A random direction
of the same length is the control of a direction, strength 0 that of the machinery. The shipped arm is what a
user gets: all sources, all gates, the ranking.
"""

import hashlib
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import ace_analysis.engine.fixing
import ace_analysis.steering
from ace_analysis.engine import Engine
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.tokens import CodeTokenizer
from ace_analysis.source.document import CodeDocument
from ace_analysis.steering.candidates import line_span
from ace_analysis.steering.gating import FeatureGate
from ace_analysis.steering.prompts import end_ids, line_end_ids, middle_prompt, told_prompt
from ace_analysis.steering.shipped import shipped_steering
from ace_analysis.steering.token_tree import TokenTree
from ace_analysis.steering.vector import SteeringVector
from ace_analysis.steering.writing import RowPlan, Writer, WritingOptions, Written

Prompt = Literal["unsteered", "told", "asked"]
"""A gap to fill; the same, told in a comment what stood there; a request to mend the whole text, whose answer
has got as far as the line."""
VERSION = 1
"""Rises when an arm offers something else than before for the same names and numbers."""
_ASK = "In this program the line `{line}` is wrong. Write the whole program again with that line corrected."


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Steering:
    """A direction, how much of it, and where; `name` tells the direction apart from others."""

    name: str
    vector: SteeringVector
    strength: float
    gate: FeatureGate | None = None

    @property
    def label(self) -> str:
        return f"{self.name} x{self.strength:g}{', gated' if self.gate is not None else ''}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WrittenArm:
    """Lines that the model writes: the first is the likeliest token each time, the others are drawn."""

    causal: CausalModel
    count: int = 5
    prompt: Prompt = "unsteered"
    steering: Steering | None = None
    temperature: float = 0.8
    seed: int = 0
    together: "Together | None" = None

    @property
    def offered_in(self) -> float | None:
        """Its share of the time that arms which write together took for the latest line."""
        return None if self.together is None else self.together.seconds

    @property
    def name(self) -> str:
        if self.steering is None:
            return self.prompt
        return self.steering.label if self.prompt == "unsteered" else f"{self.prompt}, {self.steering.label}"

    @property
    def identity(self) -> str:
        how = (VERSION, self.name, self.count, self.temperature, self.seed, self.causal.info.fingerprint)
        if self.prompt == "asked":
            how = (*how, _ASK)
        if self.steering is None:
            return repr(how)
        vector, gate = self.steering.vector, self.steering.gate
        about = (vector.layer, vector.normalize, vector.direction.double().sum().item(), vector.length)
        return repr((*how, about, gate.latents if gate is not None else None))

    def offer(self, text: str, line: int) -> list[str]:
        """The text with each of the lines in place of its line, each text once, the greedy one first."""
        if self.together is not None:
            return self.together.offer(self, text, line)
        prompt = self.asked_with(text, line)
        plans = [RowPlan(), *[RowPlan(temperature=self.temperature)] * (self.count - 1)]
        with self._steered(len(prompt) - 1):
            if self.prompt != "asked":
                return _texts(text, line, _rows(self.causal, prompt, plans, self.seed, _line(text, line)))
            rows = _rows(self.causal, prompt, plans, self.seed, text.split("\n")[line])
            return _texts(text, line, [replace(row, text=row.text.lstrip()) for row in rows])

    def plans(self) -> list[RowPlan]:
        """What each of its lines is written with, where arms write together; seeds are those of it alone."""
        how = self.steering
        steered = {} if how is None else {"vector": how.vector, "strength": how.strength, "gate": how.gate}
        warmth = [0.0, *[self.temperature] * (self.count - 1)]
        return [
            RowPlan(temperature=each, seed=self.seed + number, **steered)
            for number, each in enumerate(warmth)
        ]

    def asked_with(self, text: str, line: int) -> list[int]:
        tokenizer, span = self.causal.tokenizer, line_span(text, line)
        before, behind = text[: span.start], text[span.end :]
        if self.prompt == "asked":
            return asking_prompt(tokenizer, text, line)
        told = told_prompt(tokenizer, before, text[span.start : span.end], behind)
        if self.prompt == "told" and told is not None:
            return told
        return middle_prompt(tokenizer, before, behind)

    def _steered(self, start: int) -> AbstractContextManager[None]:
        """Steering begins at the prompt's last token, which chooses the first new one."""
        if self.steering is None:
            return nullcontext()
        how = self.steering
        return how.vector.applied(self.causal, how.strength, gate=how.gate, start=start)


class Together:
    """Arms with one prompt that differ in their steering: it is read once, and their lines grow as one tree.

    Each offers what it would alone, for a part of the time. An arm that is to be told apart from another by
    its gate alone needs a vector object of its own (`RowPlan`).
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        """Of the latest line, shared out equally."""
        self._arms: list[WrittenArm] = []
        self._latest: tuple[str, int] | None = None
        self._offered: dict[str, list[str]] = {}

    def add(self, arm: WrittenArm) -> WrittenArm:
        self._arms.append(replace(arm, together=self))
        return self._arms[-1]

    def offer(self, arm: WrittenArm, text: str, line: int) -> list[str]:
        """What one of them offers for a line; asked for the same line, the others have it at hand."""
        if self._latest != (text, line):
            start = time.perf_counter()
            self._offered = self._write(text, line)
            self._latest = (text, line)
            self.seconds = (time.perf_counter() - start) / len(self._arms)
        return self._offered[arm.name]

    def _write(self, text: str, line: int) -> dict[str, list[str]]:
        first = self._arms[0]
        plans = [arm.plans() for arm in self._arms]
        prompt = first.asked_with(text, line)
        every = [plan for each in plans for plan in each]
        rows = iter(_rows(first.causal, prompt, every, first.seed, _line(text, line)))
        return {
            arm.name: _texts(text, line, [next(rows) for _ in each])
            for arm, each in zip(self._arms, plans, strict=True)
        }


def _line(text: str, line: int) -> str:
    span = line_span(text, line)
    return text[span.start : span.end]


def _rows(
    causal: CausalModel, prompt: list[int], plans: Sequence[RowPlan], seed: int, line: str
) -> tuple[Written, ...]:
    """What is written in place of a line; most of it will stand in it again."""
    draft = tuple(causal.tokenizer.encode(line).ids[1:])
    ends = end_ids(causal.tokenizer, causal.end_ids) | line_end_ids(causal.tokenizer)
    tree = TokenTree(causal.model, prompt, behind=draft)
    return Writer(causal, tree, prompt).write(plans, WritingOptions(ends=ends, seed=seed, draft=draft))


def _texts(text: str, line: int, rows: Sequence[Written]) -> list[str]:
    """A text with each row in place of a line, each once."""
    span = line_span(text, line)
    lines = dict.fromkeys(row.text.rstrip() for row in rows if row.finished)
    return [text[: span.start] + each + text[span.end :] for each in lines]


class ShippedArm:
    """What `ace fix FILE:LINE` offers, with the engine's settings."""

    offered_in: float | None = None

    def __init__(self, engine: Engine, name: str = "shipped") -> None:
        self.name = name
        self._engine = engine

    @property
    def identity(self) -> str:
        return repr((self.name, pipeline_identity(self._engine)))

    def offer(self, text: str, line: int) -> list[str]:
        """The text with each fix."""
        fixes = self._engine.fix(CodeDocument(uri="file:///program.py", text=text), line + 1)
        return [fix.applied_to(text) for fix in fixes]


def pipeline_identity(engine: Engine) -> str:
    """All that the engine's fixes depend on: weights, bundle, settings, vectors, and the code itself."""
    digest = hashlib.sha256()
    parts = sorted(Path(ace_analysis.steering.__file__).parent.glob("*.py"))
    for path in (*parts, Path(ace_analysis.engine.fixing.__file__)):
        digest.update(path.read_bytes())
    shipped = shipped_steering(engine.bundle, engine.settings.steering)
    about = (engine.scanner.info.fingerprint, engine.bundle.identity(), str(engine.scanner.info.dtype))
    steered = [(each.layer, each.length, float(each.direction.double().sum())) for each in shipped.vectors]
    gate = None if shipped.gate is None else shipped.gate.latents
    settings = (engine.settings.check, engine.settings.fix, engine.settings.steering)
    return repr((VERSION, digest.hexdigest(), about, steered, shipped.strengths, gate, settings))


def asking_prompt(tokenizer: CodeTokenizer, text: str, line: int) -> list[int]:
    """The whole text, the request to write it again with a line corrected, and the answer up to that line.

    Asked for a line alone, an instructed model begins with the function's first one, which mends nothing. The
    line's indentation is left to it: behind spaces that end a prompt, a word comes with one space more. As
    turns of a conversation where the vocabulary has the marks of turns (ChatML), else as plain text.
    """
    span = line_span(text, line)
    before = text[: text.rfind("\n", 0, span.start) + 1].lstrip("\n")
    request = _ASK.format(line=text[span.start : span.end])
    request, answer = f"{request}\n```python\n{text.strip(chr(10))}\n```", f"```python\n{before}"
    start, end = tokenizer.id_of("<|im_start|>"), tokenizer.id_of("<|im_end|>")
    if start is None or end is None:
        return tokenizer.encode(f"{request}\n\n{answer}").ids
    user, assistant, newline = (
        tokenizer.encode(part).ids[1:] for part in (f"user\n{request}", f"assistant\n{answer}", "\n")
    )
    return [start, *user, end, *newline, start, *assistant]
