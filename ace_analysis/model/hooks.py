"""The one place where hooks are registered on modules.

A hook that stays behind after an error changes every later result and is seen by nobody. Here all of them are
registered inside one ExitStack, so that whatever happens, and however many were registered by then, all are
gone when the block is left.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

BeforeHook = Callable[[nn.Module, tuple[Any, ...]], Any]
AfterHook = Callable[[nn.Module, tuple[Any, ...], Any], Any]
CallHook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any]


@contextmanager
def hooks(
    *,
    before: Iterable[tuple[nn.Module, BeforeHook]] = (),
    before_call: Iterable[tuple[nn.Module, CallHook]] = (),
    after: Iterable[tuple[nn.Module, AfterHook]] = (),
) -> Iterator[None]:
    """Run functions before and after the forward pass of modules, as long as the block lasts.

    What a hook returns other than None replaces the module's arguments (before) or its output (after). Hooks
    in `before_call` see keyword arguments, too, and may return both as (arguments, keywords).
    """
    with ExitStack() as stack:
        for module, run_before in before:
            stack.callback(module.register_forward_pre_hook(run_before).remove)
        for module, run_before_call in before_call:
            handle = module.register_forward_pre_hook(run_before_call, with_kwargs=True)
            stack.callback(handle.remove)
        for module, run_after in after:
            stack.callback(module.register_forward_hook(run_after).remove)
        yield
