"""Quantized, focused and restored: what runs is what is promised, for each family and kind of model."""

import contextlib
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ace_analysis.decomposition.anatomy import Anatomy
from ace_analysis.decomposition.cdt import ContextualDecomposition
from ace_analysis.decomposition.gradients import eap
from ace_analysis.decomposition.nodes import Head, Mlp
from ace_analysis.decomposition.patching import ablate
from ace_analysis.decomposition.relp import one_pass
from ace_analysis.decomposition.targets import HeadTarget, LogitTarget
from ace_analysis.errors import InputError, ModelError, StorageError
from ace_analysis.model.loading import load_hooked_model
from ace_analysis.quantization import FocusedHead, PAHQQuantizer, QuantizationConfig
from ace_analysis.quantization.formats import pack, unpack
from ace_analysis.quantization.linear import FocusedLinear
from ace_analysis.quantization.memory import weight_bytes
from ace_analysis.settings import cache_dir

from .conftest import (
    FP8,
    INT8,
    Load,
    linears_of,
    load_blocks,
    load_bridge,
    load_plain,
    output_of,
    root_of,
    same_state,
    state_of,
)

BACKGROUNDS = (torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.int8)
HEAD_DIM, GROUP = 8, 2


def config(background: torch.dtype) -> QuantizationConfig:
    return QuantizationConfig(target_precision=torch.float32, background_precision=background)


@contextlib.contextmanager
def quantized(model: Any, how: QuantizationConfig = FP8) -> Iterator[PAHQQuantizer]:
    pahq = PAHQQuantizer(model, how)
    pahq.quantize_background()
    yield pahq
    pahq.restore()


# --- nothing is lost ------------------------------------------------------------------------------------


def test_all_high_is_the_reference_bit_for_bit(load: Load, tiny_model: Path, ids: Tensor) -> None:
    model = load(tiny_model)
    reference = output_of(model, ids)
    with quantized(model, config(torch.float32)) as pahq:
        assert all(type(each) is FocusedLinear for each in linears_of(model).values())
        assert torch.equal(output_of(model, ids), reference)
        with pahq.focus_on_head(1, 2):
            assert torch.equal(output_of(model, ids), reference)


def test_all_high_has_the_references_gradients(plain: Any, ids: Tensor) -> None:
    def gradient() -> Tensor:
        embedded = plain.get_input_embeddings()(ids).detach().requires_grad_()
        plain(inputs_embeds=embedded).logits[0, -1, 3].backward()
        assert embedded.grad is not None
        return embedded.grad

    reference = gradient()
    with quantized(plain, config(torch.float32)):
        torch.testing.assert_close(gradient(), reference, rtol=1e-5, atol=1e-6 * reference.abs().max().item())


def test_restoring_gives_every_bit_back(load: Load, tiny_model: Path, ids: Tensor) -> None:
    model = load(tiny_model)
    before, reference, modules = state_of(model), output_of(model, ids), list(root_of(model).modules())
    for background in BACKGROUNDS:
        with quantized(model, config(background)) as pahq:
            assert not same_state(model, before)
            with pahq.focus_on_head(0, 0):
                output_of(model, ids)
        assert same_state(model, before) and torch.equal(output_of(model, ids), reference)
    assert [id(each) for each in root_of(model).modules()] == [id(each) for each in modules]
    assert not any(isinstance(each, FocusedLinear) for each in modules)


def test_restoring_gives_the_same_parameters_back(plain: Any) -> None:
    before = {name: id(parameter) for name, parameter in plain.named_parameters()}
    with quantized(plain):
        pass
    assert {name: id(parameter) for name, parameter in plain.named_parameters()} == before


def test_a_restored_model_can_be_quantized_again(plain: Any, ids: Tensor) -> None:
    pahq = PAHQQuantizer(plain, INT8)
    pahq.quantize_background()
    first = output_of(plain, ids)
    pahq.restore()
    pahq.quantize_background()
    assert torch.equal(output_of(plain, ids), first)


