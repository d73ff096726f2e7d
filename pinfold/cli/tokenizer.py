"""Train a tokenizer on your own text, or add tokens to one.

    pinfold tokenizer train corpus/ --output runs/tokenizer
    pinfold tokenizer train 'src/**/*.py' --kind wordpiece --lowercase --vocab-size 4000 --output runs/tokenizer
    pinfold tokenizer add runs/tokenizer '<code>' --output runs/wider

- WordPiece, byte-level BPE (the default: every text comes back as it was, up to Unicode's NFC) and Unigram.
- [PAD] 0, [UNK] 1, [CLS] 2, [SEP] 3, [MASK] 4, then your own special tokens; "[CLS] A [SEP]", "[CLS] A [SEP] B [SEP]".
- What is saved is PreTrainedTokenizerFast, which transformers 4 and 5 read to the same ids; it is reloaded and
  compared before it gets its name. The same text gives the same files.
"""

import argparse
import sys
import time
from pathlib import Path

from pinfold.cli.parser import add_action, number
from pinfold.common.errors import UserError
from pinfold.tokenizer.add import add_tokens
from pinfold.tokenizer.corpus import decode, find_files, hold_out_evenly, pieces, read_bytes, read_dataset, read_texts
from pinfold.tokenizer.save import check_output, save
from pinfold.tokenizer.train import KINDS, measure, train
from pinfold.verify.matrix import choose


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of the verb."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    train_parser = add_action(
        actions, "train", "train a tokenizer on text", "tokenizer train corpus/ --output runs/tokenizer"
    )
    add = train_parser.add_argument
    add(
        "inputs", nargs="*", metavar="TEXT", help="files, globs, directories of .txt, .jsonl/.csv/.tsv, or - for stdin"
    )
    add("--output", required=True, type=Path, help="directory for the tokenizer")
    add("--kind", choices=KINDS, default="bpe", help="default bpe")
    add("--vocab-size", type=number(int, 1), default=8000, help="default 8000")
    case = train_parser.add_mutually_exclusive_group()
    case.add_argument(
        "--lowercase", action=argparse.BooleanOptionalAction, default=False, help="lowercase the text (default: no)"
    )
    case.add_argument("--cased", dest="lowercase", action="store_false", help="same as --no-lowercase")
    add(
        "--min-frequency",
        type=number(int, 0),
        help="merge only pairs that occur at least this often; default 0; not for unigram",
    )
    add("--special-tokens", nargs="+", default=[], metavar="TOKEN", help="extra special tokens (ids start at 5)")
    add("--model-max-length", type=number(int, 4), default=512, help="default 512")
    add("--pre-tokenizer", choices=("byte-level", "whitespace"), help="for --kind bpe; default byte-level")
    add("--unk-token", metavar="[UNK]", help="token for unknown characters (only with --pre-tokenizer whitespace)")
    add("--column", help="column with the text (default: auto-detected)")
    add("--dataset", metavar="NAME", help="a data set of the Hub, loaded with the package datasets")
    add("--config", metavar="NAME", help="with --dataset: its configuration")
    add("--split", help="with --dataset: its split, default train")
    add(
        "--held-out",
        default="0.05",
        metavar="FRACTION|FILE",
        help="fraction of the text, or a file, to measure on and not train on; default 0.05",
    )
    add(
        "--versions",
        nargs="+",
        default=[],
        metavar="VERSION",
        help="also compare in these transformers releases, such as 4.48.3, or minimum",
    )
    add("--overwrite", action="store_true", help="replace the tokenizer in --output")
    example = "tokenizer add runs/tokenizer '<code>' --output runs/wider"
    add = add_action(actions, "add", "add tokens to a tokenizer, and rows to a model", example).add_argument
    add("tokenizer", type=Path, metavar="TOKENIZER_DIR", help="a saved tokenizer")
    add("tokens", nargs="+", metavar="TOKEN", help="tokens to add")
    add("--output", required=True, type=Path, help="output directory")
    add("--checkpoint", type=Path, help="a model whose embeddings get rows for the new tokens")
    add("--folder", type=Path, help="the model folder with the checkpoint's code; it is executed")
    add("--pad-to-multiple-of", metavar="N", type=number(int, 1), help="pad the vocabulary to a multiple of N")


def main(args: argparse.Namespace) -> int:
    """Train a tokenizer or add tokens to one, and print the result."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    if args.action == "add":
        print(
            add_tokens(args.tokenizer, args.tokens, args.output, args.checkpoint, args.folder, args.pad_to_multiple_of)
        )
        return 0
    if bool(args.inputs) == bool(args.dataset):
        raise UserError("give text to train on: files, globs, directories or -; or else --dataset NAME")
    for option in ("config", "split"):
        if not args.dataset and (value := getattr(args, option)) is not None:
            raise UserError(f"--{option}={value} is for a data set; name one with --dataset, or leave it out")
    check_output(args.output, args.overwrite)
    if args.versions:
        choose(args.versions)
    fraction, measured_on = _held_out(args.held_out)
    if args.dataset:
        texts = list(read_dataset(args.dataset, args.config, args.split or "train", args.column))
    else:
        texts = list(read_texts(find_files(args.inputs), args.column))
    trained_on, rest = hold_out_evenly(texts, fraction)
    where = "held-out text" if rest or measured_on else "the training text (too little to hold out)"
    started = time.monotonic()
    tokenizer = train(
        trained_on, args.kind, args.vocab_size, lowercase=args.lowercase, min_frequency=args.min_frequency,
        special_tokens=args.special_tokens, model_max_length=args.model_max_length,
        pre_tokenizer=args.pre_tokenizer, unk_token=args.unk_token, progress=sys.stderr.isatty(),
    )  # fmt: skip
    seconds = time.monotonic() - started
    compared = save(tokenizer, args.output, args.overwrite, args.versions)
    bytes_a_token, unchanged = measure(tokenizer, measured_on or rest or trained_on)
    size = sum(len(text.encode()) for text in trained_on)
    print(f"{args.kind}, {len(tokenizer)} tokens from {size / 1e6:.1f} MB of text  [{seconds:.1f} s]")
    print(
        f"{bytes_a_token:.2f} bytes a token and {unchanged:.1%} of pieces unchanged by encoding and decoding, "
        f"on {where}"
    )
    print("reloaded with AutoTokenizer: same ids" + (f", also in transformers {', '.join(compared)}" * bool(compared)))
    print(f"wrote {args.output}")
    return 0


def _held_out(option: str) -> tuple[float, list[str]]:
    """--held-out as a fraction, or as the pieces of a file."""
    try:
        fraction = float(option)
    except ValueError:
        path = Path(option)
        if not path.is_file():
            raise UserError(f"--held-out={option} must be a fraction from 0 to 0.5, or a file of text") from None
        texts = list(pieces(decode(read_bytes(path), option)))
        if not any(piece.strip() for piece in texts):
            raise UserError(f"--held-out={option}: an empty file; give one with text") from None
        return 0.0, texts
    if not 0 <= fraction <= 0.5:
        raise UserError(f"--held-out={option} must be a fraction from 0 to 0.5, or a file of text")
    return fraction, []
