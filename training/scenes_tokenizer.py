"""The tokenizer of the drawn world's encoder: byte-level BPE, learnt from the captions that it will read."""

from collections.abc import Iterable

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.normalizers import NFC, Lowercase, Sequence
from tokenizers.pre_tokenizers import ByteLevel, Whitespace
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<begin>", "<end>"
SPECIAL_TOKENS = [PAD, UNKNOWN, BEGIN, END]
"""In the order of their ids. END must not be 2: transformers takes that for the mark of old CLIP checkpoints
and then reads the text's embedding at its largest id instead of at its end."""
MAX_VOCABULARY = 1000


def train_tokenizer(texts: Iterable[str], *, context: int) -> PreTrainedTokenizerFast:
    """Return a transformers tokenizer that writes <begin> … <end> and cuts at `context` tokens.

    It reads NFC and lower case, whatever it is given, and splits a word that it never saw into pieces, at
    worst into bytes: nothing is unknown to it. The same texts give the same tokenizer.
    """
    tokenizer = Tokenizer(BPE(unk_token=UNKNOWN))
    tokenizer.normalizer = Sequence([NFC(), Lowercase()])
    tokenizer.pre_tokenizer = PreTokenizers(
        [Whitespace(), ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=MAX_VOCABULARY,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = TemplateProcessing(
        single=f"{BEGIN} $A {END}",
        special_tokens=[(token, tokenizer.token_to_id(token)) for token in (BEGIN, END)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=context,
        pad_token=PAD,
        unk_token=UNKNOWN,
        bos_token=BEGIN,
        eos_token=END,
    )
