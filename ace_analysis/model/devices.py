"""Which processor, and which number format on it.

bf16 halves memory and more than doubles speed where the processor multiplies it; where it has to be emulated
it is eight times slower than fp32. So "auto" asks the processor. The weights are stored in bf16: loading them
as fp32 changes none of them.
"""

import torch

from ace_analysis.errors import SettingsError

DTYPES = {
    "float32": torch.float32,
    "fp32": torch.float32,
    "bfloat16": torch.bfloat16,
    "bf16": torch.bfloat16,
    "float16": torch.float16,
    "fp16": torch.float16,
}


def chosen_device(name: str | torch.device) -> torch.device:
    """A device by name; "auto" is the GPU where there is one."""
    if isinstance(name, str) and name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f'expected a device such as "auto", "cpu" or "cuda:0", got {name!r}') from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise SettingsError(
            f"expected one of {torch.cuda.device_count()} CUDA devices, got {str(device)!r};"
            ' use device "auto"'
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise SettingsError('expected Metal for device "mps", and there is none; use device "auto"')
    return device


def chosen_dtype(name: str | torch.dtype, device: torch.device) -> torch.dtype:
    """A number format by name; "auto" is bf16 where the device multiplies it, else fp32."""
    if isinstance(name, torch.dtype):
        return name
    if name == "auto":
        return torch.bfloat16 if multiplies_bf16(device) else torch.float32
    if name not in DTYPES:
        raise SettingsError(f'expected a dtype among "auto", {", ".join(DTYPES)}, got {name!r}')
    return DTYPES[name]


def multiplies_bf16(device: torch.device) -> bool:
    """Whether a device has instructions for bf16 matrices, rather than an emulation of them."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0) or torch.version.hip is not None
    return device.type == "cpu" and cpu_multiplies_bf16()


def cpu_multiplies_bf16() -> bool:
    """AVX-512 BF16 or AMX on x86, BF16 instructions on Arm."""
    if not hasattr(torch.cpu, "get_capabilities"):  # before torch 2.11
        return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", bool)())
    capabilities = torch.cpu.get_capabilities()
    names = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
    return any(bool(capabilities.get(name)) for name in names)