def test_an_error_inside_a_focus_ends_it_and_loses_nothing(plain: Any) -> None:
    before = state_of(plain)
    pahq = PAHQQuantizer(plain, INT8)
    pahq.quantize_background()
    rounded = {name: each.weight.clone() for name, each in linears_of(plain).items()}
    with pytest.raises(ZeroDivisionError), pahq.focus_on_head(2, 1):
        raise ZeroDivisionError
    assert pahq.focused is None
    assert all(torch.equal(each.weight, rounded[name]) for name, each in linears_of(plain).items())
    pahq.restore()
    assert same_state(plain, before)


def test_a_weight_that_overflows_leaves_the_model_as_it_was(plain: Any, ids: Tensor) -> None:
    with torch.no_grad():
        plain.model.layers[2].mlp.up_proj.weight[3, 4] = 70_000
    before = state_of(plain)
    pahq = PAHQQuantizer(plain, config(torch.float16))
    with pytest.raises(ModelError, match=r"got 70000 in block 2's mlp\.up_proj: it would overflow; take"):
        pahq.quantize_background()
    assert not pahq.is_quantized and same_state(plain, before)
    with quantized(plain, config(torch.bfloat16)):
        assert output_of(plain, ids).isfinite().all()


def test_a_full_disk_leaves_the_model_as_it_was(qwen2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    qwen2.config.name_or_path = ""
    before = state_of(qwen2)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Full", (), {"free": 0}))
    with pytest.raises(StorageError, match="free in"):
        PAHQQuantizer(qwen2, FP8).quantize_background()
    assert same_state(qwen2, before)


def test_a_model_built_in_memory_is_written_and_read_back(plain: Any, ids: Tensor) -> None:
    plain.config.name_or_path = ""
    before = state_of(plain)
    pahq = PAHQQuantizer(plain, INT8)
    report = pahq.quantize_background()
    assert report.written_bytes == sum(each.weight.nbytes for each in linears_of(plain).values())
    assert list((cache_dir() / "originals").glob("*/*"))
    with pahq.focus_on_head(3, 3):
        output_of(plain, ids)
    pahq.restore()
    assert same_state(plain, before) and not list((cache_dir() / "originals").glob("*/*"))


# --- what is rounded, and what is exact -----------------------------------------------------------------


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_the_background_is_rounded_and_nothing_else(plain: Any, background: torch.dtype) -> None:
    before = state_of(plain)
    with quantized(plain, config(background)):
        for name, each in linears_of(plain).items():
            exact = before.pop(f"{name}.weight")
            assert torch.equal(each.weight, unpack(pack(exact, background), torch.float32))
            assert not torch.equal(each.weight, exact)
        now = plain.state_dict()
        assert all(torch.equal(now[name], value) for name, value in before.items())


def test_the_heads_q_k_and_v_are_fp32s_for_the_same_input(load: Load, tiny_model: Path) -> None:
    model = load(tiny_model)
    linears = linears_of(model)
    names = {name: role for name in linears for role in "qkv" if f"layers.1.self_attn.{role}_proj" in name}
    assert len(names) == 3
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(3))
    exact = {name: linears[name](x) for name in names}
    with quantized(model, INT8) as pahq:
        for head in range(4):
            with pahq.focus_on_head(1, head):
                for name, role in names.items():
                    number = head if role == "q" else head // GROUP
                    rows = torch.zeros(exact[name].shape[-1], dtype=torch.bool)
                    rows[number * HEAD_DIM : (number + 1) * HEAD_DIM] = True
                    got, expected = linears[name](x), exact[name]
                    torch.testing.assert_close(got[..., rows], expected[..., rows], rtol=1e-6, atol=1e-6)
                    assert not torch.allclose(got[..., ~rows], expected[..., ~rows], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("layer", "head"), [(0, 0), (2, 3)])
