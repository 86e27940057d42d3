import math
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from tests.encoders import tiny_clip, tiny_convolutional, tiny_dual_encoder, tiny_siglip
from training.errors import TrainingError
from training.parameters import (
    ExponentialMovingAverage,
    attach_lora,
    freeze,
    freeze_batch_norm,
    merge_lora,
    parameter_groups,
)

RATES = {"image": 1.0, "text": 10.0, "head": 100.0}
MAKERS = {
    "clip": tiny_clip,
    "siglip": tiny_siglip,
    "dual": tiny_dual_encoder,
    "convolutional": tiny_convolutional,
}
EVERY_FAMILY = pytest.mark.parametrize("family", list(MAKERS))

Load = Callable[[str], Any]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: make(folder / name) for name, make in MAKERS.items()}


@pytest.fixture
def fresh(checkpoints: dict[str, Path]) -> Load:
    """A model of a family, in eval mode, with gradients on."""
    from transformers import AutoModel

    return lambda family: AutoModel.from_pretrained(checkpoints[family])


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Random numbers of its own; and one thread: on a busy machine small layers wait minutes for four."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def embeddings(model: Any) -> Tensor:
    """All that the model answers to three pictures and three texts: float (6, d)."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(3, 3, 64, 64, generator=generator)
    tokens = torch.randint(4, 500, (3, 64), generator=generator)
    tokens[:, -1] = 3  # the end
    images = model.get_image_features(pixel_values=pixels)
    return torch.cat([images.pooler_output, model.get_text_features(input_ids=tokens).pooler_output])


def train_a_little(model: Any, rate: float = 1e-2) -> None:
    optimizer = torch.optim.SGD([each for each in model.parameters() if each.requires_grad], lr=rate)
    for _ in range(2):
        optimizer.zero_grad()
        torch.autograd.backward(nn.functional.normalize(embeddings(model), dim=-1).sin().sum())
        optimizer.step()


def settings_of(model: nn.Module, **changed: Any) -> dict[str, tuple[float, float]]:
    """Each parameter's name, with its learning rate and weight decay."""
    groups = parameter_groups(model, **({"learning_rates": RATES, "weight_decay": 0.1} | changed))
    names = {parameter: name for name, parameter in model.named_parameters()}
    return {
        names[parameter]: (group["lr"], group["weight_decay"])
        for group in groups
        for parameter in group["params"]
    }


# Groups


@EVERY_FAMILY
def test_every_parameter_is_in_one_group(fresh: Load, family: str) -> None:
    model = fresh(family)
    for layer_decay in (1.0, 0.7):
        groups = parameter_groups(model, learning_rates=RATES, weight_decay=0.1, layer_decay=layer_decay)
        grouped = [parameter for group in groups for parameter in group["params"]]
        assert len(grouped) == len(set(grouped))
        assert set(grouped) == set(model.parameters())
        assert len({group["name"] for group in groups}) == len(groups)
        torch.optim.AdamW(groups)  # refuses a parameter that comes twice


@EVERY_FAMILY
def test_without_layer_decay_a_part_has_one_rate(fresh: Load, family: str) -> None:
    for name, (rate, _) in settings_of(fresh(family)).items():
        part = {"vision_model": "image", "text_model": "text"}.get(name.split(".")[0], "head")
        assert rate == RATES[part], name


@EVERY_FAMILY
def test_vectors_and_numbers_do_not_decay(fresh: Load, family: str) -> None:
    model = fresh(family)
    decays = {name for name, (_, decay) in settings_of(model).items() if decay}
    norms = (nn.LayerNorm, nn.BatchNorm2d)
    of_norms = {
        f"{name}.{own}"
        for name, module in model.named_modules()
        if isinstance(module, norms)
        for own, _ in module.named_parameters()
    }
    assert of_norms
    for name, parameter in model.named_parameters():
        spared = (
            name in of_norms
            or name.endswith("bias")
            or re.search(r"logit_|cls_token|class_embedding|probe", name) is not None
        )
        assert (name in decays) == (not spared), f"{name} {tuple(parameter.shape)}"


