"""Words to token ids, as each family of dual encoders was trained to read them."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any

from torch import Tensor

# Trained on texts padded to the full length and without a mask: the padding is read too, so it must be there.
# https://github.com/mlfoundations/open_clip/issues/984, https://huggingface.co/docs/transformers/model_doc/siglip
_FIXED_LENGTH_FAMILIES = {"siglip", "siglip2"}
# SigLIP 2 has Gemma's vocabulary and saw lower case alone; transformers' tokenizer lowers it for NaFlex only.
# https://github.com/huggingface/transformers/pull/43101
_GEMMA_VOCABULARY = 256_000


class TokenReader:
    """A tokenizer with its family's habits; any number of threads may use it."""

    def __init__(self, tokenizer: Any, config: Any, *, position_offset: int) -> None:
        """Take transformers' tokenizer and the dual encoder's configuration.

        Args:
            tokenizer: a fast tokenizer.
            config: the whole model's; its text_config knows how many positions there are.
            position_offset: how many of those positions are never a token's (RoBERTa's towers start late).
        """
        self.context_length: int = min(
            config.text_config.max_position_embeddings - position_offset,
            tokenizer.model_max_length,  # 1e30 where the tokenizer does not know
        )
        """Tokens that the text tower reads, its start and end tokens among them."""
        self.tokenizer = tokenizer
        """transformers' own."""
        self._fixed_length = config.model_type in _FIXED_LENGTH_FAMILIES
        self._lower_case = self._fixed_length and config.text_config.vocab_size >= _GEMMA_VOCABULARY
        self._lock = Lock()  # a call sets the truncation of the tokenizer that all threads share
        if self._fixed_length:
            tokenizer.padding_side = "right"

    def read(self, texts: Sequence[str]) -> Mapping[str, Tensor]:
        """Return what the text tower takes, int64 (n, tokens): padded to the longest text, or as trained.

        Raises:
            ValueError: a text is no valid Unicode.
        """
        padding = "max_length" if self._fixed_length else True
        tokens = self._tokenize(texts, self.context_length, padding=padding, return_tensors="pt")
        return {"input_ids": tokens["input_ids"]} if self._fixed_length else dict(tokens)

    def is_truncated(self, text: str) -> bool:
        """Say whether the text has more tokens than the context; no further than one more is looked."""
        tokens = self._tokenize([text], self.context_length + 1)
        return len(tokens["input_ids"][0]) > self.context_length

    def _tokenize(self, texts: Sequence[str], length: int, **settings: object) -> Any:
        checked = [_valid(text) for text in texts]
        if self._lower_case:
            checked = [text.lower() for text in checked]
        with self._lock:
            return self.tokenizer(checked, truncation=True, max_length=length, **settings)


def _valid(text: str) -> str:
    """Return the text, if it has a UTF-8 form: half an emoji, as JSON may carry it, has none."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"the text is no valid Unicode: half a character (a lone surrogate) at position {error.start}"
        ) from None
    return text
