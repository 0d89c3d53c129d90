"""Which share of small tasks a model solves with its first answer, decided by running their tests.

Answers are greedy and written in batches. An edited model mostly writes what its base wrote, so a text of the
base can be given as a draft: it is read in one pass, and only what the edited model would have written
otherwise is written anew. The answer is the same as without a draft.

Source: pass@1, Chen et al. 2021 (arXiv:2107.03374), section 2.1; the tasks' form is that of MBPP, Austin et
al. 2021 (arXiv:2108.07732).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ace_analysis.errors import Cancelled
from ace_analysis.evaluation.ledger import Ledger
from ace_analysis.evaluation.repair_tasks import CLEAN, file_of, rows_of, texts_of
from ace_analysis.evaluation.sandbox import Sandbox
from ace_analysis.evaluation.statistics import Interval, mean
from ace_analysis.model.causal import CausalModel
from ace_analysis.model.scan import never
from ace_analysis.model.tokens import CodeTokenizer

ENDS = ("```", "\nassert ", "\nprint(", "\nif __name__", "\n# Test", "\n# Example")
"""A program is over where one of these begins: what follows is talk about it."""
Progress = Callable[[str, float | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is asked for in words, and the assertions that an answer has to pass."""

    id: str
    asked: str
    tests: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOptions:
    """`rows` are written at once, and kept together when the last of them is done."""

    max_new_tokens: int = 128
    rows: int = 32


def read_problems(folder: Path, count: int) -> list[Problem]:
    """The first `count` of a folder's tasks, in an order that has nothing to do with what they are.

    Raises InputError for a file that is not there, or a line without `id`, `spec` and `tests`.
    """
    path = file_of(folder, CLEAN, CLEAN)
    found = [
        Problem(id=str(row["id"]), asked=asked, tests=tests)
        for number, row in rows_of(path)
        for asked, tests in [texts_of(row, path, number, "spec", "tests")]
    ]
    return sorted(found, key=lambda each: hashlib.sha256(each.id.encode()).hexdigest())[:count]


def prompt_of(tokenizer: CodeTokenizer, problem: Problem) -> list[int]:
    """The request with the first assertion, which names the function, up to where the program begins.

    As turns of a conversation where the vocabulary has the marks of turns (ChatML), else as plain text.
    """
    first = problem.tests.strip().split("\n")[0]
    request = f"{problem.asked.strip()}\nThe function must pass this test:\n{first}"
    answer = "```python\n"
    start, end = tokenizer.id_of("<|im_start|>"), tokenizer.id_of("<|im_end|>")
    if start is None or end is None:
        return tokenizer.encode(f"{request}\n\n{answer}").ids

    def said(text: str) -> list[int]:
        return tokenizer.encode(text).ids[1:]

    return [start, *said(f"user\n{request}"), end, *said("\n"), start, *said(f"assistant\n{answer}")]


