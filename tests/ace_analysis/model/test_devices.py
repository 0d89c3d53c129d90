"""Devices and number formats by name."""

import pytest
import torch

from ace_analysis.errors import SettingsError
from ace_analysis.model import devices
from ace_analysis.model.devices import chosen_device, chosen_dtype, cpu_multiplies_bf16, multiplies_bf16

CPU = torch.device("cpu")


def test_auto_is_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert chosen_device("auto").type == "cuda"


def test_auto_is_the_processor_where_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("auto") == CPU


def test_a_device_object_is_taken_as_it_is() -> None:
    assert chosen_device(CPU) == CPU


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"expected a device such as .* got 'gpu please'"):
        chosen_device("gpu please")


def test_a_gpu_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingsError, match="expected one of 1 CUDA devices, got 'cuda:3'"):
        chosen_device("cuda:3")


def test_metal_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="expected Metal"):
        chosen_device("mps")


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bfloat16", torch.bfloat16), (torch.float16, torch.float16)]
)
def test_number_formats_have_two_names_and_may_be_given_as_they_are(
    name: str | torch.dtype, dtype: torch.dtype
) -> None:
    assert chosen_dtype(name, CPU) is dtype


def test_an_unknown_number_format_is_an_error() -> None:
    with pytest.raises(SettingsError, match=r"expected a dtype among \"auto\", float32.*got 'int4'"):
        chosen_dtype("int4", CPU)


@pytest.mark.parametrize(("can", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_is_bf16_only_where_the_processor_multiplies_it(
    can: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "cpu_multiplies_bf16", lambda: can)
    assert chosen_dtype("auto", CPU) is dtype


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"bf16": True}, True),
        ({"avx2": True}, False),
    ],
)
def test_the_processors_instructions_decide(
    capabilities: dict[str, bool], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert cpu_multiplies_bf16() is expected


def test_an_older_torch_is_asked_in_its_own_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert cpu_multiplies_bf16() is True


@pytest.mark.parametrize(("generation", "expected"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpus_multiply_bf16_since_ampere(
    generation: tuple[int, int], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: generation)
    monkeypatch.setattr(torch.version, "hip", None)
    assert multiplies_bf16(torch.device("cuda", 0)) is expected


def test_metal_computes_in_fp32() -> None:
    assert multiplies_bf16(torch.device("mps")) is False
