"""The losses, as pure functions, and the one gather that lets them see a batch spread over processes."""

from typing import Any

import torch
import torch.distributed
from torch import Tensor
from torch.nn.functional import cross_entropy, logsigmoid, one_hot, softmax

MAX_LOGIT_SCALE = 100.0
"""What a training loop clamps exp(logit_scale) to after each step: above it CLIP's training became unstable
(Radford et al. 2021, section 2.5), and transformers' CLIPModel does not clamp by itself."""


def contrastive_loss(image_embeddings: Tensor, text_embeddings: Tensor, logit_scale: Tensor) -> Tensor:
    """Return the symmetric InfoNCE loss of n pairs: each text picks its image among n, each image its text.

    Args:
        image_embeddings: float (n, d), unit rows; row i belongs to row i of the texts, to no other.
        text_embeddings: float (n, d), unit rows.
        logit_scale: float (), the inverse temperature itself (not its logarithm), at most MAX_LOGIT_SCALE.

    Returns:
        float (), the mean of both directions in nats: log n when nothing is known, 0 when all is.

    Source: InfoNCE is van den Oord et al. 2018 (arXiv 1807.03748); the symmetric form is figure 3 of
    Radford et al. 2021 (arXiv 2103.00020).
    """
    logits = logit_scale * text_embeddings @ image_embeddings.T  # (n texts, n images)
    target = torch.arange(len(logits), device=logits.device)
    return (cross_entropy(logits, target) + cross_entropy(logits.T, target)) / 2


def multi_positive_loss(
    image_embeddings: Tensor, text_embeddings: Tensor, image_of_text: Tensor, logit_scale: Tensor
) -> Tensor:
    """Return the symmetric InfoNCE loss of n images and m texts, of which several may belong to one image.

    An image's targets are uniform over its texts, so that none of them counts as its negative; a text's only
    target is its image. With one text for each image, in order, this is contrastive_loss.

    Args:
        image_embeddings: float (n, d), unit rows. An image without a text is a negative, and asks nothing.
        text_embeddings: float (m, d), unit rows.
        image_of_text: int64 (m,), the row of each text's image.
        logit_scale: float (), the inverse temperature itself, at most MAX_LOGIT_SCALE.

    Returns:
        float (), in nats: the mean of the texts' mean and of the images' mean.

    Source: Yang et al. 2022 (UniCL, arXiv 2204.03610), with the images as labels; the mean over positives
    stands outside the logarithm, as in L_out of Khosla et al. 2020 (SupCon, arXiv 2004.11362).
    """
    logits = logit_scale * text_embeddings @ image_embeddings.T  # (m texts, n images)
    owned = _owned(image_of_text, logits)
    return _two_way_cross_entropy(logits, owned, _uniform_over_texts(owned), asks=owned.any(dim=0))


def distilled_loss(
    image_embeddings: Tensor,
    text_embeddings: Tensor,
    image_of_text: Tensor,
    logit_scale: Tensor,
    teacher_similarity: Tensor,
    *,
    weight: float,
    temperature: float,
) -> Tensor:
    """Return multi_positive_loss with a share of each target given to what a teacher finds alike.

    Targets are (1 - weight) · hard + weight · softmax(teacher_similarity / temperature), over the images for
    a text and over the texts for an image. So a false negative (a picture that a text describes as well, of
    which the captions file knows nothing) is not pushed away.

    Args:
        image_embeddings: float (n, d), unit rows.
        text_embeddings: float (m, d), unit rows.
        image_of_text: int64 (m,), the row of each text's image.
        logit_scale: float (), the inverse temperature of what is learnt, at most MAX_LOGIT_SCALE.
        teacher_similarity: float (m, n), the teacher's cosine similarity of texts (down) and images (across);
            no gradient reaches it.
        weight: the teacher's share of the targets, 0 to 1; 0 is multi_positive_loss.
        temperature: the teacher's own, above 0; its checkpoint's is 1 / exp(logit_scale).

    Returns:
        float (), in nats; not 0 at best, but the targets' entropy.

    Source: cross entropy to this mixture is, but for a constant, momentum distillation: section 3.3 of Li et
    al. 2021 (ALBEF, arXiv 2107.07651). A separate, frozen teacher for retrieval is from Huang et al. 2024
    (CUSA, arXiv 2403.05261).
    """
    logits = logit_scale * text_embeddings @ image_embeddings.T  # (m texts, n images)
    if teacher_similarity.shape != logits.shape:
        raise ValueError(
            f"teacher_similarity is {tuple(teacher_similarity.shape)}, texts × images {tuple(logits.shape)}"
        )
    if not 0 <= weight <= 1 or temperature <= 0:
        raise ValueError(f"weight is 0 to 1 and temperature above 0, not {weight} and {temperature}")
    owned = _owned(image_of_text, logits)
    teacher = teacher_similarity.detach().to(logits.dtype) / temperature
    return _two_way_cross_entropy(
        logits,
        torch.lerp(owned, softmax(teacher, dim=1), weight),
        torch.lerp(_uniform_over_texts(owned), softmax(teacher.T, dim=1), weight),
        asks=owned.any(dim=0),
    )