def test_a_focused_head_has_the_exact_weights_and_no_other_has(plain: Any, layer: int, head: int) -> None:
    exact = state_of(plain)
    block = f"model.layers.{layer}.self_attn"
    own, shared = (slice(number * HEAD_DIM, (number + 1) * HEAD_DIM) for number in (head, head // GROUP))
    for background in BACKGROUNDS:
        with quantized(plain, config(background)) as pahq:
            expected = {name: each.weight.clone() for name, each in linears_of(plain).items()}
            for role, rows, columns in (
                ("q", own, slice(None)),
                ("k", shared, slice(None)),
                ("v", shared, slice(None)),
                ("o", slice(None), own),
            ):
                name = f"{block}.{role}_proj"
                expected[name][rows, columns] = exact[f"{name}.weight"][rows, columns]
            with pahq.focus_on_head(layer=layer, head=head):
                for name, each in linears_of(plain).items():
                    assert torch.equal(each.weight, expected[name]), name
            assert not torch.equal(linears_of(plain)[f"{block}.o_proj"].weight, expected[f"{block}.o_proj"])


def test_a_focus_says_which_heads_share_its_keys_and_values(qwen2: Any) -> None:
    with quantized(qwen2) as pahq:
        with pahq.focus_on_head(layer=1, head=2) as focused:
            assert focused == FocusedHead(layer=1, head=2, kv_head=1, sharing=(2, 3))
            assert pahq.focused == focused
        assert pahq.focused is None


def test_a_model_of_which_only_a_head_is_rounded_is_exact_in_its_focus(qwen2: Any, ids: Tensor) -> None:
    """The rest of the model is made of numbers that int8 holds, so that rounding them changes nothing."""
    generator = torch.Generator().manual_seed(5)
    for each in linears_of(qwen2).values():
        whole = torch.randint(-127, 128, each.weight.shape, generator=generator).float()
        whole[:, 0] = 127
        each.weight.data = whole / 1024
    with torch.no_grad():
        qwen2.model.layers[2].self_attn.q_proj.weight[8:16] += 0.3 / 1024
    reference = output_of(qwen2, ids)
    with quantized(qwen2, INT8) as pahq:
        assert not torch.equal(output_of(qwen2, ids), reference)
        with pahq.focus_on_head(2, 1):
            torch.testing.assert_close(output_of(qwen2, ids), reference, rtol=1e-4, atol=1e-4)
        with pahq.focus_on_head(2, 0):
            assert not torch.allclose(output_of(qwen2, ids), reference, rtol=1e-4, atol=1e-4)


def test_narrower_backgrounds_are_further_from_the_reference(plain: Any, ids: Tensor) -> None:
    reference = output_of(plain, ids)
    errors = []
    for background in (torch.float16, torch.bfloat16, torch.int8, torch.float8_e4m3fn):
        with quantized(plain, config(background)):
            errors.append((output_of(plain, ids) - reference).norm().item())
    assert errors == sorted(errors) and errors[0] > 0


def test_the_hooked_model_and_the_plain_one_run_the_same_quantized_model(
    tiny_model: Path, ids: Tensor
) -> None:
    hooked, plain = load_bridge(tiny_model), load_plain(tiny_model)
    with quantized(hooked) as first, quantized(plain) as second:
        torch.testing.assert_close(output_of(hooked, ids), output_of(plain, ids), rtol=1e-4, atol=1e-4)
        rounded = output_of(hooked, ids)
        with first.focus_on_head(0, 1), second.focus_on_head(0, 1):
            torch.testing.assert_close(output_of(hooked, ids), output_of(plain, ids), rtol=1e-4, atol=1e-4)
            assert not torch.equal(output_of(hooked, ids), rounded)


def test_hooks_of_transformer_lens_see_the_quantized_model(tiny_model: Path, ids: Tensor) -> None:
    hooked: Any = load_bridge(tiny_model)
    _, exact = hooked.run_with_cache(ids)
    with quantized(hooked) as pahq, pahq.focus_on_head(0, 1):
        _, cache = hooked.run_with_cache(ids)
        q, reference = cache["blocks.0.attn.hook_q"][..., 1, :], exact["blocks.0.attn.hook_q"][..., 1, :]
        torch.testing.assert_close(q, reference, rtol=1e-5, atol=1e-5)
        others = cache["blocks.0.attn.hook_q"][..., 0, :], exact["blocks.0.attn.hook_q"][..., 0, :]
        assert not torch.allclose(*others, rtol=1e-3, atol=1e-3)


# --- what runs through it -------------------------------------------------------------------------------


def test_the_promised_call_decomposes_the_quantized_model(tiny_model: Path, ids: Tensor) -> None:
    model = load_bridge(tiny_model)
    input_ids = ids[:1]
    cdt = ContextualDecomposition(model)
    exact = cdt.decompose(input_ids)
    pahq = PAHQQuantizer(
        model, QuantizationConfig(target_precision=torch.float32, background_precision=torch.float16)
    )
    pahq.quantize_background()
    with pahq.focus_on_head(layer=3, head=2):
        result = cdt.decompose(input_ids)
        logits = output_of(model, input_ids)[0, -1]
    pahq.restore()
    actual, other = result.targets[0].tokens
    assert result.value == pytest.approx(float(logits[actual] - logits[other]), rel=1e-4, abs=1e-4)
    assert result.value != exact.value and result.value == pytest.approx(exact.value, rel=0.05, abs=0.05)
    assert (result.heads - exact.heads).abs().max() > 0


def test_the_fast_way_and_the_slow_truth_see_what_the_model_then_computes(
    load: Load, tiny_model: Path, ids: Tensor
) -> None:
    """Clean values, by three ways of running the model: written out, by its modules, and with gradients."""
    model, text = load(tiny_model), ids[0]
    target: Any = HeadTarget(2, 1) if load is load_blocks else LogitTarget(7)
    nodes = [Head(0, 1), Mlp(1)]

    def effects() -> list[float]:
        exact = ablate(model, text, nodes, target)
        fast = one_pass(Anatomy.of(model), text, target)
        slopes = eap(model, text, target)
        assert fast.total == pytest.approx(exact.clean, rel=1e-4, abs=1e-4)
        return [*exact.effects.tolist(), fast[nodes[0]], float(slopes[nodes[0]])]

    before = effects()
    with quantized(model, INT8) as pahq:
        rounded = effects()
        with pahq.focus_on_head(0, 1):
            focused = effects()
    assert all(len({*each}) == 3 for each in zip(before, rounded, focused, strict=True))
    assert effects() == pytest.approx(before, rel=1e-6)


# --- a model that was loaded narrower than the target ---------------------------------------------------


def narrow_folder(tiny_model: Path, folder: Path) -> Path:
    import shutil

    shutil.copytree(tiny_model, folder)
    load_plain(tiny_model).to(torch.bfloat16).save_pretrained(folder)
    return folder


def test_a_bf16_model_computes_in_the_target_precision_and_is_bf16_again(
    tiny_model: Path, tmp_path: Path, ids: Tensor
) -> None:
    folder = narrow_folder(tiny_model, tmp_path / "narrow")
    # Not loaded as fp32: Gemma's constants are rounded when a model is made in bf16.
    reference = output_of(load_plain(folder, torch.bfloat16).float(), ids)
    hooked = load_hooked_model(str(folder), device="cpu", dtype="bfloat16")
    for model in (load_plain(folder, torch.bfloat16), hooked):
        before, own = state_of(model), output_of(model, ids)
        with quantized(model, config(torch.bfloat16)):
            wide = output_of(model, ids)
            assert wide.dtype == torch.float32
            torch.testing.assert_close(wide, reference, rtol=1e-4, atol=1e-4)
        assert same_state(model, before) and torch.equal(output_of(model, ids), own)


def test_a_target_narrower_than_the_model_is_refused_before_anything_is_changed(qwen2: Any) -> None:
    with pytest.raises(ModelError, match=r"holds the model's torch\.float32, got torch\.bfloat16"):
        PAHQQuantizer(qwen2, QuantizationConfig(torch.bfloat16, torch.int8))


# --- memory ---------------------------------------------------------------------------------------------


def test_memory_goes_down_by_what_is_narrower(load: Load, tiny_model: Path) -> None:
    model = load(tiny_model)
    numbers = sum(each.weight.numel() for each in linears_of(model).values())
    rows = sum(each.out_features for each in linears_of(model).values())
    whole = weight_bytes(root_of(model))
    for background in BACKGROUNDS:
        scales = rows * 4 if background.itemsize == 1 else 0
        with quantized(model, config(background)) as pahq:
            held = weight_bytes(root_of(model))
            assert whole - held == numbers * (4 - background.itemsize) - scales
            with pahq.focus_on_head(0, 0):
                assert weight_bytes(root_of(model)) == held
        assert weight_bytes(root_of(model)) == whole


def test_nothing_keeps_an_exact_matrix_alive(plain: Any) -> None:
    storages = [weakref.ref(each.weight.untyped_storage()) for each in linears_of(plain).values()]
    assert len(storages) == 28 and all(each() is not None for each in storages)
    with quantized(plain, INT8) as pahq:
        assert all(each() is None for each in storages)
        with pahq.focus_on_head(0, 0):
            assert all(each() is None for each in storages)


def test_the_report_tells_bytes_and_what_was_lost(qwen2: Any) -> None:
    before = weight_bytes(qwen2)
    report = PAHQQuantizer(qwen2, FP8).quantize_background()
    assert (report.background, report.matrices) == ("fp8", 28)
    assert (report.bytes_before, report.bytes_after) == (before, weight_bytes(qwen2))
    assert 0.01 < report.relative_error < 2**-4
    assert report.written_bytes == 0 and report.device_before is report.device_after is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_memory_goes_down_and_the_model_is_given_back(plain: Any, ids: Tensor) -> None:
    model = plain.to("cuda")
    before, reference = state_of(model), output_of(model, ids.to("cuda"))
    for background in BACKGROUNDS:
        pahq = PAHQQuantizer(model, config(background))
        report = pahq.quantize_background()
        assert report.device_before is not None and report.device_after is not None
        assert report.device_after < report.device_before
        with pahq.focus_on_head(1, 2):
            assert output_of(model, ids.to("cuda")).isfinite().all()
        pahq.restore()
        assert same_state(model, before) and torch.equal(output_of(model, ids.to("cuda")), reference)


# --- wrong use ------------------------------------------------------------------------------------------


def test_quantizing_twice_is_refused(qwen2: Any) -> None:
    pahq = PAHQQuantizer(qwen2, FP8)
    other = PAHQQuantizer(qwen2, INT8)
    pahq.quantize_background()
    with pytest.raises(InputError, match="expected a model that is not quantized, got one that is; restore"):
        pahq.quantize_background()
    with pytest.raises(ModelError, match="expected a model that is not quantized, got one that is; restore"):
        other.quantize_background()
    with pytest.raises(ModelError, match="expected a model that is not quantized"):
        PAHQQuantizer(qwen2, FP8)


def test_a_focus_needs_a_quantized_model(qwen2: Any) -> None:
    pahq = PAHQQuantizer(qwen2, FP8)
    with (
        pytest.raises(InputError, match=r"got one that is not; call quantize_background\(\) first"),
        pahq.focus_on_head(0, 0),
    ):
        pass
    with pytest.raises(InputError, match="got one that is not; there is nothing to restore"):
        pahq.restore()


def test_a_focus_inside_a_focus_is_refused_and_the_first_goes_on(qwen2: Any) -> None:
    with quantized(qwen2) as pahq, pahq.focus_on_head(1, 0) as first:
        with (
            pytest.raises(InputError, match="got head 0 of layer 1; leave its focus_on_head block first"),
            pahq.focus_on_head(2, 0),
        ):
            pass
        assert pahq.focused == first


def test_restoring_inside_a_focus_is_refused(qwen2: Any) -> None:
    with quantized(qwen2) as pahq:
        message = "leave the focus_on_head block before restore"
        with pahq.focus_on_head(1, 0), pytest.raises(InputError, match=message):
            pahq.restore()


@pytest.mark.parametrize(("layer", "head"), [(4, 0), (0, 4), (-1, 0)])
def test_an_unknown_head_is_refused_and_nothing_is_in_focus(qwen2: Any, layer: int, head: int) -> None:
    with quantized(qwen2) as pahq:
        with (
            pytest.raises(InputError, match=r"expected a (layer|head) from 0 to 3, got"),
            pahq.focus_on_head(layer, head),
        ):
            pass
        assert pahq.focused is None


def test_a_file_that_changed_is_refused_and_the_model_stays_quantized(qwen2: Any, tmp_path: Path) -> None:
    qwen2.save_pretrained(tmp_path)
    qwen2.config.name_or_path = str(tmp_path)
    pahq = PAHQQuantizer(qwen2, INT8)
    pahq.quantize_background()
    file = tmp_path / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content + b"\0")
    with pytest.raises(ModelError, match="got another one; load the model again"):
        pahq.restore()
    with pytest.raises(ModelError, match="got another one"), pahq.focus_on_head(0, 0):
        pass
    assert pahq.is_quantized and pahq.focused is None
