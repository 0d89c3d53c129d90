"""Bytes are counted where they are, and once."""

import torch
from torch import nn

from ace_analysis.quantization.memory import (
    device_bytes,
    release,
    resident_bytes,
    storage_bytes,
    weight_bytes,
)

MEGABYTE = 2**20


def test_tied_weights_count_once() -> None:
    first, second = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
    assert weight_bytes(nn.Sequential(first, second)) == 2 * 8 * 8 * 4
    second.weight = first.weight
    assert weight_bytes(nn.Sequential(first, second)) == 8 * 8 * 4


def test_a_view_counts_all_that_it_keeps_alive() -> None:
    assert storage_bytes([torch.zeros(1000)[:1]]) == 4000


def test_buffers_count() -> None:
    module = nn.Module()
    module.register_buffer("values", torch.zeros(16, dtype=torch.int8))
    assert weight_bytes(module) == 16


def test_the_process_memory_follows_what_is_held() -> None:
    release()
    before = resident_bytes()
    if before is None:  # not Linux: the report says None, too
        return
    held = torch.ones(64 * MEGABYTE // 4)
    grown = resident_bytes()
    del held
    release()
    after = resident_bytes()
    assert grown is not None and after is not None
    assert grown - before > 50 * MEGABYTE and grown - after > 50 * MEGABYTE


def test_without_a_gpu_nothing_is_told_of_one() -> None:
    assert device_bytes(torch.device("cpu")) is None
