"""Linear layers for bfloat16 on a processor, their weights laid out as its matrix kernels read them.

PyTorch hands a plain weight to oneDNN anew at every call, and oneDNN copies it into its own layout each
time: for the few rows of one question the copy takes longer than the product. torch.compile packs weights
ahead with the same two operators, but wants a C++ compiler on the user's machine.
https://uxlfoundation.github.io/oneDNN/dev_guide_inference.html (memory format propagation)
"""

import torch
from torch import Tensor, nn

_ROWS = 16  # tokens of an ordinary question: the layout is chosen for these, and serves any number


class PackedLinear(nn.Module):
    """A bfloat16 nn.Linear of fixed weights; the same products, rounded the same way."""

    def __init__(self, linear: nn.Linear) -> None:
        """Pack a layer's weight; the layer itself is not changed."""
        super().__init__()
        packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), _ROWS)
        self.register_buffer("weight", packed, persistent=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, rows: Tensor) -> Tensor:
        """Return rows · weightᵀ + bias: bfloat16 (…, in) to (…, out)."""
        result: Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        return result


def pack_linear_layers(model: nn.Module) -> bool:
    """Pack a model's bfloat16 linear layers where this processor gains by it; say whether any was."""
    if not _packing_pays():
        return False
    layers = [
        (module, name, child)
        for module in model.modules()
        for name, child in module.named_children()
        # a subclass may have its weight read by others, as MultiheadAttention does
        if type(child) is nn.Linear and child.weight.dtype == torch.bfloat16
    ]
    for module, name, child in layers:
        setattr(module, name, PackedLinear(child))
    return bool(layers)


def _packing_pays() -> bool:
    """Say whether oneDNN multiplies bfloat16 in hardware here, and PyTorch has both operators."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16")) and all(
        hasattr(torch.ops.mkldnn, operator) for operator in ("_reorder_linear_weight", "_linear_pointwise")
    )
