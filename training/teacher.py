"""How alike captions are, as the text tower found them before training: soft targets for like scenes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from training.photos import CaptionedPhoto
from training.towers import DualTowers

TEXTS_AT_ONCE = 256


class CaptionTeacher:
    """Every training caption's vector by the start's text tower, computed once and kept."""

    def __init__(self, towers: DualTowers, photos: Sequence[CaptionedPhoto]) -> None:
        """Encode all captions.

        A tower that never met pictures is asked for its tokens' mean, as sentence encoders are (Reimers and
        Gurevych 2019, arXiv 1908.10084), any other for its embedding.
        """
        texts = [caption for photo in photos for caption in photo.captions]
        counts = torch.tensor([len(photo.captions) for photo in photos])
        self._first = counts.cumsum(0) - counts
        self._captions = _encode(towers, texts)
        sums = torch.zeros(len(photos), self._captions.shape[1])
        sums.index_add_(0, torch.arange(len(photos)).repeat_interleave(counts), self._captions.float())
        self._photos = normalize(sums, dim=-1)

    def similarity(self, pairs: Tensor, texts_per_photo: int, accelerator: Any) -> Tensor:
        """Return float32 (M, N): cosine of each caption of the step to each photo's mean caption.

        Args:
            pairs: this process's int64 (m, 2), photo and caption; a photo's captions follow each other. M and
                N count the captions and the photos of all processes.
            texts_per_photo: how many follow each other.
            accelerator: accelerate's.
        """
        everywhere = accelerator.gather(pairs.to(accelerator.device)).cpu()
        photos = everywhere[::texts_per_photo, 0]
        captions = self._captions[self._first[everywhere[:, 0]] + everywhere[:, 1]].float()
        return (captions @ self._photos[photos].T).to(accelerator.device)


@torch.inference_mode()
def _encode(towers: DualTowers, texts: list[str]) -> Tensor:
    """Return float16 (texts, d), unit rows."""
    model = towers.model.eval()
    order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
    device = next(model.parameters()).device
    rows: list[Tensor] = []
    for at in range(0, len(order), TEXTS_AT_ONCE):
        tokens = towers.tokens.read([texts[index] for index in order[at : at + TEXTS_AT_ONCE]])
        tokens = {name: tensor.to(device) for name, tensor in tokens.items()}
        if towers.joined:
            hidden = model.text_model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][:, :, None]
            rows.append(normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1).cpu().half())
        else:
            rows.append(towers.embed_texts(tokens).cpu().half())
    encoded = torch.cat(rows)
    back = torch.empty(len(texts), dtype=torch.int64)
    back[torch.tensor(order)] = torch.arange(len(texts))
    return encoded[back]
