import copy

import torch
from transformers import CLIPConfig, CLIPModel

from training.lean_layers import LeanQuickGELU, use_lean_layers


def tiny_clip() -> CLIPModel:
    torch.manual_seed(0)
    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config={**size, "vocab_size": 20, "max_position_embeddings": 8, "eos_token_id": 2},
        vision_config={**size, "image_size": 16, "patch_size": 4},
        projection_dim=8,
    )  # fmt: skip
    return CLIPModel(config).eval()


def loss_of(model: CLIPModel) -> torch.Tensor:
    pixels = torch.randn(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    tokens = torch.tensor([[5, 6, 2, 0], [7, 8, 9, 2], [5, 2, 0, 0]])
    return model(
        input_ids=tokens, attention_mask=(tokens != 0).long(), pixel_values=pixels, return_loss=True
    ).loss


def test_lean_layers_give_the_same_loss_and_gradients() -> None:
    plain = tiny_clip()
    lean = copy.deepcopy(plain)
    use_lean_layers(lean)
    losses = [loss_of(model) for model in (plain, lean)]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-6)
    for loss in losses:
        loss.backward()
    for (name, expected), (_, found) in zip(plain.named_parameters(), lean.named_parameters(), strict=True):
        torch.testing.assert_close(expected.grad, found.grad, rtol=1e-3, atol=1e-6, msg=name)


def test_lean_layers_change_neither_what_is_saved_nor_its_names() -> None:
    plain = tiny_clip()
    lean = copy.deepcopy(plain)
    use_lean_layers(lean)
    assert any(isinstance(module, LeanQuickGELU) for module in lean.modules())
    assert lean.state_dict().keys() == plain.state_dict().keys()
    assert lean.config.to_json_string() == plain.config.to_json_string()


def test_the_activation_keeps_one_tensor_for_its_backward_where_transformers_keeps_two() -> None:
    def kept(activation: torch.nn.Module) -> int:
        hidden, found = torch.randn(4, requires_grad=True), []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda each: found.append(each) or each, lambda each: each
        ):
            activation(hidden)
        return len({each.data_ptr() for each in found if each.numel() == 4})

    from transformers.activations import QuickGELUActivation

    assert (kept(LeanQuickGELU()), kept(QuickGELUActivation())) == (1, 2)