@pytest.mark.parametrize(
    ("family", "name", "rate"),
    [
        ("clip", "vision_model.embeddings.class_embedding", 0.25),
        ("clip", "vision_model.embeddings.patch_embedding.weight", 0.25),
        ("clip", "vision_model.pre_layrnorm.weight", 0.25),
        ("clip", "vision_model.encoder.layers.0.mlp.fc1.weight", 0.5),
        ("clip", "vision_model.encoder.layers.1.mlp.fc1.bias", 1.0),
        ("clip", "vision_model.post_layernorm.weight", 1.0),
        ("clip", "text_model.embeddings.token_embedding.weight", 2.5),
        ("clip", "text_model.encoder.layers.0.self_attn.q_proj.weight", 5.0),
        ("clip", "text_model.final_layer_norm.bias", 10.0),
        ("clip", "visual_projection.weight", 100.0),
        ("clip", "logit_scale", 100.0),
        ("siglip", "vision_model.head.probe", 1.0),
        ("siglip", "text_model.head.weight", 10.0),
        ("siglip", "logit_bias", 100.0),
        ("dual", "vision_model.embeddings.cls_token", 0.25),
        ("dual", "vision_model.layers.0.mlp.fc1.weight", 0.5),
        ("dual", "text_model.embeddings.LayerNorm.weight", 2.5),
        ("dual", "text_model.encoder.layer.0.output.dense.weight", 5.0),
        ("dual", "text_model.pooler.dense.weight", 10.0),
        ("convolutional", "vision_model.conv_stem.first_conv.convolution.weight", 0.5**16),
        ("convolutional", "vision_model.layer.0.conv_3x3.convolution.weight", 0.5**15),
        ("convolutional", "vision_model.layer.15.conv_3x3.normalization.weight", 1.0),
        ("convolutional", "vision_model.conv_1x1.convolution.weight", 1.0),
    ],
)
def test_lower_layers_learn_more_slowly(fresh: Load, family: str, name: str, rate: float) -> None:
    assert settings_of(fresh(family), layer_decay=0.5)[name][0] == rate


