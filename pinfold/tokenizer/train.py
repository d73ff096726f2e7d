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
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError
from pinfold.fence.overlays import find_overlay
from pinfold.folder.tokenizer_files import TOKENIZER, portable_tokenizer
from pinfold.tokenizer.corpus import HALVES, decode, find_files, hold_out, pieces, read_bytes, read_dataset, read_texts
from pinfold.verify.matrix import choose

KINDS = ("wordpiece", "bpe", "unigram")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token")
INPUTS = ["input_ids", "token_type_ids", "attention_mask"]
LARGEST = 10_000_000  # vocabulary; the trainers reserve memory for all of it, and end the process when there is none
ALPHABET = 1000  # characters that WordPiece keeps of a text with more, the most frequent
SAMPLES = (
    "The quick brown fox, 1984.",
    "the [MASK] of a\tsentence [MASK].",
    "Caf\u00e9 \u2014 na\u00efve \u4f60\u597d \U0001f600\u200d\U0001f4bb",
    "def f(x):\n    return x  # two\n\n",
    "",
)
# runs in any transformers version; no code of the tokenizer's is executed
RELOAD = """
import json, sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=False)
texts = json.loads(sys.stdin.buffer.read())
print("ids:" + json.dumps([tokenizer(t)["input_ids"] for t in texts] + [dict(tokenizer(texts[0], texts[1]))]))
"""


def train(
    texts: Iterable[str],
    kind: str = "bpe",
    vocab_size: int = 8000,
    *,
    lowercase: bool = False,
    min_frequency: int | None = None,
    special_tokens: Iterable[str] = (),
    model_max_length: int = 512,
    pre_tokenizer: str | None = None,
    unk_token: str | None = None,
    progress: bool = False,
    at_most: bool = False,
) -> Any:
    """Train a tokenizer; returns a PreTrainedTokenizerFast. All of the text is held in memory.

    Args:
        kind: "wordpiece", "bpe" or "unigram".
        vocab_size: with special tokens and alphabet.
        special_tokens: further ones; they get the ids from 5 on.
        min_frequency: of a pair that is merged, by default 0; Unigram merges none.
        pre_tokenizer: of a BPE, "byte-level" (the default) or "whitespace"; with that, unseen characters are [UNK].
        at_most: take fewer tokens where the text can give no more.
        unk_token: "[UNK]", of a BPE with the pre-tokenizer "whitespace".

    Raises:
        UserError: no text, a vocabulary that is too small or more than the text can give, special tokens twice, an
            option that this kind does not have.
    """
    from tokenizers import Tokenizer, models, trainers
    from transformers import PreTrainedTokenizerFast

    special = _special_tokens(special_tokens)
    if kind not in KINDS:
        raise UserError(f"kind={kind!r} is not known; use one of {', '.join(KINDS)}")
    _check_options(kind, min_frequency, pre_tokenizer, unk_token)
    whitespace, min_frequency = pre_tokenizer == "whitespace", min_frequency or 0
    texts = [texts] if isinstance(texts, str) else list(texts)
    if not any(text.strip() for text in texts):
        raise UserError("the corpus is empty: no text in what was given; give files with text")
    if half := next(filter(None, map(HALVES.search, texts)), None):
        raise UserError(f"the text holds {half[0]!r}, half of a character; write it whole, or leave it out")
    names = [str(token) for token in special]
    if type(vocab_size) is not int or vocab_size > LARGEST:
        raise UserError(f"--vocab-size={vocab_size} must be an integer up to {LARGEST}; use less, such as 8000")
    if vocab_size <= len(names):
        raise UserError(f"--vocab-size={vocab_size} has no room beside {len(names)} special tokens; use more")

    pipeline, alphabet = _pipeline(kind, lowercase, whitespace)
    least = len(names) + len(alphabet)
    if alphabet and vocab_size < least:
        raise UserError(f"--vocab-size={vocab_size} is less than special tokens and alphabet, {least}; use more")
    options = {"special_tokens": special, "show_progress": progress, "vocab_size": vocab_size}
    if kind == "bpe":
        model = models.BPE(unk_token="[UNK]" if whitespace else None)
        trainer = trainers.BpeTrainer(initial_alphabet=alphabet, min_frequency=min_frequency, **options)
        trained = _trained(pipeline(Tokenizer(model)), texts, trainer)
    elif kind == "wordpiece":
        trained = _train_wordpiece(pipeline, texts, names, vocab_size, min_frequency, progress)
    else:
        trained = _train_unigram(pipeline, texts, names, options)
    trained.add_special_tokens(special)
    got = trained.get_vocab_size()
    if got > vocab_size:
        raise UserError(f"--vocab-size={vocab_size} is less than special tokens and alphabet, {got}; use more")
    if got < vocab_size and not at_most:
        raise UserError(
            f"--vocab-size={vocab_size} is more than this corpus can give: it gave {got}; use less, or more text"
        )
    trained.post_processor = _template(trained)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained,
        **dict(zip(ROLES, SPECIAL, strict=False)),
        mask_token=special[4],
        model_max_length=model_max_length,
        model_input_names=INPUTS,
        clean_up_tokenization_spaces=False,
        **({"additional_special_tokens": names[5:]} if names[5:] else {}),
    )