def sigmoid_loss(
    image_embeddings: Tensor,
    text_embeddings: Tensor,
    image_of_text: Tensor,
    logit_scale: Tensor,
    logit_bias: Tensor,
) -> Tensor:
    """Return SigLIP's loss: each text with each image is one question, do they belong together.

    -1/n · Σ_ij log σ(z_ij · (logit_scale · x_i · y_j + logit_bias)), z_ij being 1 for a text and its image
    and -1 for others: summed over the texts, the mean over the n images.

    Args:
        image_embeddings: float (n, d), unit rows.
        text_embeddings: float (m, d), unit rows.
        image_of_text: int64 (m,), the row of each text's image.
        logit_scale: float () or (1,), the inverse temperature itself, 10 to begin with.
        logit_bias: float () or (1,), -10 to begin with, since nearly all pairs are negatives.

    Returns:
        float (), in nats.

    Source: algorithm 1 of Zhai et al. 2023 (SigLIP, arXiv 2303.15343).
    """
    logits = logit_scale * text_embeddings @ image_embeddings.T + logit_bias  # (m texts, n images)
    belongs = 2 * _owned(image_of_text, logits) - 1
    return -logsigmoid(belongs * logits).sum() / len(image_embeddings)


def gather_across_processes(embeddings: Tensor) -> Tensor:
    """Return all processes' rows, in the order of their ranks; the embeddings themselves in one process.

    Every process must bring as many rows. A loss over gathered images and texts is the loss of the global
    batch, with all its negatives, alike in every process. image_of_text travels the same way, once rank ×
    (images a process) is added to it.

    Gradients pass. Since each of w processes computes the whole loss, the gradient that comes back to its
    own rows is their sum, w times the loss's; and the gradient of logit_scale is whole in each. Averaging
    parameters' gradients over the processes, as DistributedDataParallel and accelerate do, undoes exactly
    that: the outcome is the gradient that one process would get from the global batch. So neither multiply
    the loss by w nor divide it; and whoever reduces gradients by hand takes their mean, not their sum.

    Args:
        embeddings: (n, d) or (n,), of the same shape and type in all processes.

    Returns:
        (w · n, d) or (w · n,).
    """
    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return embeddings
    if torch.distributed.get_world_size() == 1:
        return embeddings
    gathered: Tensor = _AllGather.apply(embeddings)  # type: ignore[no-untyped-call]
    return gathered


class _AllGather(torch.autograd.Function):
    """All processes' rows one after another, and back: torch's own of this kind is deprecated since 2.13."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.n = len(rows)
        blocks = [torch.empty_like(rows) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(blocks, rows.contiguous())
        return torch.cat(blocks)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        torch.distributed.all_reduce(total)  # every process's loss saw these rows
        start = torch.distributed.get_rank() * ctx.n
        return total[start : start + ctx.n]


def _owned(image_of_text: Tensor, logits: Tensor) -> Tensor:
    """Return float (m texts, n images), like logits: 1 where the text belongs to the image, else 0."""
    return one_hot(image_of_text, num_classes=logits.shape[1]).to(logits.dtype)


def _uniform_over_texts(owned: Tensor) -> Tensor:
    """Return float (n images, m texts): rows that sum to 1 over an image's texts, or 0 if it has none."""
    return (owned / owned.sum(dim=0).clamp(min=1)).T


def _two_way_cross_entropy(
    logits: Tensor, targets_of_texts: Tensor, targets_of_images: Tensor, *, asks: Tensor
) -> Tensor:
    """Return the mean of both directions; bool asks (n images,) says which images count in theirs."""
    of_images = cross_entropy(logits.T, targets_of_images, reduction="none")
    mean_of_images = torch.where(asks, of_images, 0).sum() / asks.sum()
    return (cross_entropy(logits, targets_of_texts) + mean_of_images) / 2
