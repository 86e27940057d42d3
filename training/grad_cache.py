"""GradCache: the exact gradient of a contrastive loss over a batch whose activations do not fit into memory.

A contrastive loss needs the whole batch's embeddings, but each embedding needs its own input only. So all
are computed without a graph, the loss gives the gradient at each embedding, and each chunk is computed once
more, with a graph, to carry its part on to the weights. Memory is that of one chunk, at the price of a
second forward pass. Gradient accumulation is no substitute: it has no negatives from other chunks.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import torch
from torch import Tensor

Images = TypeVar("Images")
Texts = TypeVar("Texts")
Chunk = TypeVar("Chunk")


def cached_backward(
    encode_images: Callable[[Images], Tensor],
    encode_texts: Callable[[Texts], Tensor],
    image_chunks: Sequence[Images],
    text_chunks: Sequence[Texts],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    backward: Callable[[Tensor], Any] = Tensor.backward,
) -> Tensor:
    """Add to every parameter's grad what backward() on the whole batch's loss would add; return the loss.

    Dropout drops the same in both passes: torch's random numbers of the first, on the processor and on CUDA
    devices, are replayed in the second, and afterwards go on where the first left them. Other sources of
    chance (NumPy's, an augmentation's) belong before the chunks. Batch norm must be in eval mode: in train
    mode it mixes the rows of a chunk, and would see each twice.

    Args:
        encode_images: a chunk to float (rows, d), as the loss takes them (unit rows, normally). Whatever
            autocast it needs it enters itself.
        encode_texts: likewise.
        image_chunks: the batch's images in chunks of any sizes, at least one chunk; each is read twice.
        text_chunks: likewise; images and texts need not be cut alike.
        loss_of: all images' embeddings float (n, d) and all texts' float (m, d), in the order of the chunks,
            to the loss float (). Parameters that it uses itself (logit_scale, logit_bias) get their gradients
            in this step. With several processes it calls gather_across_processes on both.
        backward: what starts from the loss: accelerator.backward, or one that scales it for float16. Called
            once: the second pass carries on the gradients as it left them, scaled or divided.

    Returns:
        float (), detached.

    With DistributedDataParallel only the last chunk's backward may synchronise: call this inside no_sync()
    and average the gradients once afterwards.

    Source: Gao et al. 2021 (arXiv 2101.06983).
    """
    images, image_states = _encode_without_graph(encode_images, image_chunks)
    texts, text_states = _encode_without_graph(encode_texts, text_chunks)
    with torch.enable_grad():
        # A copy for the loss: what the first pass made must not be written to, and a leaf keeps its gradient.
        image_leaf, text_leaf = (torch.cat(parts).requires_grad_() for parts in (images, texts))
        loss = loss_of(image_leaf, text_leaf)
        backward(loss)
    _carry_on(encode_images, image_chunks, image_states, image_leaf, sizes=[len(part) for part in images])
    _carry_on(encode_texts, text_chunks, text_states, text_leaf, sizes=[len(part) for part in texts])
    return loss.detach()


def _encode_without_graph(
    encode: Callable[[Chunk], Tensor], chunks: Sequence[Chunk]
) -> "tuple[list[Tensor], list[_RandomState]]":
    """Return each chunk's embeddings, and the random state that each began with."""
    embeddings, states = [], []
    with torch.no_grad():
        for chunk in chunks:
            states.append(_RandomState.now())
            embeddings.append(encode(chunk))
    return embeddings, states


def _carry_on(
    encode: Callable[[Chunk], Tensor],
    chunks: Sequence[Chunk],
    states: "Sequence[_RandomState]",
    leaf: Tensor,
    sizes: Sequence[int],
) -> None:
    """Encode each chunk again as the first time, with a graph, and send its rows' gradient down."""
    if leaf.grad is None:  # the loss does not look at these
        return
    # Under an autocast around us, older torch keeps the first pass's half-precision copies of the weights,
    # which have no graph, and the weights would silently get no gradients (pytorch#112583, GradCache#17).
    torch.clear_autocast_cache()
    for chunk, state, gradient in zip(chunks, states, torch.split(leaf.grad, list(sizes)), strict=True):
        with torch.enable_grad(), state.replayed():
            embeddings = encode(chunk)
        if not embeddings.requires_grad:  # a frozen tower
            return
        torch.autograd.backward(embeddings, gradient.to(embeddings.dtype))


@dataclass(frozen=True, slots=True)
class _RandomState:
    """Where torch's random numbers stand, on the processor and on every CUDA device in use."""

    cpu: Tensor
    cuda: tuple[Tensor, ...]

    @classmethod
    def now(cls) -> Self:
        in_use = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        return cls(torch.get_rng_state(), tuple(torch.cuda.get_rng_state_all()) if in_use else ())

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Begin with this state, and leave the numbers where they stood before."""
        before = type(self).now()
        self._restore()
        try:
            yield
        finally:
            before._restore()

    def _restore(self) -> None:
        torch.set_rng_state(self.cpu)
        if self.cuda:
            torch.cuda.set_rng_state_all(self.cuda)