def _check_options(kind: str, min_frequency: int | None, pre_tokenizer: str | None, unk_token: str | None) -> None:
    """Refuse what was asked for and would change nothing."""
    if pre_tokenizer not in (None, "byte-level", "whitespace"):
        raise UserError(f"pre_tokenizer={pre_tokenizer!r} is not known; use byte-level or whitespace")
    if pre_tokenizer and kind != "bpe":
        raise UserError(f"--pre-tokenizer={pre_tokenizer} is for --kind bpe; {kind} has its own, leave it out")
    if min_frequency is not None and kind == "unigram":
        raise UserError(
            f"--min-frequency={min_frequency} is for --kind bpe and wordpiece; unigram merges no pairs, leave it out"
        )
    if unk_token not in (None, "[UNK]"):
        raise UserError(f"--unk-token={unk_token} cannot be changed; it is [UNK], with id 1")
    if unk_token and kind != "bpe":
        raise UserError(f"--unk-token={unk_token} is for --kind bpe; {kind} has [UNK] anyway, leave it out")
    if unk_token and pre_tokenizer != "whitespace":
        raise UserError(
            f"--unk-token={unk_token}: a byte-level BPE knows every character; leave it out, or use "
            "--pre-tokenizer whitespace"
        )


def _special_tokens(extra: Iterable[str]) -> list[Any]:
    """The five, and further ones."""
    from tokenizers import AddedToken

    names = [*SPECIAL, *extra]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"--special-tokens: {', '.join(twice)} given twice ({', '.join(SPECIAL)} are there anyway)")
    if any(not name.strip() for name in names):
        raise UserError("--special-tokens: an empty one; a special token is a word such as <user>")
    # [MASK] takes the space before it along, as the token that it stands for does
    return [AddedToken(name, lstrip=name == "[MASK]", special=True, normalized=False) for name in names]


def _pipeline(kind: str, lowercase: bool, whitespace: bool) -> tuple[Any, list[str]]:
    """A function that gives a tokenizer its normalizer, pre-tokenizer and decoder; and the alphabet it needs."""
    from tokenizers import decoders, normalizers, pre_tokenizers

    alphabet: list[str] = []
    lower = [normalizers.Lowercase()] if lowercase else []
    if kind == "wordpiece":
        normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        parts = normalizer, pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    elif kind == "unigram":
        parts = normalizers.Sequence([normalizers.NFKC(), *lower]), pre_tokenizers.Metaspace(), decoders.Metaspace()
    elif whitespace:
        # without a mark of where words begin, a decoder can only put spaces between all tokens: its own default
        parts = normalizers.Sequence([normalizers.NFC(), *lower]), pre_tokenizers.Whitespace(), None
    else:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        normalizer = normalizers.Sequence([normalizers.NFC(), *lower]) if lower else normalizers.NFC()
        parts = normalizer, pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()

    def apply(tokenizer: Any) -> Any:
        tokenizer.normalizer, tokenizer.pre_tokenizer = parts[:2]
        if parts[2] is not None:
            tokenizer.decoder = parts[2]
        return tokenizer

    return apply, alphabet


def _trained(tokenizer: Any, texts: list[str], trainer: Any) -> Any:
    """Train in a second thread: inside the library nothing notices Ctrl-C, and a Unigram can take minutes."""
    errors: list[BaseException] = []
    stopped = threading.Event()

    def wanted() -> Iterable[str]:
        for text in texts:
            if stopped.is_set():  # a thread that asks for texts while Python ends would abort the process
                raise RuntimeError("stopped")
            yield text

    def work() -> None:
        try:
            tokenizer.train_from_iterator(wanted(), trainer, length=len(texts))
        except BaseException as error:  # the library's own are of this class
            errors.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        thread.join()
    except BaseException:  # Ctrl-C, or the exit that SIGTERM asks for
        stopped.set()
        thread.join(1)
        raise
    if errors:
        raise errors[0]
    return tokenizer