def test_a_towers_stages_are_its_layers_and_not_the_blocks_within() -> None:
    class Tower(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Linear(2, 2)
            self.stages = nn.ModuleList(
                nn.ModuleDict({"blocks": nn.ModuleList(nn.Linear(2, 2) for _ in range(5))}) for _ in range(3)
            )
            self.norms = nn.ModuleList(nn.LayerNorm(2) for _ in range(2))

    model = nn.Module()
    model.vision_model, model.text_model = Tower(), nn.Linear(2, 2)
    found = settings_of(model, layer_decay=0.5)
    assert found["vision_model.stem.weight"][0] == 0.125
    assert found["vision_model.stages.0.blocks.4.weight"][0] == 0.25
    assert found["vision_model.stages.2.blocks.0.weight"][0] == 1.0
    assert found["vision_model.norms.0.weight"][0] == 1.0
    assert found["text_model.weight"][0] == 10.0  # no layers, one rate


def test_what_is_frozen_is_in_no_group(fresh: Load) -> None:
    model = fresh("clip")
    freeze(model, "image")
    names = settings_of(model, layer_decay=0.5)
    assert not [name for name in names if name.startswith("vision_model")]
    assert {"visual_projection.weight", "text_projection.weight", "logit_scale"} <= names.keys()


@pytest.mark.parametrize("rates", [{"image": 1.0, "text": 1.0}, RATES | {"images": 1.0}])
def test_a_rate_for_a_part_that_is_not_there_is_refused(fresh: Load, rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="learning_rates"):
        parameter_groups(fresh("clip"), learning_rates=rates, weight_decay=0.1)


def test_a_layer_decay_of_nothing_is_refused(fresh: Load) -> None:
    with pytest.raises(ValueError, match="layer_decay"):
        settings_of(fresh("clip"), layer_decay=0)


def test_a_model_of_one_tower_is_refused(fresh: Load) -> None:
    with pytest.raises(TrainingError, match="has no vision_model"):
        settings_of(fresh("clip").vision_model)


# Freezing


def running_statistics(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: buffer.clone()
        for name, buffer in model.named_buffers()
        if "running" in name or "batches" in name
    }


@pytest.mark.parametrize(
    ("what", "frozen"), [("image", {"vision"}), ("text", {"text"}), ("image+text", {"vision", "text"})]
)
@pytest.mark.parametrize("family", ["clip", "convolutional"])
def test_a_frozen_tower_stays_as_it_is(fresh: Load, family: str, what: Any, frozen: set[str]) -> None:
    model = fresh(family).train()
    before = deepcopy(model.state_dict())
    freeze(model, what)
    for tower in frozen:
        assert not getattr(model, f"{tower}_model").training
    model.train()
    for tower in ("vision", "text"):
        modules = getattr(model, f"{tower}_model").modules()
        assert all(module.training != (tower in frozen) for module in modules)
    train_a_little(model)
    for name, tensor in model.state_dict().items():
        if name.split("_model.")[0] in frozen:
            assert torch.equal(tensor, before[name]), name
    for head in ("visual_projection.weight", "text_projection.weight"):
        assert not torch.equal(model.state_dict()[head], before[head])


def test_freezing_nothing_changes_nothing(fresh: Load) -> None:
    model = fresh("clip")
    freeze(model, "none")
    model.train()
    assert all(module.training for module in model.modules())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("what", ["images", "", "text+image"])
def test_an_unknown_tower_is_refused(fresh: Load, what: Any) -> None:
    with pytest.raises(ValueError, match="choose image, text"):
        freeze(fresh("clip"), what)
    with pytest.raises(ValueError, match="choose image, text"):
        attach_lora(fresh("clip"), 4, 8, what)


def test_frozen_batch_norm_keeps_its_statistics_and_trains_its_weights(fresh: Load) -> None:
    model = fresh("convolutional")
    before, weights = running_statistics(model), deepcopy(model.state_dict())
    assert before
    freeze_batch_norm(model)
    model.train()
    train_a_little(model)
    after = running_statistics(model)
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    first = "vision_model.conv_stem.first_conv.normalization.weight"
    assert not torch.equal(model.state_dict()[first], weights[first])
    assert model.training
    assert model.text_model.training
    assert model.vision_model.layer[0].training


def test_batch_norm_that_is_not_frozen_does_learn(fresh: Load) -> None:
    model = fresh("convolutional").train()
    before = running_statistics(model)
    train_a_little(model)
    assert not any(torch.equal(running_statistics(model)[name], tensor) for name, tensor in before.items())


def test_frozen_batch_norm_survives_a_copy(fresh: Load) -> None:
    model = fresh("convolutional")
    keys = list(model.state_dict())
    freeze_batch_norm(model)
    copy = deepcopy(model)
    norms = [module for module in copy.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(norm.train() is norm and not norm.training for norm in norms)
    copy.train()
    before = running_statistics(copy)
    train_a_little(copy)
    assert all(torch.equal(running_statistics(copy)[name], tensor) for name, tensor in before.items())
    assert list(copy.state_dict()) == keys


# Adapters


@pytest.mark.parametrize("towers", ["image", "text", "image+text"])
@pytest.mark.parametrize("family", ["clip", "siglip", "dual"])
def test_merged_adapters_answer_as_adapters_do(fresh: Load, family: str, towers: Any) -> None:
    model = fresh(family)
    names = list(model.state_dict())
    with torch.no_grad():
        start = embeddings(model)
    assert attach_lora(model, 4, 8, towers) is model
    with torch.no_grad():
        torch.testing.assert_close(embeddings(model), start, rtol=0, atol=2e-6)  # as yet without effect
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    train_a_little(model)
    with torch.no_grad():
        adapted = embeddings(model)
    moved = (adapted - start).abs().amax(dim=1) > 1e-3
    assert moved[:3].tolist() == 3 * ["image" in towers]
    assert moved[3:].tolist() == 3 * ["text" in towers]
    idle = [name for name, tensor in model.named_parameters() if "lora_B" in name and not tensor.any()]
    assert not idle  # an adapter that its layer is read past would learn nothing
    assert merge_lora(model) is model
    with torch.no_grad():
        torch.testing.assert_close(embeddings(model), adapted, rtol=1e-5, atol=1e-5)
    assert type(model) is type(fresh(family))
    assert list(model.state_dict()) == names
    assert not hasattr(model, "peft_config")


def test_an_adapter_weighs_alpha_over_rank(fresh: Load) -> None:
    model = attach_lora(fresh("clip"), 4, 10, "text")
    name = "text_model.encoder.layers.0.mlp.fc1"
    layer = model.get_submodule(name)
    down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    with torch.no_grad():
        up.normal_()
        expected = layer.base_layer.weight + 10 / 4 * up @ down
    torch.testing.assert_close(merge_lora(model).get_submodule(name).weight, expected)


def test_only_adapters_heads_and_the_other_tower_learn(fresh: Load) -> None:
    model = attach_lora(fresh("dual"), 4, 8, "text")
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == ("lora_" in name or not name.startswith("text_model")), name


def test_what_was_frozen_before_stays_frozen(fresh: Load) -> None:
    model = fresh("clip")
    freeze(model, "image")
    model.logit_scale.requires_grad_(False)
    attach_lora(model, 4, 8, "text")
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert not [name for name in learning if name.startswith("vision_model")]
    assert "logit_scale" not in learning
    assert "visual_projection.weight" in learning


def test_adapters_are_grouped_with_their_layer(fresh: Load) -> None:
    found = settings_of(attach_lora(fresh("clip"), 4, 8, "image+text"), layer_decay=0.5)
    lower = "vision_model.encoder.layers.0.mlp.fc1.lora_A.default.weight"
    upper = "text_model.encoder.layers.1.mlp.fc1.lora_B.default.weight"
    assert found[lower] == (0.5, 0.1)
    assert found[upper] == (10.0, 0.1)


def test_a_copy_may_be_merged_while_the_model_goes_on(fresh: Load) -> None:
    model = fresh("convolutional")
    freeze_batch_norm(model)
    attach_lora(model, 4, 8, "text")
    train_a_little(model)
    before = deepcopy(model.state_dict())
    merge_lora(deepcopy(model))
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_merged_model_takes_new_adapters_and_a_plain_one_needs_no_merging(fresh: Load) -> None:
    model = fresh("clip")
    assert merge_lora(model) is model
    attach_lora(model, 4, 8, "text")
    with pytest.raises(ValueError, match="adapters already"):
        attach_lora(model, 4, 8, "image")
    merge_lora(model)
    attach_lora(model, 2, 8, "image")
    assert [name for name in model.state_dict() if "lora_A" in name]


def test_a_convolutional_tower_takes_no_adapters(fresh: Load) -> None:
    model = fresh("convolutional")
    for towers in ("image", "image+text"):
        with pytest.raises(TrainingError, match="image tower has no linear layer"):
            attach_lora(model, 4, 8, towers)
    assert not [name for name in model.state_dict() if "lora_" in name]
    attach_lora(model, 4, 8, "text")


# The running average


def test_the_average_is_the_one_worked_out_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    expected = 0.0
    with torch.no_grad():
        model.weight.fill_(expected)
        average = ExponentialMovingAverage(model, decay=0.3)
        for step, value in enumerate([1.0, 2.0, -1.0, 5.0, 3.0]):
            model.weight.fill_(value)
            average.update(model)
            decay = min(0.3, (1 + step) / (10 + step))  # 0.1, 0.18, 0.25, then 0.3
            expected = decay * expected + (1 - decay) * value
            with average.averaged(model):
                assert model.weight.item() == pytest.approx(expected, rel=1e-6)
            assert model.weight.item() == value


@EVERY_FAMILY
def test_the_models_own_weights_come_back_bit_for_bit(fresh: Load, family: str) -> None:
    model = fresh(family).train()
    average = ExponentialMovingAverage(model, decay=0.9)
    train_a_little(model)
    average.update(model)
    before = deepcopy(model.state_dict())

    def look_and_fail() -> None:
        with average.averaged(model):
            found = model.state_dict()
            assert any(not torch.equal(tensor, before[name]) for name, tensor in found.items())
            raise OSError("no photo")

    with pytest.raises(OSError, match="no photo"):
        look_and_fail()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_counters_are_the_last_and_statistics_are_averaged(fresh: Load) -> None:
    model = fresh("convolutional").train()
    average = ExponentialMovingAverage(model, decay=0.9)
    start = deepcopy(model.state_dict())
    train_a_little(model)
    average.update(model)
    norm = "vision_model.conv_stem.first_conv.normalization"
    last = deepcopy(model.state_dict())
    with average.averaged(model):
        found = model.state_dict()
        assert found[f"{norm}.num_batches_tracked"] == last[f"{norm}.num_batches_tracked"] == 2
        expected = 0.1 * start[f"{norm}.running_mean"] + 0.9 * last[f"{norm}.running_mean"]
        torch.testing.assert_close(found[f"{norm}.running_mean"], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_resumed_average_goes_on_bit_for_bit(dtype: torch.dtype) -> None:
    def steps(model: nn.Module, average: ExponentialMovingAverage, numbers: range) -> None:
        for number in numbers:
            with torch.no_grad():
                for weight in model.parameters():
                    weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)))
            average.update(model)

    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).to(dtype)
    whole = ExponentialMovingAverage(deepcopy(model), decay=0.95)
    steps(deepcopy(model), whole, range(9))

    stopped = ExponentialMovingAverage(model, decay=0.95)
    steps(model, stopped, range(4))
    saved = load(save(stopped.state_dict()))
    resumed = ExponentialMovingAverage(
        nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).to(dtype), decay=0.95
    )
    resumed.load_state_dict(saved)
    steps(model, resumed, range(4, 9))
    assert resumed.updates == whole.updates == 9
    expected = whole.state_dict()
    assert list(resumed.state_dict()) == list(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in resumed.state_dict().items())


