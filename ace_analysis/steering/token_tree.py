"""Continuations of one text that share what they have in common: read once, however many there are.

Candidates for a line begin alike, and all of them follow the same text. As a tree, each token is read once
for all candidates that begin with the same tokens, in one pass: a token sees the text before and its own
ancestors and nothing else (tree attention, Miao et al., SpecInfer, ASPLOS 2024, §4.2). The key-value cache of
the text is neither copied nor repeated, whatever the number of branches. Sampling several lines is the same
tree, grown by one layer at a time.
"""

import copy
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ace_analysis.errors import InputError, ModelError
from ace_analysis.steering.drafts import common_start

ROOT = -1
"""The parent of a branch's first token: the last token of the text."""
AGAIN = -2
"""The parent of a token that stands in place of the text's last one: what is read under a steering vector has
to begin with the token that chooses the first new one, and that was read without it."""
_ROWS_AT_ONCE = 48


class TokenTree:
    """A text in a causal language model's cache, and a tree of tokens read behind it.

    `model` is a Hugging Face causal language model in eval mode, `prompt` the ids of the text. What it begins
    with like the text of another tree of the same model (`like`) is taken from there. A first branch
    (`behind`) is read in one pass with the text, and stays: it is the trunk, its nodes are 0, 1, 2, ...
    """

    def __init__(
        self, model: Any, prompt: Sequence[int], like: "TokenTree | None" = None, behind: Sequence[int] = ()
    ) -> None:
        from transformers import DynamicCache

        if not prompt:
            raise InputError("expected a text of at least one token to read first, got none")
        self._prompt = tuple(prompt)
        self._config = model.config
        self._body, self._head = model.base_model, model.get_output_embeddings()
        self._cap = getattr(model.config, "final_logit_softcapping", None)
        self._device = self._head.weight.device
        # Layers with a window keep everything too: what is cut off can't come back when branches are cleared.
        self._cache: Any = DynamicCache()
        known = 0 if like is None else common_start(like._prompt, self._prompt[:-1])
        if like is not None and known:
            self._cache = copy.deepcopy(like._cache)
            if extra := like._length + len(like) - known:
                self._cache.crop(-extra)
        self._length = len(prompt)
        self.trunk = tuple(behind)
        """The tokens of the first branch."""
        ids = torch.tensor([[*prompt[known:], *behind]], device=self._device)
        with torch.inference_mode():
            out = self._body(input_ids=ids, past_key_values=self._cache, use_cache=True)
        self._hidden: Tensor = out.last_hidden_state[0, -1 - len(behind) :]
        self._parents: list[int] = []
        self._to_trunk()

    def __len__(self) -> int:
        """How many tokens were read behind the text."""
        return len(self._parents)

    def clear(self) -> None:
        """Forget all branches; the text and the trunk stay read."""
        if extra := len(self) - len(self.trunk):
            self._cache.crop(-extra)
        self._to_trunk()

    def _to_trunk(self) -> None:
        length = len(self.trunk)
        self._hidden = self._hidden[: 1 + length]
        self._parents = list(range(ROOT, length - 1))
        self._depths = list(range(length))
        self._replaces = [False] * length
        self._sees = torch.ones(length, length, dtype=torch.bool).tril()

    @cached_property
    def along(self) -> Float[Tensor, "node vocabulary"]:
        """Log-probabilities of what may follow the text, and each token of the trunk."""
        return self.log_probs(range(ROOT, len(self.trunk)))

    def grow(self, tokens: Sequence[int], parents: Sequence[int]) -> list[int]:
        """Read tokens, each behind its parent: a token of the tree, an earlier one of these, ROOT or AGAIN.

        Returns their numbers in the tree.
        """
        first, last = len(self), len(self) + len(tokens)
        self._place(first, parents)
        sees = self._sees[first:last]
        text = torch.ones(len(tokens), self._length, dtype=torch.bool)
        text[torch.tensor(self._replaces[first:]), -1] = False
        mask = torch.cat([text, sees], dim=1)
        places = torch.tensor(self._depths) + self._length
        keys = torch.cat([torch.arange(self._length), places])
        with torch.inference_mode():
            out = self._body(
                input_ids=torch.tensor([list(tokens)], device=self._device),
                attention_mask=self._masks(mask, places[first:, None] - keys[None]),
                position_ids=places[None, first:].to(self._device),
                past_key_values=self._cache,
                use_cache=True,
            )
        self._hidden = torch.cat([self._hidden, out.last_hidden_state[0]])
        return list(range(first, last))

    def _place(self, first: int, parents: Sequence[int]) -> None:
        n = first + len(parents)
        sees = torch.zeros(n, n, dtype=torch.bool)
        sees[:first, :first] = self._sees
        for index, parent in enumerate(parents, start=first):
            if not AGAIN <= parent < index:
                raise InputError(
                    f"expected a parent from {AGAIN} to {index - 1} for token {index}, got {parent}"
                )
            if parent >= 0:
                sees[index] = sees[parent]
            sees[index, index] = True
            self._depths.append(self._depths[parent] + 1 if parent >= 0 else parent + 1)
            self._replaces.append(parent == AGAIN or (parent >= 0 and self._replaces[parent]))
        self._sees = sees
        self._parents += parents

    def _masks(self, mask: Bool[Tensor, "token key"], distance: Tensor) -> Any:
        """What each token may see, as the model takes it: one mask, or one for each kind of block."""
        kinds = set(getattr(self._config, "layer_types", None) or ())
        window = getattr(self._config, "sliding_window", None)
        if unknown := kinds - {"full_attention", "sliding_attention"}:
            raise ModelError(f"expected blocks with full or sliding attention, got {sorted(unknown)}")
        if window is None or kinds == {"full_attention"}:
            return self._as_taken(mask)
        near = mask & (distance < window)
        if not kinds:
            return self._as_taken(near)
        return {"full_attention": self._as_taken(mask), "sliding_attention": self._as_taken(near)}

    def _as_taken(self, mask: Bool[Tensor, "token key"]) -> Tensor:
        """Additive: both attention kernels take that."""
        number = self._hidden.dtype
        bias = torch.zeros(mask.shape, dtype=number).masked_fill_(~mask, torch.finfo(number).min)
        return bias[None, None].to(self._device)

    def log_probs(self, nodes: Sequence[int]) -> Float[Tensor, "node vocabulary"]:
        """Log-probabilities of what follows each of the nodes, or the text (ROOT)."""
        with torch.inference_mode():
            return self._logits(nodes).log_softmax(-1)

    def _logits(self, nodes: Sequence[int]) -> Float[Tensor, "node vocabulary"]:
        logits = self._head(self._hidden[[node + 1 for node in nodes]])
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return logits if self._cap is None else self._cap * torch.tanh(logits / self._cap)

    def score(self, branches: Sequence[Sequence[int]], ends: Iterable[int]) -> list[list[float]]:
        """For each branch behind the text, the log-probability of each of its tokens and of ending there.

        Ending is any of the tokens `ends`. What branches have in common is read once.
        """
        wanted: dict[int, set[int]] = {}
        numbers = {(node - 1, token): node for node, token in enumerate(self.trunk)}
        tokens: list[int] = []
        parents: list[int] = []
        paths: list[list[tuple[int, int]]] = []
        base = len(self)
        for branch in branches:
            parent, path = ROOT, []
            for token in branch:
                if (parent, token) not in numbers:
                    numbers[parent, token] = base + len(tokens)
                    tokens.append(token)
                    parents.append(parent)
                wanted.setdefault(parent, set()).add(token)
                path.append((parent, token))
                parent = numbers[parent, token]
            paths.append([*path, (parent, ROOT)])
            wanted.setdefault(parent, set())
        if tokens:
            self.grow(tokens, parents)
        found = self._look_up(wanted, sorted(ends))
        return [[found[step] for step in path] for path in paths]

    def _look_up(self, wanted: dict[int, set[int]], ends: Sequence[int]) -> dict[tuple[int, int], float]:
        """Log-probabilities of (node, next token) and of (node, ROOT): that it ends there."""
        found: dict[tuple[int, int], float] = {}
        closing = torch.tensor(ends, device=self._device)
        nodes = sorted(wanted)
        known = sum(node < len(self.trunk) for node in nodes)
        later = range(known, len(nodes), _ROWS_AT_ONCE)
        for part in (nodes[:known], *(nodes[start : start + _ROWS_AT_ONCE] for start in later)):
            with torch.inference_mode():
                is_known = bool(part) and part[-1] < len(self.trunk)
                logits = self.along[[node + 1 for node in part]] if is_known else self._logits(part)
                total = logits.logsumexp(-1)
                closed = (logits[:, closing].logsumexp(-1) - total).tolist()
                for index, node in enumerate(part):
                    found[node, ROOT] = closed[index]
                    following = sorted(wanted[node])
                    values = (logits[index, following] - total[index]).tolist() if following else []
                    found |= {(node, token): value for token, value in zip(following, values, strict=True)}
        return found