def _train_wordpiece(
    pipeline: Any, texts: list[str], names: list[str], vocab_size: int, min_frequency: int, progress: bool
) -> Any:
    """Two passes: the trainer numbers "##x" in the order of a hash table, which differs from run to run and decides
    between merges that are equally frequent. The first pass finds these, the second gets them in order.
    """
    from tokenizers import Tokenizer, models, trainers

    def fresh(**options: Any) -> Any:
        return pipeline(Tokenizer(models.WordPiece(unk_token="[UNK]", **options)))

    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    kept = sorted(counts, key=lambda c: (-counts[c], c))[:ALPHABET]
    normalizer = fresh().normalizer
    alphabet = sorted({n for c in kept for n in normalizer.normalize_str(c) if not n.isspace()})
    common = {"initial_alphabet": alphabet, "limit_alphabet": len(alphabet), "min_frequency": min_frequency}
    first = trainers.WordPieceTrainer(special_tokens=names, show_progress=False, vocab_size=1, **common)
    found = _trained(fresh(), texts, first).get_vocab(with_added_tokens=False)
    first_ids = [*names, *sorted(set(found) - set(names), key=lambda token: (token.startswith("##"), token))]
    if len(first_ids) > vocab_size:
        raise UserError(
            f"--vocab-size={vocab_size} is less than special tokens and alphabet, {len(first_ids)}; use more"
        )
    second = trainers.WordPieceTrainer(
        special_tokens=first_ids, show_progress=progress, vocab_size=vocab_size, **common
    )
    vocabulary = _trained(fresh(), texts, second).get_vocab()
    return fresh(vocab=vocabulary)


def _train_unigram(pipeline: Any, texts: list[str], names: list[str], options: dict[str, Any]) -> Any:
    """The trainer sums in the order of a hash table: scores are rounded, and pieces put in order, to be the same."""
    from tokenizers import Tokenizer, models, trainers

    trainer = trainers.UnigramTrainer(unk_token="[UNK]", **options)
    try:
        trained = _trained(pipeline(Tokenizer(models.Unigram())), texts, trainer)
    except Exception as error:  # the library raises this class itself
        reason = (str(error).splitlines() or ["failed"])[0]
        raise UserError(f"--vocab-size={options['vocab_size']}: unigram: {reason}; use another") from None
    scored = json.loads(trained.to_str())["model"]["vocab"]
    pairs = [(piece, score) for piece, score in scored if piece not in names]
    # characters that pruning removed are put back just above the lowest score, 0.0001 apart, in no fixed order
    floor = min(score for _, score in pairs)
    band = floor + 0.0001 * (1 + sum(len(piece) == 1 for piece, _ in pairs))
    rounded = [(p, round(floor if len(p) == 1 and s <= band else s, 4)) for p, s in pairs]
    rest = sorted(rounded, key=lambda item: (-item[1], item[0]))
    return pipeline(Tokenizer(models.Unigram([*((name, 0.0) for name in names), *rest], unk_id=1)))


def _template(trained: Any) -> Any:
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, trained.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )


def save(tokenizer: Any, output: Path, overwrite: bool = False, versions: Iterable[str] = ()) -> list[str]:
    """Save a tokenizer in the form that transformers 4 and 5 read, after a reload gave the same ids.

    Args:
        versions: transformers releases to compare in as well; "newest" is this environment's, in a fresh process.

    Returns:
        The versions that were compared.

    Raises:
        UserError: something else is there, or a reload gave other ids; nothing is written then.
    """
    chosen = choose(list(versions))[0] if versions else []
    with new_directory(output, overwrite) as directory:
        write_portable(tokenizer, directory)
        check_reload(tokenizer, directory)
        for version in chosen:
            if reloaded(directory, version) != _ids(tokenizer):
                raise UserError(f"transformers {version} gives other ids than this one; nothing was written")
    return chosen


@contextmanager
def new_directory(output: Path, overwrite: bool = False) -> Any:
    """A directory that gets the name ``output`` when the block ends, and disappears when it fails.

    Raises:
        UserError: the output exists.
    """
    check_output(output, overwrite)
    output.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{output.name}.", dir=output.parent))
    try:
        directory = work / "new"
        directory.mkdir()
        yield directory
        check_output(output, overwrite)
        if output.exists():
            output.rename(work / "old")
        try:
            directory.rename(output)
        except OSError:
            if (work / "old").exists():
                (work / "old").rename(output)
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)


