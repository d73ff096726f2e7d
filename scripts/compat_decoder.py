"""Make the small decoder checkpoints that ``make compat`` publishes and loads in every transformers release.

    python scripts/compat_decoder.py   # into runs/compat-decoder

Between them the weights of all five classes, none newly drawn at a load:
- decoder-words (DecoderForCausalLM, with a tokenizer): tied embeddings, shared keys, stretched rotary positions.
- decoder-classes (DecoderForSequenceClassification): every token sees all.
- decoder-tokens (DecoderForTokenClassification), decoder-answers (DecoderForQuestionAnswering): as by default.
"""

import shutil
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from decoder_model import modeling_decoder  # noqa: E402 (the checkout is found first)
from decoder_model.configuration_decoder import DecoderConfig  # noqa: E402

OUTPUT = ROOT / "runs" / "compat-decoder"
YARN = {"rope_type": "yarn", "factor": 2.0, "rope_theta": 5000.0, "original_max_position_embeddings": 32}
CHECKPOINTS = {
    "decoder-words": ("DecoderForCausalLM", {"tie_word_embeddings": True, "rope_parameters": YARN}),
    "decoder-classes": (
        "DecoderForSequenceClassification",
        # both classifiers call their layer `score`; transformers 5.2 draws no bias beside a weight that was loaded
        {"num_labels": 3, "use_bidirectional_attention": True, "token_classification_bias": False},
    ),
    "decoder-tokens": ("DecoderForTokenClassification", {"num_labels": 3}),
    "decoder-answers": ("DecoderForQuestionAnswering", {}),
}
TEXTS = ["A quick brown fox sleeps.", "Two lazy dogs, aged 3.5 years, are not quick at all!"] * 20


def tokenizer(texts: list[str], size: int, longest: int) -> PreTrainedTokenizerFast:
    """Pieces of bytes, so that every text comes back as it was; nothing is put around a text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<pad>", "<s>", "</s>"]
    made.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=size, special_tokens=special, initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=longest,
        model_input_names=["input_ids", "attention_mask"], clean_up_tokenization_spaces=False, padding_side="left",
    )  # fmt: skip


def config(**more) -> DecoderConfig:
    return DecoderConfig(
        vocab_size=288, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=6,
        num_key_value_heads=2, max_position_embeddings=64, pad_token_id=0, bos_token_id=1, eos_token_id=2, **more,
    )  # fmt: skip


def build(architecture: str, **more) -> torch.nn.Module:
    """A small model whose norms do something."""
    torch.manual_seed(0)
    model = getattr(modeling_decoder, architecture)(config(**more)).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(0, 0.1 if "norm" in name else 0.3)
    return model


def main(output: Path = OUTPUT) -> None:
    shutil.rmtree(output, ignore_errors=True)
    for name, (architecture, more) in CHECKPOINTS.items():
        build(architecture, **more).save_pretrained(output / name)
    tokenizer(TEXTS, 288, 64).save_pretrained(output / "decoder-words")
    print(f"{', '.join(CHECKPOINTS)} in {output.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