def test_a_saved_average_does_not_change_any_more() -> None:
    model = nn.Linear(2, 2)
    average = ExponentialMovingAverage(model, decay=0.9)
    saved = average.state_dict()
    before = deepcopy(saved)
    with torch.no_grad():
        model.weight.zero_()
    average.update(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in saved.items())


def test_half_precision_does_not_lose_small_steps() -> None:
    model = nn.Linear(1, 1, bias=False).bfloat16()
    with torch.no_grad():
        model.weight.fill_(1.0)
    average = ExponentialMovingAverage(model, decay=0.999)
    average.load_state_dict(average.state_dict() | {"updates": torch.tensor(100_000)})
    with torch.no_grad():
        model.weight.fill_(1.5)
    for _ in range(1000):
        average.update(model)
    expected = 1.5 - 0.5 * 0.999**1000
    with average.averaged(model):
        assert model.weight.dtype == torch.bfloat16
        assert model.weight.item() == pytest.approx(expected, rel=2**-8)
    assert math.isclose(average.state_dict()["average.weight"].item(), expected, rel_tol=1e-4)


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (nn.Linear(2, 3), "average.weight"),
        (nn.Linear(2, 2, bias=False), "average.bias"),
        (nn.Sequential(nn.Linear(2, 2)), "average.weight"),
    ],
)
def test_another_models_average_is_refused(other: nn.Module, name: str) -> None:
    average = ExponentialMovingAverage(nn.Linear(2, 2), decay=0.9)
    with pytest.raises(TrainingError, match=name):
        average.load_state_dict(ExponentialMovingAverage(other, decay=0.9).state_dict())


def test_an_average_that_knows_more_than_the_model_is_refused() -> None:
    average = ExponentialMovingAverage(nn.Linear(2, 2, bias=False), decay=0.9)
    with pytest.raises(TrainingError, match=r"average\.bias is in"):
        average.load_state_dict(ExponentialMovingAverage(nn.Linear(2, 2), decay=0.9).state_dict())


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_that_averages_nothing_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay"):
        ExponentialMovingAverage(nn.Linear(1, 1), decay)