def check_output(output: Path, overwrite: bool, replace: str = ", or replace it by --overwrite") -> None:
    """Raises:
    UserError: the output is a file or below one, or a directory that holds something or that we are in.
    """
    if output.is_symlink() and not output.exists():
        raise UserError(f"{output}: a link to nothing; choose another --output")
    if below := [path for path in output.parents if path.exists() and not path.is_dir()]:
        raise UserError(f"{output}: {below[0]} is a file, so nothing can be below it; choose another --output")
    if output.resolve() in (Path.cwd(), *Path.cwd().parents):  # a directory that is replaced leaves a shell in it lost
        raise UserError(f"{output}: the directory you are in, or one above it; name a new one")
    if output.exists() and not output.is_dir():
        raise UserError(f"{output}: a file; --output is a directory, choose a new one")
    held = {path.name for path in output.iterdir()} if output.is_dir() else set()
    if held and (held - set(TOKENIZER) or "tokenizer.json" not in held):
        raise UserError(f"{output}: holds files of something else; choose a directory that is new or empty")
    if held and not overwrite:
        raise UserError(f"{output}: a tokenizer is there; choose another --output{replace}")


def write_portable(tokenizer: Any, directory: Path) -> None:
    """save_pretrained, with the names that every release knows."""
    tokenizer.save_pretrained(directory)
    path = directory / "tokenizer_config.json"
    config = portable_tokenizer(json.loads(path.read_text(encoding="utf-8")))
    config["model_input_names"] = list(tokenizer.model_input_names)  # defaults differ between releases and classes
    path.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def check_reload(tokenizer: Any, directory: Path) -> None:
    """Raises:
    UserError: AutoTokenizer gives other ids.
    """
    from transformers import AutoTokenizer

    if _ids(AutoTokenizer.from_pretrained(directory, trust_remote_code=False)) != _ids(tokenizer):
        raise UserError("the saved tokenizer gives other ids than the one in memory; nothing was written")


def _ids(tokenizer: Any) -> list[Any]:
    return [*(tokenizer(text)["input_ids"] for text in SAMPLES), dict(tokenizer(SAMPLES[0], SAMPLES[1]))]


