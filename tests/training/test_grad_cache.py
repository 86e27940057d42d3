from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from tests.encoders import tiny_clip, tiny_convolutional, tiny_dual_encoder
from training.grad_cache import cached_backward
from training.loss import contrastive_loss, multi_positive_loss, sigmoid_loss
from training.parameters import freeze, freeze_batch_norm

Texts = dict[str, Tensor]

IMAGES, TEXTS = 5, 7
IMAGE_OF_TEXT = torch.tensor([0, 1, 2, 3, 4, 0, 3])
CHUNK_SIZES = pytest.mark.parametrize("size", [1, 3, 7])


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    makers = {"clip": tiny_clip, "dual": tiny_dual_encoder, "convolutional": tiny_convolutional}
    return {name: make(folder / name) for name, make in makers.items()}


def load(checkpoint: Path) -> Any:
    """In eval mode, as from_pretrained leaves it."""
    from transformers import AutoModel

    return AutoModel.from_pretrained(checkpoint)


def with_dropout(model: Any) -> Any:
    """Drop a fifth wherever these models know how to, and switch it on."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.2
        elif isinstance(getattr(module, "dropout", None), float):
            module.dropout = 0.2
    return model.train()


def batch() -> tuple[Tensor, Texts]:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(IMAGES, 3, 64, 64, generator=generator)
    tokens = torch.randint(4, 500, (TEXTS, 12), generator=generator)
    tokens[:, -1] = 3  # the end
    return pixels, {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}


def image_chunks(size: int) -> list[Tensor]:
    return list(batch()[0].split(size))


def text_chunks(size: int) -> list[Texts]:
    tokens = batch()[1]
    return [{name: tensor[at : at + size] for name, tensor in tokens.items()} for at in range(0, TEXTS, size)]


def encode_images(model: Any, pixels: Tensor) -> Tensor:
    pixels = pixels.to(device=model.device, dtype=model.dtype)
    return normalize(model.get_image_features(pixel_values=pixels).pooler_output, dim=-1)


def encode_texts(model: Any, tokens: Texts) -> Tensor:
    tokens = {name: tensor.to(model.device) for name, tensor in tokens.items()}
    return normalize(model.get_text_features(**tokens).pooler_output, dim=-1)


def loss_of(model: Any, images: Tensor, texts: Tensor) -> Tensor:
    return multi_positive_loss(images, texts, IMAGE_OF_TEXT.to(images.device), model.logit_scale.exp())


def plain_backward(model: Any, size: int) -> Tensor:
    """The same chunks in one graph, all in memory: what the cache must equal."""
    images = torch.cat([encode_images(model, chunk) for chunk in image_chunks(size)])
    texts = torch.cat([encode_texts(model, chunk) for chunk in text_chunks(size)])
    loss = loss_of(model, images, texts)
    torch.autograd.backward(loss)
    return loss.detach()


def cached(model: Any, size: int, **changed: Any) -> Tensor:
    arguments = {
        "encode_images": partial(encode_images, model),
        "encode_texts": partial(encode_texts, model),
        "image_chunks": image_chunks(size),
        "text_chunks": text_chunks(size),
        "loss_of": partial(loss_of, model),
    }
    return cached_backward(**(arguments | changed))


def gradients(
    model: Any, run: Callable[[Any], Tensor], seed: int = 0
) -> tuple[Tensor, dict[str, Tensor | None]]:
    """The loss and every parameter's gradient, from one random state."""
    model.zero_grad(set_to_none=True)
    torch.manual_seed(seed)
    loss = run(model)
    return loss, {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_same(
    ours: dict[str, Tensor | None], theirs: dict[str, Tensor | None], *, rtol: float, of_largest: float
) -> None:
    """Equal at rtol; what is nothing beside the largest gradient (and nothing but rounding) may differ."""
    assert ours.keys() == theirs.keys()
    largest = max(float(each.abs().max()) for each in theirs.values() if each is not None)
    for name, their in theirs.items():
        our = ours[name]
        assert (our is None) == (their is None), name
        if our is not None:
            torch.testing.assert_close(
                our,
                their,
                rtol=rtol,
                atol=of_largest * largest,
                msg=lambda text, name=name: f"{name}: {text}",
            )


@pytest.fixture(autouse=True)
def _alone() -> Iterator[None]:
    """Random numbers of its own; and one thread: on a busy machine small layers wait minutes for four."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)


@CHUNK_SIZES
@pytest.mark.parametrize("name", ["clip", "dual", "convolutional"])
def test_every_gradient_is_the_whole_batchs(checkpoints: dict[str, Path], name: str, size: int) -> None:
    model = load(checkpoints[name])
    expected_loss, expected = gradients(model, partial(plain_backward, size=TEXTS))
    loss, found = gradients(model, partial(cached, size=size))
    assert not loss.requires_grad
    torch.testing.assert_close(loss, expected_loss)
    assert found["logit_scale"] is not None
    assert found["logit_scale"] != 0
    assert_same(found, expected, rtol=1e-4, of_largest=1e-6)


@pytest.mark.parametrize("name", ["clip", "dual"])
def test_in_double_precision_nothing_but_rounding_is_left(checkpoints: dict[str, Path], name: str) -> None:
    model = load(checkpoints[name]).double()
    _, expected = gradients(model, partial(plain_backward, size=TEXTS))
    _, found = gradients(model, partial(cached, size=3))
    assert_same(found, expected, rtol=1e-10, of_largest=1e-14)


@CHUNK_SIZES
@pytest.mark.parametrize("name", ["clip", "dual", "convolutional"])
def test_dropout_drops_the_same_in_both_passes(checkpoints: dict[str, Path], name: str, size: int) -> None:
    model = load(checkpoints[name])
    freeze_batch_norm(model)
    with_dropout(model)
    expected_loss, expected = gradients(model, partial(plain_backward, size=size))
    other_loss, _ = gradients(model, partial(plain_backward, size=size), seed=1)
    assert not torch.allclose(other_loss, expected_loss, rtol=1e-3)  # dropout is at work
    loss, found = gradients(model, partial(cached, size=size))
    torch.testing.assert_close(loss, expected_loss)
    assert_same(found, expected, rtol=1e-4, of_largest=1e-6)


def test_random_numbers_go_on_as_after_one_pass(checkpoints: dict[str, Path]) -> None:
    model = with_dropout(load(checkpoints["dual"]))

    def loss_by_lot(images: Tensor, texts: Tensor) -> Tensor:
        return loss_of(model, images, texts) * torch.rand(())

    with torch.no_grad():
        torch.manual_seed(0)
        images = torch.cat([encode_images(model, chunk) for chunk in image_chunks(3)])
        texts = torch.cat([encode_texts(model, chunk) for chunk in text_chunks(3)])
        expected_loss, expected = loss_by_lot(images, texts), torch.rand(4)
    loss, _ = gradients(model, partial(cached, size=3, loss_of=loss_by_lot))
    assert loss.item() == expected_loss.item()
    assert torch.equal(torch.rand(4), expected)


def test_gradients_add_to_those_already_there(checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints["clip"])
    _, once = gradients(model, partial(cached, size=3))
    doubled = {name: 2 * each for name, each in once.items() if each is not None}
    _, twice = gradients(model, lambda model: (cached(model, 3), cached(model, 3))[1])
    assert_same(twice, {**dict.fromkeys(once), **doubled}, rtol=1e-4, of_largest=1e-6)


def test_what_the_loss_itself_learns_gets_its_gradient(checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints["clip"])
    bias = torch.tensor(-10.0, requires_grad=True)

    def loss_with_bias(images: Tensor, texts: Tensor) -> Tensor:
        return sigmoid_loss(images, texts, IMAGE_OF_TEXT, model.logit_scale.exp(), bias)

    cached(model, 3, loss_of=loss_with_bias)
    assert bias.grad is not None
    found, bias.grad = bias.grad, None
    with torch.no_grad():
        images, texts = encode_images(model, batch()[0]), encode_texts(model, batch()[1])
    torch.autograd.backward(loss_with_bias(images, texts))
    torch.testing.assert_close(found, bias.grad)


def test_a_loss_scaled_for_half_precision_scales_every_gradient_once(checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints["clip"])
    _, plain = gradients(model, partial(cached, size=3))
    calls = []

    def scaled_backward(loss: Tensor) -> None:
        calls.append(loss)
        torch.autograd.backward(1024 * loss)

    loss, scaled = gradients(model, partial(cached, size=3, backward=scaled_backward))
    assert len(calls) == 1
    assert loss.item() == calls[0].item()  # the loss is told unscaled
    expected = {name: None if each is None else 1024 * each for name, each in plain.items()}
    assert_same(scaled, expected, rtol=1e-5, of_largest=1e-7)


@pytest.mark.parametrize("frozen", ["image", "text"])
def test_a_frozen_tower_costs_the_other_nothing(checkpoints: dict[str, Path], frozen: Any) -> None:
    model = load(checkpoints["dual"])
    freeze(model, frozen)
    head = model.visual_projection if frozen == "image" else model.text_projection
    head.requires_grad_(False)  # so that nothing behind these embeddings learns
    _, expected = gradients(model, partial(plain_backward, size=TEXTS))
    _, found = gradients(model, partial(cached, size=3))
    assert sum(each is not None for each in found.values()) > 10
    assert_same(found, expected, rtol=1e-4, of_largest=1e-6)


def test_a_loss_that_looks_at_one_side_only_trains_that_side(checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints["clip"])
    fixed = normalize(torch.randn(IMAGES, 64), dim=-1)
    _, found = gradients(
        model,
        partial(cached, size=3, loss_of=lambda images, _: contrastive_loss(images, fixed, torch.tensor(5.0))),
    )
    assert found["visual_projection.weight"] is not None
    assert found["text_projection.weight"] is None


@CHUNK_SIZES
def test_an_autocast_around_it_all_loses_no_gradient(checkpoints: dict[str, Path], size: int) -> None:
    model = load(checkpoints["clip"])

    def in_bfloat16(model: Any, run: Callable[[Any], Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return run(model)

    _, expected = gradients(model, partial(in_bfloat16, run=partial(plain_backward, size=size)))
    _, found = gradients(model, partial(in_bfloat16, run=partial(cached, size=size)))
    for name, their in expected.items():
        our = found[name]
        assert (our is None) == (their is None), name
        if our is not None and their is not None and their.norm() > 1e-3:
            assert (our - their).norm() < 0.05 * their.norm(), name


def test_it_works_under_no_grad_as_well(checkpoints: dict[str, Path]) -> None:
    model = load(checkpoints["clip"])
    _, expected = gradients(model, partial(cached, size=3))
    with torch.no_grad():
        _, found = gradients(model, partial(cached, size=3))
    assert_same(found, expected, rtol=0, of_largest=0)


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["clip", "dual"])
def test_dropout_on_a_gpu_drops_the_same_in_both_passes(checkpoints: dict[str, Path], name: str) -> None:
    model = with_dropout(load(checkpoints[name]).to("cuda", torch.float64))
    expected_loss, expected = gradients(model, partial(plain_backward, size=3))
    loss, found = gradients(model, partial(cached, size=3))
    torch.testing.assert_close(loss, expected_loss)
    assert_same(found, expected, rtol=1e-8, of_largest=1e-10)
