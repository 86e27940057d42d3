"""The contrastive loss, as a pure function."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

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