def reloaded(directory: Path, version: str) -> list[Any]:
    """The ids of the samples in another transformers version, in a fresh process without network or token.

    Raises:
        UserError: it cannot be loaded there.
    """
    overlay = find_overlay(version)
    with tempfile.TemporaryDirectory(prefix="pinfold-") as home:
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "SYSTEMROOT", "LD_LIBRARY_PATH")}
        environment = kept | {"HOME": home, "HF_HOME": home, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        environment |= {"PYTHONPATH": str(overlay)} if overlay else {}
        done = subprocess.run(
            [sys.executable, "-c", RELOAD, str(directory.absolute())],
            input=json.dumps(SAMPLES).encode(), capture_output=True, env=environment, cwd=home,
        )  # fmt: skip
    answers = [line for line in done.stdout.decode().splitlines() if line.startswith("ids:")]
    if done.returncode or not answers:
        reason = (done.stderr.decode(errors="replace").strip().splitlines() or ["no answer"])[-1]
        raise UserError(f"loading in transformers {version} failed: {reason[:300]}; nothing was written")
    return json.loads(answers[-1].removeprefix("ids:"))


def measure(tokenizer: Any, texts: list[str]) -> tuple[float, float]:
    """Bytes a token, and the part of the texts that decode to exactly what they were."""
    encoded = tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    size = sum(len(text.encode()) for text in texts)
    same = sum(tokenizer.decode(ids) == text for ids, text in zip(encoded, texts, strict=True))
    return size / max(1, sum(map(len, encoded))), same / len(texts)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of the verb."""
    from pinfold.train.run import number

    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("train", help="train a tokenizer on text").add_argument
    add(
        "inputs", nargs="*", metavar="TEXT", help="files, globs, directories of .txt, .jsonl/.csv/.tsv, or - for stdin"
    )
    add("--output", required=True, type=Path, help="directory for the tokenizer")
    add("--kind", choices=KINDS, default="bpe", help="default bpe")
    add("--vocab-size", type=number(int, 1), default=8000, help="default 8000")
    add("--lowercase", action=argparse.BooleanOptionalAction, default=False, help="default: cased")
    add("--cased", dest="lowercase", action="store_false", help="keep capitals (the default)")
    add("--min-frequency", type=number(int, 0), help="of a pair that is merged; default 0; not of unigram")
    add("--special-tokens", nargs="+", default=[], metavar="TOKEN", help="further ones, ids from 5 on")
    add("--model-max-length", type=number(int, 4), default=512, help="default 512")
    add("--pre-tokenizer", choices=("byte-level", "whitespace"), help="of a BPE; default byte-level")
    add("--unk-token", metavar="[UNK]", help="what an unseen character is with --pre-tokenizer whitespace")
    add("--column", help="the text of a table or data set; found where one is obvious")
    add("--dataset", metavar="NAME", help="a data set for the package datasets")
    add("--config", metavar="NAME", help="the data set's configuration")
    add("--split", help="the data set's split, default train")
    add("--held-out", default="0.05", metavar="PART|FILE", help="text to measure on, never trained on; default 0.05")
    add("--versions", nargs="+", default=[], metavar="VERSION", help="compare in these, such as 4.48.3; or minimum")
    add("--overwrite", action="store_true", help="replace the tokenizer in --output")
    add = actions.add_parser("add", help="add tokens to a tokenizer, and rows to a model").add_argument
    add("tokenizer", type=Path, metavar="TOKENIZER_DIR")
    add("tokens", nargs="+", metavar="TOKEN")
    add("--output", required=True, type=Path, help="directory for what comes of it")
    add("--checkpoint", type=Path, help="a model whose embeddings get rows for them")
    add("--folder", type=Path, help="the model folder with the checkpoint's code; it is executed")
    add("--pad-to-multiple-of", type=number(int, 1), help="such as 8, for the rows")


def main(args: argparse.Namespace) -> int:
    """Train or add, and print what came of it."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    if args.action == "add":
        from pinfold.tokenizer.add import add_tokens

        print(
            add_tokens(args.tokenizer, args.tokens, args.output, args.checkpoint, args.folder, args.pad_to_multiple_of)
        )
        return 0
    if bool(args.inputs) == bool(args.dataset):
        raise UserError("give text to train on: files, globs, directories or -; or else --dataset NAME")
    for option in ("config", "split"):
        if not args.dataset and (value := getattr(args, option)) is not None:
            raise UserError(f"--{option}={value} is of a data set; give one by --dataset, or leave it out")
    check_output(args.output, args.overwrite)
    if args.versions:
        choose(args.versions)
    fraction, held = _held_out(args.held_out)
    if args.dataset:
        texts = list(read_dataset(args.dataset, args.config, args.split or "train", args.column))
    else:
        texts = list(read_texts(find_files(args.inputs), args.column))
    part, rest = hold_out(texts, fraction)
    where = "held-out text" if rest or held else "the training text (too little to hold out)"
    started = time.monotonic()
    tokenizer = train(
        part, args.kind, args.vocab_size, lowercase=args.lowercase, min_frequency=args.min_frequency,
        special_tokens=args.special_tokens, model_max_length=args.model_max_length,
        pre_tokenizer=args.pre_tokenizer, unk_token=args.unk_token, progress=sys.stderr.isatty(),
    )  # fmt: skip
    seconds = time.monotonic() - started
    compared = save(tokenizer, args.output, args.overwrite, args.versions)
    ratio, same = measure(tokenizer, held or rest or part)
    size = sum(len(text.encode()) for text in part)
    print(f"{args.kind}, {len(tokenizer)} tokens from {size / 1e6:.1f} MB of text  [{seconds:.1f} s]")
    print(f"{ratio:.2f} bytes a token and {same:.1%} of pieces unchanged by encoding and decoding, on {where}")
    print("reloaded with AutoTokenizer: same ids" + (f", also in transformers {', '.join(compared)}" * bool(compared)))
    print(f"wrote {args.output}")
    return 0


def _held_out(given: str) -> tuple[float, list[str]]:
    """--held-out as a fraction, or as the pieces of a file."""
    try:
        fraction = float(given)
    except ValueError:
        path = Path(given)
        if not path.is_file():
            raise UserError(f"--held-out={given} must be a part from 0 to 0.5, or a file of text") from None
        held = list(pieces(decode(read_bytes(path), given)))
        if not any(piece.strip() for piece in held):
            raise UserError(f"--held-out={given}: an empty file; give one with text") from None
        return 0.0, held
    if not 0 <= fraction <= 0.5:
        raise UserError(f"--held-out={given} must be a part from 0 to 0.5, or a file of text")
    return fraction, []
