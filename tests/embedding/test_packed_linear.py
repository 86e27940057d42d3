"""Packed layers against the plain ones they stand for."""

from pathlib import Path

import pytest
import torch
from torch import nn

from embedding.packed_linear import PackedLinear, pack_linear_layers


def bfloat16_available() -> bool:
    """Say whether this processor multiplies bfloat16, asked of the system rather than of PyTorch."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text("ascii").split() if cpuinfo.is_file() else []
    return "avx512_bf16" in flags or "amx_bf16" in flags


def tower(dtype: torch.dtype = torch.bfloat16) -> nn.Sequential:
    """Return two linear layers with a nonlinearity between them, and an attention that keeps its own."""
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Linear(48, 96), nn.GELU(), nn.Linear(96, 32, bias=False), nn.MultiheadAttention(32, 2)
    )
    return layers.to(dtype).eval().requires_grad_(False)


def packed_names(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, PackedLinear)]


@pytest.mark.parametrize("rows", [1, 7, 16, 300])
def test_packed_layers_give_the_plain_ones_products(rows: int) -> None:
    plain, packed = tower()[:3], tower()[:3]
    pack_linear_layers(packed)
    inputs = torch.randn(2, rows, 48, dtype=torch.bfloat16)
    with torch.inference_mode():
        expected, found = plain(inputs), packed(inputs)
    assert found.dtype == expected.dtype == torch.bfloat16
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


def test_layers_are_packed_where_the_processor_multiplies_bfloat16() -> None:
    model = tower()
    assert pack_linear_layers(model) == bfloat16_available()
    assert packed_names(model) == (["0", "2"] if bfloat16_available() else [])


def test_float32_is_left_as_it_is() -> None:
    model = tower(torch.float32)
    assert not pack_linear_layers(model)
    assert packed_names(model) == []
