"""No hook outlives its block, whatever goes wrong in it."""

import pytest
import torch
from torch import nn

from ace_analysis.model.hooks import hooks


@pytest.fixture
def doubler() -> nn.Module:
    module = nn.Linear(1, 1, bias=False)
    nn.init.constant_(module.weight, 2.0)
    return module


def hooks_on(module: nn.Module) -> int:
    return len(module._forward_hooks) + len(module._forward_pre_hooks)


def test_hooks_see_and_replace_what_goes_in_and_out(doubler: nn.Module) -> None:
    before = [(doubler, lambda module, inputs: (inputs[0] + 1,))]
    after = [(doubler, lambda module, inputs, output: output * 10)]
    with hooks(before=before, after=after):
        assert doubler(torch.ones(1)).item() == 40
    assert doubler(torch.ones(1)).item() == 2


def test_a_hook_on_the_call_sees_and_replaces_keyword_arguments() -> None:
    class Scaled(nn.Module):
        def forward(self, x: torch.Tensor, *, by: float) -> torch.Tensor:
            return x * by

    scaled = Scaled()
    seen: list[dict[str, float]] = []

    def trebled(module: nn.Module, arguments: tuple, keywords: dict) -> tuple[tuple, dict]:
        seen.append(dict(keywords))
        return arguments, {"by": 3 * keywords["by"]}

    with hooks(before_call=[(scaled, trebled)]):
        assert scaled(torch.ones(1), by=2.0).item() == 6
    assert scaled(torch.ones(1), by=2.0).item() == 2 and seen == [{"by": 2.0}]


def test_an_error_in_the_block_leaves_no_hook(doubler: nn.Module) -> None:
    with pytest.raises(KeyError), hooks(after=[(doubler, lambda *_: None)]):
        raise KeyError
    assert hooks_on(doubler) == 0


def test_an_error_while_hooks_are_registered_leaves_none(doubler: nn.Module) -> None:
    class Refusing(nn.Module):
        def register_forward_pre_hook(self, *_, **__):
            raise RuntimeError("no hooks here")

    both = [(doubler, lambda *_: None), (Refusing(), lambda *_: None)]
    with pytest.raises(RuntimeError, match="no hooks here"), hooks(before=both):
        pass
    assert hooks_on(doubler) == 0