class Answerer:
    """Writes greedy answers; the model may be edited from one call to the next."""

    def __init__(self, causal: CausalModel, options: AnswerOptions | None = None) -> None:
        self.causal = causal
        self.options = options or AnswerOptions()

    @torch.no_grad()
    def answers(
        self,
        prompts: Sequence[Sequence[int]],
        drafts: Sequence[Sequence[int]] = (),
        cancelled: Callable[[], bool] = never,
    ) -> list[list[int]]:
        """The tokens behind each prompt, up to an end of the model's own or of a program, or the most.

        Args:
            prompts: token ids, at least one each.
            drafts: what another model wrote behind each, or none.
            cancelled: asked before each token.

        Raises Cancelled where the caller asked to stop.
        """
        begun = [self._agreed(prompt, draft) for prompt, draft in zip(prompts, drafts, strict=False)]
        begun += [([], False)] * (len(prompts) - len(begun))
        written = [list(ids) for ids, _ in begun]
        open_ = [at for at, (_, done) in enumerate(begun) if not done]
        open_.sort(key=lambda at: len(prompts[at]) + len(written[at]))
        for start in range(0, len(open_), self.options.rows):
            part = open_[start : start + self.options.rows]
            self._write(
                [[*prompts[at], *written[at]] for at in part], [written[at] for at in part], cancelled
            )
        return written

    def _agreed(self, prompt: Sequence[int], draft: Sequence[int]) -> tuple[list[int], bool]:
        """What of a draft is written greedily too, with the token behind it; and whether that is all."""
        if not draft:
            return [], False
        ids = torch.tensor([[*prompt, *draft]], device=self.causal.info.device)
        logits = self.causal.model(input_ids=ids, use_cache=False, logits_to_keep=len(draft) + 1).logits[0]
        wanted = logits.argmax(-1).tolist()
        same = next((at for at, token in enumerate(draft) if wanted[at] != token), len(draft))
        written = list(draft[:same])
        done = self._is_done(written) or not self._take(written, wanted[same])
        return written, done

    def _take(self, written: list[int], token: int) -> bool:
        """Add a token unless it ends the text; whether the text goes on."""
        if token in self.causal.end_ids:
            return False
        written.append(token)
        return not self._is_done(written)

    def _is_done(self, written: Sequence[int]) -> bool:
        if len(written) >= self.options.max_new_tokens:
            return True
        text = self.causal.tokenizer.decode(list(written))
        return len(program_in(text)) < len(text)

    def _write(
        self, prompts: Sequence[list[int]], written: list[list[int]], cancelled: Callable[[], bool]
    ) -> None:
        """Go on behind prompts of any lengths, padded on the left; a row that is done costs no more."""
        from transformers import DynamicCache

        device = self.causal.info.device
        longest = max(map(len, prompts))
        step = torch.tensor([[0] * (longest - len(each)) + each for each in prompts], device=device)
        mask = torch.tensor([[0] * (longest - len(e)) + [1] * len(e) for e in prompts], device=device)
        places: Tensor = (mask.cumsum(1) - 1).clamp_min(0)
        cache: Any = DynamicCache()
        rows = list(range(len(prompts)))
        while rows:
            if cancelled():
                raise Cancelled("writing answers was stopped by the caller; whole batches are kept")
            output = self.causal.model(
                input_ids=step,
                attention_mask=mask,
                position_ids=places,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            tokens = output.logits[:, -1].argmax(-1).tolist()
            going = [at for at, row in enumerate(rows) if self._take(written[row], tokens[at])]
            if going and len(going) < len(rows):
                cache.batch_select_indices(torch.tensor(going, device=device))
            step = torch.tensor([[tokens[at]] for at in going], device=device)
            mask = torch.cat([mask[going], mask.new_ones(len(going), 1)], dim=1)
            places = places[going, -1:] + 1
            rows = [rows[at] for at in going]


def program_in(text: str) -> str:
    """An answer up to where the program is over."""
    return text[: min((at for end in ENDS if (at := text.find(end)) >= 0), default=len(text))]


@dataclass(frozen=True, slots=True)
class Kept:
    """Where answers and how their tests ended are kept, and where it is told how far things are."""

    ledger: Ledger
    progress: Progress | None = None
    cancelled: Callable[[], bool] = never


def solved(
    answerer: Answerer, problems: Sequence[Problem], identity: str, kept: Kept, base: str = ""
) -> list[bool]:
    """Whether the answer to each problem passes, with whatever edit is on the model now.

    Args:
        identity: names everything that answers depend on; what is kept under it isn't written again.
        base: the identity whose kept answers are drafts, if any.
    """
    options, tokenizer = answerer.options, answerer.causal.tokenizer

    def key(name: str, problem: Problem) -> str:
        about = repr((name, options.max_new_tokens, problem.asked, problem.tests))
        return "answer:" + hashlib.sha256(about.encode()).hexdigest()

    missing = [each for each in problems if kept.ledger.get(key(identity, each)) is None]
    for start in range(0, len(missing), options.rows):
        part = missing[start : start + options.rows]
        if kept.progress is not None:
            done = (len(problems) - len(missing) + start) / len(problems)
            kept.progress(f"answering {len(problems)} problems", done)
        drafts = [kept.ledger.get(key(base, each)) or [] for each in part] if base else []
        prompts = [prompt_of(tokenizer, each) for each in part]
        answers = answerer.answers(prompts, drafts, kept.cancelled)
        for problem, ids in zip(part, answers, strict=True):
            kept.ledger.put(key(identity, problem), ids)
    sandbox = Sandbox(ledger=kept.ledger)
    programs = [program_in(tokenizer.decode(kept.ledger.get(key(identity, e)) or [])) for e in problems]
    return [sandbox.passes(text, each.tests) for text, each in zip(programs, problems, strict=True)]


def told_passes(passed: Mapping[str, Sequence[bool]], base: str) -> dict[str, dict[str, Any]]:
    """pass@1 of each arm, and its difference from the base's, with intervals over problems drawn again."""
    count = len(passed[base])
    names = [str(number) for number in range(count)]

    def rate(values: Sequence[float]) -> dict[str, float | None]:
        found: Interval = mean(values, names)
        return found.as_json()

    return {
        name: {
            "problems": count,
            "solved": sum(values),
            "pass_at_1": rate([float(each) for each in values]),
            "difference": rate([float(a) - float(b) for a, b in zip(values, passed[base], strict=True)]),
            "lost": sum(b and not a for a, b in zip(values, passed[base], strict=True)),
            "won": sum(a and not b for a, b in zip(values, passed[base], strict=True)),
        }
        for name, values in passed.items()
    }
