"""Train a tokenizer on texts: WordPiece, BPE or Unigram, to the same result for the same texts."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pinfold.common.errors import UserError, first_line
from pinfold.tokenizer.corpus import HALVES

if TYPE_CHECKING:  # importing these takes a second, which --help need not wait for
    from tokenizers import AddedToken, Tokenizer
    from tokenizers.trainers import Trainer
    from transformers import PreTrainedTokenizerFast

KINDS = ("wordpiece", "bpe", "unigram")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token")
INPUTS = ["input_ids", "token_type_ids", "attention_mask"]
LARGEST = 10_000_000  # vocabulary; the trainers reserve memory for all of it, and end the process when there is none
Pipeline = Callable[["Tokenizer"], "Tokenizer"]  # gives a tokenizer its normalizer, pre-tokenizer and decoder
ALPHABET = 1000  # characters that WordPiece keeps of a text with more, the most frequent


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
) -> "PreTrainedTokenizerFast":
    """Train a tokenizer; returns a PreTrainedTokenizerFast. All of the text is held in memory.

    Args:
        kind: "wordpiece", "bpe" or "unigram".
        vocab_size: with special tokens and alphabet.
        special_tokens: extra ones; their ids start at 5.
        min_frequency: of a pair that is merged, by default 0; Unigram merges none.
        pre_tokenizer: of a BPE, "byte-level" (the default) or "whitespace"; with that, unseen characters are [UNK].
        at_most: take fewer tokens where the text can give no more.
        unk_token: "[UNK]", of a BPE with the pre-tokenizer "whitespace".

    Raises:
        UserError: no text, a vocabulary that is too small or more than the text can give, special tokens twice, an
            option that this kind does not have.
    """
    from transformers import PreTrainedTokenizerFast

    special = _special_tokens(special_tokens)
    if kind not in KINDS:
        raise UserError(f"kind={kind!r} is not known; use one of {', '.join(KINDS)}")
    _check_options(kind, min_frequency, pre_tokenizer, unk_token)
    texts = [texts] if isinstance(texts, str) else list(texts)
    _check_texts(texts)
    # only now the size: it is compared with the alphabet that the options above have chosen
    pipeline, alphabet = _pipeline(kind, lowercase, whitespace=pre_tokenizer == "whitespace")
    _check_size(vocab_size, len(special), len(alphabet))

    names = [str(token) for token in special]
    options = {"special_tokens": special, "show_progress": progress, "vocab_size": vocab_size}
    if kind == "bpe":
        trained = _train_bpe(pipeline, texts, alphabet, min_frequency or 0, options)
    elif kind == "wordpiece":
        trained = _train_wordpiece(pipeline, texts, names, vocab_size, min_frequency or 0, progress)
    else:
        trained = _train_unigram(pipeline, texts, names, options)
    trained.add_special_tokens(special)
    size = trained.get_vocab_size()
    if size > vocab_size:
        raise _too_small(vocab_size, size)
    if size < vocab_size and not at_most:
        raise UserError(
            f"--vocab-size={vocab_size} is more than this corpus can give: it gave {size}; use less, or more text"
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
    """Refuse an option that would change nothing."""
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


def _check_texts(texts: list[str]) -> None:
    if not any(text.strip() for text in texts):
        raise UserError("the corpus is empty: no text in what was given; give files with text")
    if half := next(filter(None, map(HALVES.search, texts)), None):
        raise UserError(f"the text holds {half[0]!r}, half of a character; write it whole, or leave it out")


def _check_size(vocab_size: int, special: int, alphabet: int) -> None:
    """Refuse a vocabulary without room for special tokens and alphabet, before minutes of training."""
    if type(vocab_size) is not int or vocab_size > LARGEST:
        raise UserError(f"--vocab-size={vocab_size} must be an integer up to {LARGEST}; use less, such as 8000")
    if vocab_size <= special:
        raise UserError(f"--vocab-size={vocab_size} has no room beside {special} special tokens; use more")
    if alphabet and vocab_size < special + alphabet:
        raise _too_small(vocab_size, special + alphabet)


def _too_small(vocab_size: int, least: int) -> UserError:
    return UserError(f"--vocab-size={vocab_size} is less than special tokens and alphabet, {least}; use more")


def _special_tokens(extra: Iterable[str]) -> list["AddedToken"]:
    """The five of BERT, then extra ones."""
    from tokenizers import AddedToken

    names = [*SPECIAL, *extra]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise UserError(f"--special-tokens: {', '.join(twice)} given twice ({', '.join(SPECIAL)} are there anyway)")
    if any(not name.strip() for name in names):
        raise UserError("--special-tokens: an empty one; a special token is a word such as <user>")
    # [MASK] takes the space before it along, as the word that it replaces does
    return [AddedToken(name, lstrip=name == "[MASK]", special=True, normalized=False) for name in names]


def _pipeline(kind: str, lowercase: bool, whitespace: bool) -> tuple[Pipeline, list[str]]:
    """A function that gives a tokenizer its normalizer, pre-tokenizer and decoder; and the alphabet it needs."""
    from tokenizers import decoders, normalizers, pre_tokenizers

    alphabet: list[str] = []
    lower = [normalizers.Lowercase()] if lowercase else []
    normalizer: normalizers.Normalizer
    pre_tokenizer: pre_tokenizers.PreTokenizer
    decoder: decoders.Decoder | None
    if kind == "wordpiece":
        normalizer = normalizers.BertNormalizer(lowercase=lowercase)
        pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        decoder = decoders.WordPiece()
    elif kind == "unigram":
        normalizer = normalizers.Sequence([normalizers.NFKC(), *lower])
        pre_tokenizer = pre_tokenizers.Metaspace()
        decoder = decoders.Metaspace()
    elif whitespace:
        normalizer = normalizers.Sequence([normalizers.NFC(), *lower])
        pre_tokenizer = pre_tokenizers.Whitespace()
        decoder = None  # nothing marks where a word begins: only the default, spaces between all tokens, is possible
    else:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        normalizer = normalizers.Sequence([normalizers.NFC(), *lower]) if lower else normalizers.NFC()
        pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        decoder = decoders.ByteLevel()

    def apply(tokenizer: "Tokenizer") -> "Tokenizer":
        tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = pre_tokenizer
        if decoder is not None:
            tokenizer.decoder = decoder
        return tokenizer

    return apply, alphabet


def _trained(tokenizer: "Tokenizer", texts: list[str], trainer: "Trainer") -> "Tokenizer":
    """Train in a second thread: inside the library nothing notices Ctrl-C, and a Unigram can take minutes."""
    errors: list[BaseException] = []
    stopped = threading.Event()

    def until_stopped() -> Iterator[str]:
        for text in texts:
            if stopped.is_set():  # a thread that asks for texts while Python ends would abort the process
                raise RuntimeError("stopped")
            yield text

    def work() -> None:
        try:
            tokenizer.train_from_iterator(until_stopped(), trainer, length=len(texts))
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


def _train_bpe(
    pipeline: Pipeline, texts: list[str], alphabet: list[str], min_frequency: int, options: dict[str, Any]
) -> "Tokenizer":
    from tokenizers import Tokenizer, models, trainers

    model = models.BPE(unk_token=None if alphabet else "[UNK]")  # bytes are an alphabet that knows every character
    trainer = trainers.BpeTrainer(initial_alphabet=alphabet, min_frequency=min_frequency, **options)
    return _trained(pipeline(Tokenizer(model)), texts, trainer)


def _train_wordpiece(
    pipeline: Pipeline, texts: list[str], names: list[str], vocab_size: int, min_frequency: int, progress: bool
) -> "Tokenizer":
    """Two passes: the trainer numbers "##x" in the order of a hash table, which differs from run to run and decides
    between merges that are equally frequent. The first pass finds these, the second gets them in order.
    """
    from tokenizers import Tokenizer, models, trainers

    def fresh(**options: Any) -> Tokenizer:
        return pipeline(Tokenizer(models.WordPiece(unk_token="[UNK]", **options)))

    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(text)
    frequent = sorted(counts, key=lambda character: (-counts[character], character))[:ALPHABET]
    normalizer = fresh().normalizer
    normal = "".join(map(normalizer.normalize_str, frequent))
    alphabet = sorted({character for character in normal if not character.isspace()})
    common = {"initial_alphabet": alphabet, "limit_alphabet": len(alphabet), "min_frequency": min_frequency}
    first = trainers.WordPieceTrainer(special_tokens=names, show_progress=False, vocab_size=1, **common)
    characters = _trained(fresh(), texts, first).get_vocab(with_added_tokens=False).keys() - set(names)
    first_ids = [*names, *sorted(characters, key=lambda token: (token.startswith("##"), token))]
    if len(first_ids) > vocab_size:
        raise _too_small(vocab_size, len(first_ids))
    second = trainers.WordPieceTrainer(
        special_tokens=first_ids, show_progress=progress, vocab_size=vocab_size, **common
    )
    vocabulary = _trained(fresh(), texts, second).get_vocab()
    return fresh(vocab=vocabulary)


def _train_unigram(pipeline: Pipeline, texts: list[str], names: list[str], options: dict[str, Any]) -> "Tokenizer":
    """The trainer sums in the order of a hash table: scores are rounded, and pieces put in order, to be the same."""
    from tokenizers import Tokenizer, models, trainers

    trainer = trainers.UnigramTrainer(unk_token="[UNK]", **options)
    try:
        trained = _trained(pipeline(Tokenizer(models.Unigram())), texts, trainer)
    except Exception as error:  # the library raises this class itself
        raise UserError(f"--vocab-size={options['vocab_size']}: unigram: {first_line(error)}; use another") from None
    scored = json.loads(trained.to_str())["model"]["vocab"]
    pairs = [(piece, score) for piece, score in scored if piece not in names]
    # characters that pruning removed are put back just above the lowest score, 0.0001 apart, in no fixed order
    floor = min(score for _, score in pairs)
    band = floor + 0.0001 * (1 + sum(len(piece) == 1 for piece, _ in pairs))
    rounded = [(p, round(floor if len(p) == 1 and s <= band else s, 4)) for p, s in pairs]
    rest = sorted(rounded, key=lambda item: (-item[1], item[0]))
    return pipeline(Tokenizer(models.Unigram([*((name, 0.0) for name in names), *rest], unk_id=1)))


def _template(trained: "Tokenizer") -> Any:
    from tokenizers.processors import TemplateProcessing

    return TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, trained.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )


def measure(tokenizer: "PreTrainedTokenizerFast", texts: list[str]) -> tuple[float, float]:
    """Bytes a token, and the part of the texts that decode to exactly what they were."""
    encoded = tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    size = sum(len(text.encode()) for text in texts)
    same = sum(tokenizer.decode(ids) == text for ids, text in zip(encoded, texts, strict=True))
    return size / max(1, sum(map(len, encoded))), same / len(texts)
