"""Per-attention-head quantization: one head exact, the background cheap (PAHQ, arXiv 2510.23264 §3).

The head under test decides what a score is, the rest only carries it; so the head's weights come from the
exact matrices and everything else may be rounded. Under grouped queries a head's keys and values are shared:
its key-value head is exact with it, which the paper's models (GPT-2's family) had no need to say.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, cast

from torch import nn

from ace_analysis.errors import InputError
from ace_analysis.quantization.config import QuantizationConfig, precision_name
from ace_analysis.quantization.formats import lost_and_whole, pack
from ace_analysis.quantization.linear import Exact, FocusedLinear, make_focused, make_plain
from ace_analysis.quantization.memory import device_bytes, release, resident_bytes, weight_bytes
from ace_analysis.quantization.originals import Original, Originals
from ace_analysis.quantization.parts import Part, Parts
from ace_analysis.quantization.widening import check_wide_enough, widen

_WHOLE = slice(None)


@dataclass(frozen=True, slots=True)
class FocusedHead:
    """The head that is exact now. `sharing`: all heads that read its exact keys and values."""

    layer: int
    head: int
    kv_head: int
    sharing: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizationReport:
    """What quantizing did.

    Attributes:
        background: the format's short name, such as "fp8".
        matrices: how many were rounded.
        relative_error: the Frobenius norm of what rounding took, beside that of the weights.
        bytes_before, bytes_after: all weights that are held, quantized or not.
        resident_before, resident_after: the process' private memory in RAM; None where it is not told.
        device_before, device_after: what tensors hold on the GPU; None without one.
        written_bytes: exact weights that were in no file and were written to one.
    """

    background: str
    matrices: int
    relative_error: float
    bytes_before: int
    bytes_after: int
    resident_before: int | None
    resident_after: int | None
    device_before: int | None
    device_after: int | None
    written_bytes: int


@dataclass(slots=True)
class _Quantized:
    """A part that is quantized: its parameter is empty until the original is read again."""

    part: Part
    parameter: nn.Parameter
    original: Original

    @property
    def linear(self) -> FocusedLinear:
        return cast(FocusedLinear, self.part.linear)


class PAHQQuantizer:
    """Quantizes a model in place, makes one head at a time exact, and gives the model back bit for bit.

    Whatever runs the model meanwhile (its own forward, hooks, a decomposition, patching) runs the quantized
    one. While it is quantized, don't move it to another device or dtype and don't edit its weights.
    """

    def __init__(self, model: Any, config: QuantizationConfig | None = None) -> None:
        """Look at a model; nothing is changed yet.

        Args:
            model: from `load_hooked_model` or `load_scanner`, or a Hugging Face causal model or decoder.
            config: which precisions; by default fp32 for the head and fp8 for the others.

        Raises:
            ModelError: a model without separate q, k, v and o, one that is quantized already, or one that is
                wider than the target precision.
        """
        self.config = QuantizationConfig() if config is None else config
        self._model = model
        self._parts = Parts.of(model)
        self._quantized: list[_Quantized] = []
        self._originals: Originals | None = None
        self._narrow: Callable[[], None] | None = None
        self._focused: FocusedHead | None = None
        for part in self._parts:
            check_wide_enough(part.linear.weight, self.config.target_precision)

    @property
    def is_quantized(self) -> bool:
        return bool(self._quantized)

    @property
    def focused(self) -> FocusedHead | None:
        """The head that is exact now."""
        return self._focused

    def quantize_background(self) -> QuantizationReport:
        """Round all linear maps of the blocks, and drop the exact ones from memory.

        A failure half-way (a weight that overflows, a full disk) leaves the model as it was.

        Raises:
            InputError: the model is quantized already.
            ModelError: a weight that is not finite or that the background's format is too short for.
            StorageError: exact weights that are in no file could not be written to one.
        """
        if self._quantized:
            raise InputError("expected a model that is not quantized, got one that is; restore() it first")
        self._parts = Parts.of(self._model)  # again: another quantizer may have come between
        before = self._memory()
        self._originals = Originals(self._parts.folder)
        try:
            lost, whole = self._replace(self._originals)
        except BaseException:
            self._put_back()
            raise
        release()
        after = self._memory()
        return QuantizationReport(
            background=precision_name(self.config.background_precision),
            matrices=len(self._quantized),
            relative_error=math.sqrt(lost / whole) if whole else 0.0,
            bytes_before=before[0],
            bytes_after=after[0],
            resident_before=before[1],
            resident_after=after[1],
            device_before=before[2],
            device_after=after[2],
            written_bytes=self._originals.written_bytes,
        )

    @contextmanager
    def focus_on_head(self, layer: int, head: int) -> Iterator[FocusedHead]:
        """Keep one head exact as long as the block lasts: its rows of q, its columns of o, its k and v.

        Args:
            layer: 0 is the first block.
            head: a query head.

        Raises:
            InputError: no such head, no quantized model, or another head that is in focus.
            ModelError: the files with the exact weights are gone or have changed.
        """
        if not self._quantized:
            raise InputError(
                "expected a quantized model, got one that is not; call quantize_background() first"
            )
        if self._focused is not None:
            raise InputError(
                f"expected no head in focus, got head {self._focused.head} of layer {self._focused.layer};"
                " leave its focus_on_head block first"
            )
        self._parts.check(layer, head)
        heads = self._parts.heads
        focused = FocusedHead(layer, head, heads.kv_head_of(head), heads.sharing(head))
        with ExitStack() as stack:
            for each in self._quantized:
                if each.part.layer == layer and each.part.role is not None:
                    stack.callback(each.linear.focus, None)
                    each.linear.focus(self._exact(each, head))
            self._focused = focused
            stack.callback(setattr, self, "_focused", None)
            yield focused

    def restore(self) -> None:
        """Give the model its exact weights back, bit for bit, and remove what was written for it.

        Raises:
            InputError: the model is not quantized, or a head is in focus.
            ModelError: the files with the exact weights are gone or have changed; nothing was restored.
        """
        if not self._quantized:
            raise InputError("expected a quantized model, got one that is not; there is nothing to restore")
        if self._focused is not None:
            raise InputError("expected no head in focus; leave the focus_on_head block before restore()")
        for each in self._quantized:
            each.original.check()
        self._put_back()
        release()

    def _replace(self, originals: Originals) -> tuple[float, float]:
        """Block by block, so that never more than one block's weights are held twice."""
        precision, scales = self.config.background_precision, self.config.scales
        lost, whole = 0.0, 0.0
        for block in self._parts.blocks:
            for part, original in zip(block, originals.keep(block), strict=True):
                parameter = cast(nn.Parameter, part.linear.weight)
                packed = pack(parameter.detach(), precision, scales=scales, name=str(part))
                more_lost, more = lost_and_whole(parameter.detach(), packed)
                lost, whole = lost + more_lost, whole + more
                self._quantized.append(_Quantized(part, parameter, original))
                make_focused(part.linear, packed, self.config.target_precision)
                parameter.data = parameter.data.new_empty(0)
        # Only now: what was widened would not be found in the files.
        self._narrow = widen(self._parts.root, self.config.target_precision)
        return lost, whole

    def _put_back(self) -> None:
        """Undo what has been done, from the last step to the first."""
        if self._narrow is not None:
            self._narrow()
            self._narrow = None
        while self._quantized:
            each = self._quantized[-1]
            each.parameter.data = each.original.read().to(each.parameter.device)
            make_plain(each.part.linear, each.parameter)
            self._quantized.pop()
        if self._originals is not None:
            self._originals.close()
            self._originals = None

    def _exact(self, quantized: _Quantized, head: int) -> Exact:
        """A head's part of a matrix, read from its file."""
        role = quantized.part.role
        if role is None:
            raise InputError(f"expected one of attention's maps, got {quantized.part}")
        of_head = self._parts.heads.slice_of(role, head)
        rows, columns = (_WHOLE, of_head) if role == "o" else (of_head, _WHOLE)
        weight = quantized.original.read(rows, columns)
        device = quantized.linear.values.device
        return Exact(rows, columns, weight.to(device=device, dtype=self.config.target_precision))

    def _memory(self) -> tuple[int, int | None, int | None]:
        root = self._parts.root
        return weight_bytes(root), resident_bytes(), device_bytes(next(root.parameters()).device)
