"""How each family reads words, where transformers' tokenizers leave it to the caller."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import transformers

from embedding.tokens import TokenReader
from tests.encoders import tiny_clip


@pytest.fixture
def tokenizer(tmp_path: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(tiny_clip(tmp_path))


def config(family: str, *, positions: int = 20, vocabulary: int = 768) -> Any:
    text = SimpleNamespace(max_position_embeddings=positions, vocab_size=vocabulary)
    return SimpleNamespace(model_type=family, text_config=text)


def test_siglip_reads_padding_to_the_full_length_at_the_end_and_no_mask(tokenizer: Any) -> None:
    tokenizer.padding_side = "left"
    tokens = TokenReader(tokenizer, config("siglip"), position_offset=0).read(["a dog", "red"])
    assert set(tokens) == {"input_ids"}
    assert tokens["input_ids"].shape == (2, 20)
    assert tokens["input_ids"][0, -1] == tokenizer.pad_token_id


def test_others_read_no_more_padding_than_the_longest_text_needs(tokenizer: Any) -> None:
    tokens = TokenReader(tokenizer, config("clip"), position_offset=0).read(["red circle", "red"])
    assert tokens["input_ids"].shape == (2, 4)
    assert tokens["attention_mask"].sum(dim=1).tolist() == [4, 3]


def test_siglip_2_reads_lower_case_alone(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.normalizer = None  # ours lowers by itself; Gemma's does not
    small = TokenReader(tokenizer, config("siglip"), position_offset=0)
    gemma = TokenReader(tokenizer, config("siglip", vocabulary=256_000), position_offset=0)
    assert not torch.equal(small.read(["Red DOG"])["input_ids"], small.read(["red dog"])["input_ids"])
    assert torch.equal(gemma.read(["Red DOG"])["input_ids"], gemma.read(["red dog"])["input_ids"])


def test_threads_share_a_tokenizer(tokenizer: Any) -> None:
    """A call sets the tokenizer's truncation and padding, which another thread's call must not see."""
    reader = TokenReader(tokenizer, config("clip"), position_offset=0)
    long = "red dog " * 300

    def ask(at: int) -> bool:
        return (
            reader.is_truncated(long) if at % 2 else reader.read([long, "red"])["input_ids"].shape == (2, 20)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(400)))


@pytest.mark.parametrize(
    ("positions", "offset", "tokenizer_says", "context"),
    [(77, 0, 10**30, 77), (514, 2, 10**30, 512), (514, 2, 77, 77), (512, 0, 512, 512)],
    ids=["CLIP", "RoBERTa", "AltCLIP", "BERT"],
)
def test_the_context_is_what_tower_and_tokenizer_both_take(
    positions: int, offset: int, tokenizer_says: int, context: int, tokenizer: Any
) -> None:
    tokenizer.model_max_length = tokenizer_says
    reader = TokenReader(tokenizer, config("clip", positions=positions), position_offset=offset)
    assert reader.context_length == context
    assert reader.read(["red dog " * 1000])["input_ids"].shape == (1, context)
