"""The ways to make candidates for a line that `ace bench repair` compares.

All written arms make the same number of lines (one greedy, the others drawn), stop at the line's end, and
differ in what is named alone: the prompt, or a direction with its strength and its gate. A random direction
of the same length is the control of a direction, strength 0 that of the machinery. The shipped arm is what a
user gets: all sources, all gates, the ranking.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from ace_analysis.features.bundle import Bundle
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.tokens import CodeTokenizer
from ace_analysis.steering.candidates import line_span
from ace_analysis.steering.gating import FeatureGate
from ace_analysis.steering.options import RepairOptions
from ace_analysis.steering.prompts import end_ids, line_end_ids, middle_prompt
from ace_analysis.steering.repair import repair_line
from ace_analysis.steering.token_tree import TokenTree
from ace_analysis.steering.vector import SteeringVector
from ace_analysis.steering.writing import RowPlan, Writer, WritingOptions

VERSION = 1
"""Rises when an arm offers something else than before for the same names and numbers."""
_ASK = "The line marked with BUG is wrong. Write it as it has to be, and nothing else."
_MARK = "  # BUG"


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
    is_told: bool = False
    """Whether the model is shown the wrong line and asked to correct it, instead of filling a gap."""
    steering: Steering | None = None
    temperature: float = 0.8
    seed: int = 0

    @property
    def name(self) -> str:
        base = "asked" if self.is_told else "unsteered"
        if self.steering is None:
            return base
        return self.steering.label if not self.is_told else f"asked, {self.steering.label}"

    @property
    def identity(self) -> str:
        how = (VERSION, self.name, self.count, self.temperature, self.seed, self.causal.info.fingerprint)
        if self.steering is None:
            return repr(how)
        vector, gate = self.steering.vector, self.steering.gate
        about = (vector.layer, vector.normalize, vector.direction.double().sum().item(), vector.length)
        return repr((*how, about, gate.latents if gate is not None else None))

    def offer(self, text: str, line: int) -> list[str]:
        """The text with each of the lines in place of its line, each text once, the greedy one first."""
        tokenizer = self.causal.tokenizer
        span = line_span(text, line)
        before, behind = text[: span.start], text[span.end :]
        prompt = (
            asking_prompt(tokenizer, text, line) if self.is_told else middle_prompt(tokenizer, before, behind)
        )
        ends = end_ids(tokenizer, self.causal.end_ids) | line_end_ids(tokenizer)
        plans = [RowPlan(), *[RowPlan(temperature=self.temperature)] * (self.count - 1)]
        with self._steered(len(prompt) - 1):
            tree = TokenTree(self.causal.model, prompt)
            options = WritingOptions(ends=ends, seed=self.seed)
            rows = Writer(self.causal, tree, prompt).write(plans, options)
        lines = dict.fromkeys(_without_mark(row.text) for row in rows if row.finished)
        return [before + each + behind for each in lines]

    def _steered(self, start: int) -> AbstractContextManager[None]:
        """Steering begins at the prompt's last token, which chooses the first new one."""
        if self.steering is None:
            return nullcontext()
        how = self.steering
        return how.vector.applied(self.causal, how.strength, gate=how.gate, start=start)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShippedArm:
    """What `ace fix FILE:LINE` offers."""

    causal: CausalModel
    bundle: Bundle | None
    options: RepairOptions = field(default_factory=RepairOptions)
    name: str = "shipped"
    release: str = ""
    """Of the ranking and the gates: another one offers something else."""

    @property
    def identity(self) -> str:
        about = self.bundle.fingerprint if self.bundle is not None else None
        counts = {
            key: getattr(self.options, key) for key in RepairOptions.__dataclass_fields__ if key != "vectors"
        }
        vectors = [each.direction.double().sum().item() for each in self.options.vectors]
        made_for = self.causal.info.fingerprint
        return repr((VERSION, self.name, self.release, made_for, about, sorted(counts.items()), vectors))

    def offer(self, text: str, line: int) -> Sequence[str]:
        fixes = repair_line(self.causal, self.bundle, text, line + 1, self.options)
        return [fix.applied_to(text) for fix in fixes]


def asking_prompt(tokenizer: CodeTokenizer, text: str, line: int) -> list[int]:
    """The whole text with a line marked as wrong, and the request to write it right, up to its indentation.

    As turns of a conversation where the vocabulary has the marks of turns (ChatML), else as plain text.
    """
    span = line_span(text, line)
    indent = text[text.rfind("\n", 0, span.start) + 1 : span.start]
    marked = (text[: span.end] + _MARK + text[span.end :]).strip("\n")
    request, answer = f"{_ASK}\n```python\n{marked}\n```", f"```python\n{indent}"
    start, end = tokenizer.id_of("<|im_start|>"), tokenizer.id_of("<|im_end|>")
    if start is None or end is None:
        return tokenizer.encode(f"{request}\n\n{answer}").ids
    user, assistant, newline = (
        tokenizer.encode(part).ids[1:] for part in (f"user\n{request}", f"assistant\n{answer}", "\n")
    )
    return [start, *user, end, *newline, start, *assistant]


def _without_mark(line: str) -> str:
    return line.rstrip().removesuffix(_MARK.strip()).rstrip()
