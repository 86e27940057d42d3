"""Which of a dual encoder's weights learn, how fast, through which adapter, and their running average.

For every dual encoder of transformers: a vision_model, a text_model, and around them the heads. Give the
model itself, not what DistributedDataParallel or torch.compile makes of it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import Tensor, nn

from training.errors import TrainingError

Model = TypeVar("Model", bound=nn.Module)
Towers = Literal["image", "text", "image+text"]

_TOWERS = {"image": "vision_model", "text": "text_model"}
_PARTS = frozenset({*_TOWERS, "head"})
_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
_AVERAGE = "average."  # before a tensor's name, in the average's state


def parameter_groups(
    model: nn.Module,
    *,
    learning_rates: Mapping[str, float],
    weight_decay: float,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Return an optimizer's groups: each trainable parameter once, with its rate and its weight decay.

    Weight decay is for matrices, convolutions and embedding tables. Vectors and numbers have none, however
    many axes they are written with: norms, biases, class tokens, probes, logit_scale and logit_bias.

    Each layer of a tower learns at layer_decay times the rate of the one above it. The top layer and what
    comes after it have the tower's rate; what comes before the first (embeddings, patches, a convolutional
    stem) has it times layer_decay to the number of layers. Layers are the entries of the tower's longest
    ModuleList that lies in no other, which in a convolutional tower are its blocks or its stages.

    Args:
        model: the dual encoder, with or without adapters.
        learning_rates: for "image" and "text" (the towers) and "head": the projections, logit_scale,
            logit_bias and whatever else is in no tower.
        weight_decay: AdamW's.
        layer_decay: above 0; 1 gives a tower one rate, 0.6 to 0.75 is usual for fine-tuning.

    Returns:
        One dict a group: params, lr, weight_decay, and name ("image 1e-05", "head 0.001, no decay").

    Raises:
        TrainingError: the model has no two towers.

    Source: rates a layer are section 3.2 of Howard and Ruder 2018 (ULMFiT, arXiv 1801.06146); embeddings
    as the lowest layer, Clark et al. 2020 (ELECTRA, arXiv 2003.10555).
    """
    if learning_rates.keys() != _PARTS:
        raise ValueError(f"learning_rates are for {sorted(_PARTS)}, not for {sorted(learning_rates)}")
    if layer_decay <= 0:
        raise ValueError(f"layer_decay is above 0, not {layer_decay}")
    place = {}  # of each parameter in a tower: which tower, and how many layers lie above it
    for tower in _TOWERS:
        for parameter, above in _layers_above(_tower(model, tower)):
            place[parameter] = tower, above
    groups: dict[tuple[str, float, bool], dict[str, Any]] = {}
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        part, above = place.get(parameter, ("head", 0))
        rate = learning_rates[part] * layer_decay**above
        decays = sum(size > 1 for size in parameter.shape) > 1
        group = groups.setdefault(
            (part, rate, decays),
            {
                "params": [],
                "lr": rate,
                "weight_decay": weight_decay if decays else 0.0,
                "name": f"{part} {rate:g}{'' if decays else ', no decay'}",
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def freeze(model: nn.Module, what: Literal["none"] | Towers) -> None:
    """Fix towers: no gradients, no dropout, no new batch norm statistics.

    Their projections, in no tower, go on learning. A frozen tower is in eval mode and stays in it through
    model.train(), as the batch norms of freeze_batch_norm do. "none" changes nothing, and thaws nothing.

    Raises:
        TrainingError: the model has no such tower.

    Source: LiT, Zhai et al. 2021 (arXiv 2111.07991), freezes the images'.
    """
    for tower in [] if what == "none" else _towers_in(what):
        module = _tower(model, tower)
        module.requires_grad_(False)
        _keep_in_eval(module)


def freeze_batch_norm(model: nn.Module) -> None:
    """Keep every batch norm's running statistics as they are, and normalise by them; weights go on learning.

    A batch of photos alike, or a small one, would else spoil what ImageNet's millions gave. model.train()
    does not undo it: each of these modules gets a train() of its own, which leaves it in eval mode. It is
    copied with the module and is in no state_dict; only a model loaded anew is without it.
    """
    for module in model.modules():
        if isinstance(module, _BATCH_NORMS):
            _keep_in_eval(module)


def attach_lora(model: Model, rank: int, alpha: float, towers: Towers) -> Model:
    """Return the same model with low-rank adapters at these towers' linear layers, as yet without effect.

    Adapted towers learn through their adapters only; the other tower and the heads learn, or not, as
    before. The model's class and methods stay; the names of adapted layers' weights change.

    Args:
        model: the dual encoder.
        rank: of each adapter; 16 to 64 is usual.
        alpha: the adapters' weight is alpha / rank.
        towers: which to adapt.

    Raises:
        TrainingError: the model has no such tower, or it has no linear layer, as convolutional ones.

    torch's random numbers decide the first weights. Source: Hu et al. 2021 (arXiv 2106.09685).
    """
    from peft import LoraConfig, inject_adapter_in_model  # slow to load, and few train with it

    if _has_adapters(model):
        raise ValueError("the model has adapters already; merge_lora first")
    learning = {parameter for parameter in model.parameters() if parameter.requires_grad}
    adapted: set[nn.Parameter] = set()
    targets = []
    for tower in _towers_in(towers):
        module = _tower(model, tower)
        linear = [f"{_TOWERS[tower]}.{name}" for name, part in module.named_modules() if _is_linear(part)]
        if not linear:
            raise TrainingError(
                f"the {tower} tower has no linear layer to put an adapter on (a convolutional one has none); "
                "freeze it, or tune it without LoRA"
            )
        targets += linear
        adapted.update(module.parameters())
    inject_adapter_in_model(
        LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=targets, bias="none"), model
    )
    for parameter in learning - adapted:  # peft froze them with the rest
        parameter.requires_grad_(True)
    return model


def merge_lora(model: Model) -> Model:
    """Return the same model, plain again: its adapters are added into the weights that they adapt.

    Outputs are the adapted model's, but for rounding. What attach_lora froze stays frozen. A model without
    adapters is returned as it is. To save a model in the midst of training, merge a deepcopy of it.
    """
    if not _has_adapters(model):
        return model
    from peft.tuners.lora import LoraLayer

    layers = [(name, layer) for name, layer in model.named_modules() if isinstance(layer, LoraLayer)]
    for name, layer in layers:
        layer.merge()
        model.set_submodule(name, layer.get_base_layer())
    del model.peft_config
    return model


class ExponentialMovingAverage:
    """A running average of a model's weights and batch norm statistics: steadier than the last step's.

    Step t (from 0) weighs the average so far by min(decay, (1 + t) / (10 + t)), so that the first weights,
    which know least, are soon forgotten. Counters and other integers are the last step's. Half precision is
    averaged in float32, where a small step is not lost.

    Source: Polyak and Juditsky 1992; this warm-up is TensorFlow's (tf.train.ExponentialMovingAverage).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Begin with the model's weights as they are; decay is 0 to below 1, 0.999 to 0.9998 usually."""
        if not 0 <= decay < 1:
            raise ValueError(f"decay is 0 to below 1, not {decay}")
        self.decay = decay
        self.updates = 0
        self._average = {
            name: tensor.detach().to(_exact(tensor.dtype), copy=True)
            for name, tensor in model.state_dict().items()
        }

    def update(self, model: nn.Module) -> None:
        """Take in the model's weights, after an optimizer's step."""
        share = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        weights = model.state_dict()
        for name, average in self._average.items():
            if average.is_floating_point():
                average.lerp_(weights[name].to(average.dtype), share)
            else:
                average.copy_(weights[name])
        self.updates += 1

    @contextmanager
    def averaged(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights for the length of a `with`; afterwards its own, bit for bit."""
        weights = model.state_dict()  # detached, but the model's own memory
        own = {name: tensor.clone() for name, tensor in weights.items()}
        try:
            for name, average in self._average.items():
                weights[name].copy_(average)
            yield
        finally:
            for name, tensor in own.items():
                weights[name].copy_(tensor)

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that a resumed run needs, as tensors that safetensors can save; copies."""
        average = {f"{_AVERAGE}{name}": tensor.clone() for name, tensor in self._average.items()}
        return {"updates": torch.tensor(self.updates), **average}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on where the other left off: bit for bit as if it had not stopped.

        Raises:
            TrainingError: the state is another model's; the first tensor that does not fit is named.
        """
        for name, tensor in self.state_dict().items():
            if name not in state or state[name].shape != tensor.shape:
                raise TrainingError(f"{name} of the running average is missing, or of another shape")
        if more := sorted(state.keys() - self.state_dict().keys()):
            raise TrainingError(f"{more[0]} is in the running average's state, but not in the model")
        self.updates = int(state["updates"])
        for name, average in self._average.items():
            average.copy_(state[f"{_AVERAGE}{name}"])


def _tower(model: nn.Module, tower: str) -> nn.Module:
    module = getattr(model, _TOWERS[tower], None)
    if not isinstance(module, nn.Module):
        raise TrainingError(
            f"a {type(model).__name__} has no {_TOWERS[tower]}; train a dual encoder like CLIP"
        )
    return module


def _towers_in(what: Towers) -> list[str]:
    if what not in get_args(Towers):
        raise ValueError(f"there is no {what!r}; choose {', '.join(get_args(Towers))}")
    return what.split("+")


def _layers_above(tower: nn.Module) -> Iterator[tuple[nn.Parameter, int]]:
    """Yield each parameter of a tower, in its order, with how many of the tower's layers lie above it."""
    layers = _layers(tower)
    of_layer = {parameter: number for number, layer in enumerate(layers) for parameter in layer.parameters()}
    above = len(layers)  # until the first layer's parameters have passed
    for parameter in tower.parameters():
        if parameter in of_layer:
            yield parameter, len(layers) - 1 - of_layer[parameter]
            above = 0
        else:
            yield parameter, above


def _layers(tower: nn.Module) -> list[nn.Module]:
    """Return the entries of the longest ModuleList that lies in no other."""
    found: list[nn.Module] = []
    inside: set[nn.Module] = set()
    for module in tower.modules():  # parents first
        if isinstance(module, nn.ModuleList) and module not in inside:
            inside.update(module.modules())
            if len(module) > len(found):
                found = list(module)
    return found


def _is_linear(module: nn.Module) -> bool:
    # Not isinstance: nn.MultiheadAttention's subclass of Linear is read by its weight, past any adapter.
    return type(module) is nn.Linear


def _has_adapters(model: nn.Module) -> bool:
    return hasattr(model, "peft_config")


def _keep_in_eval(module: nn.Module) -> None:
    """Put a module and its parts into eval mode, and make train() leave them there."""
    module.eval()
    # On this one object, over its class's method; a partial, unlike a closure, is copied with the module.
    object.__setattr__(module, "train", partial(_unchanged, module))


def _unchanged(module: nn.Module, mode: bool = True) -> nn.Module:
    return module


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32) if dtype.is_floating_point else dtype
