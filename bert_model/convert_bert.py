"""Convert a BERT of transformers, or of Google's TensorFlow code, to a checkpoint of this folder.

    python bert_model/convert_bert.py google-bert/bert-base-uncased runs/bert
    python bert_model/convert_bert.py --tf_checkpoint_path uncased_L-2_H-128_A-2/bert_model.ckpt \\
        --bert_config_file uncased_L-2_H-128_A-2/bert_config.json --vocab_file uncased_L-2_H-128_A-2/vocab.txt \\
        --output runs/bert-tiny

- The names of the weights and the fields of the configuration stay; what old files call gamma and beta is renamed.
- The class is the one that the source declares, with its head; what it has no place for is listed.
- The tokenizer becomes a PreTrainedTokenizerFast, which transformers 4 and 5 read alike.
- The written files are loaded again, and must give the outputs of transformers' own class bit for bit, and the ids of
  the tokenizer that it had; else nothing is left behind.
"""

import argparse
import hashlib
import json
import logging
import os
import pickle
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NoReturn

import numpy as np
import torch
import transformers
import yaml
from huggingface_hub import snapshot_download
from huggingface_hub.constants import HF_HUB_DISABLE_PROGRESS_BARS
from huggingface_hub.utils import enable_progress_bars
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoTokenizer, BertConfig, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

if not __package__:  # run as a script: let it find its siblings, from whatever directory it is called
    __package__ = Path(__file__).resolve().parent.name
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from . import modeling_bert
from .configuration_bert import BERTConfig

CLASSES = {  # transformers' name: ours, and the Auto class that finds it
    "BertModel": ("BERTModel", "AutoModel"),
    "BertForPreTraining": ("BERTForPreTraining", "AutoModelForPreTraining"),
    "BertForMaskedLM": ("BERTForMaskedLM", "AutoModelForMaskedLM"),
    "BertForNextSentencePrediction": ("BERTForNextSentencePrediction", "AutoModelForNextSentencePrediction"),
    "BertForSequenceClassification": ("BERTForSequenceClassification", "AutoModelForSequenceClassification"),
    "BertForMultipleChoice": ("BERTForMultipleChoice", "AutoModelForMultipleChoice"),
    "BertForTokenClassification": ("BERTForTokenClassification", "AutoModelForTokenClassification"),
    "BertForQuestionAnswering": ("BERTForQuestionAnswering", "AutoModelForQuestionAnswering"),
}
AUTO_MAP = {
    "AutoConfig": "configuration_bert.BERTConfig",
    **{auto: f"modeling_bert.{ours}" for ours, auto in CLASSES.values()},
}
NOT_OURS = {"BertLMHeadModel": "it writes from left to right, and the classes of this folder read in both directions"}
HEADS = ("cls.predictions.", "cls.seq_relationship.", "qa_outputs.", "classifier.")
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")  # counted anew by the model
TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
RUNTIME = (  # fields of config.json that describe the file, the session or a decoder, not the network
    *("_attn_implementation", "_name_or_path", "add_cross_attention", "architectures", "attn_implementation"),
    *("auto_map", "custom_pipelines", "dtype", "gradient_checkpointing", "is_decoder", "model_type"),
    *("output_attentions", "output_hidden_states", "return_dict"),
    *("tokenizer_class", "torch_dtype", "transformers_version", "use_cache"),
)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
SMALL_FILES = ["config.json", "README.md", "tokenizer*", "vocab.txt", "special_tokens_map.json", "added_tokens.json"]
SENTENCE_FILES = ["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"]
SPECIAL = ("unk_token", "sep_token", "pad_token", "cls_token", "mask_token", "bos_token", "eos_token")
SENTENCES = [
    "The quick brown fox jumps over the lazy dog.",
    "Ünïcödé naïve café, 1,234.5% of McDonald's; don't!",
    "東京で寿司を食べました。 Привет, мир! ¿Qué tal? مرحبا",
    "[MASK] is an unaffable [MASK], isn't it? 🙂 antidisestablishmentarianism",
    " \t white\u00a0space\n and\u200bcontrol \x00 characters  ",
    "",
]
TENSORFLOW = {  # Google's names and ours; kernels are stored (in, out), and {} is the number of a layer
    "bert/embeddings/word_embeddings": "bert.embeddings.word_embeddings.weight",
    "bert/embeddings/position_embeddings": "bert.embeddings.position_embeddings.weight",
    "bert/embeddings/token_type_embeddings": "bert.embeddings.token_type_embeddings.weight",
    "bert/embeddings/LayerNorm/gamma": "bert.embeddings.LayerNorm.weight",
    "bert/embeddings/LayerNorm/beta": "bert.embeddings.LayerNorm.bias",
    "bert/encoder/layer_{}/attention/self/query/kernel": "bert.encoder.layer.{}.attention.self.query.weight",
    "bert/encoder/layer_{}/attention/self/query/bias": "bert.encoder.layer.{}.attention.self.query.bias",
    "bert/encoder/layer_{}/attention/self/key/kernel": "bert.encoder.layer.{}.attention.self.key.weight",
    "bert/encoder/layer_{}/attention/self/key/bias": "bert.encoder.layer.{}.attention.self.key.bias",
    "bert/encoder/layer_{}/attention/self/value/kernel": "bert.encoder.layer.{}.attention.self.value.weight",
    "bert/encoder/layer_{}/attention/self/value/bias": "bert.encoder.layer.{}.attention.self.value.bias",
    "bert/encoder/layer_{}/attention/output/dense/kernel": "bert.encoder.layer.{}.attention.output.dense.weight",
    "bert/encoder/layer_{}/attention/output/dense/bias": "bert.encoder.layer.{}.attention.output.dense.bias",
    "bert/encoder/layer_{}/attention/output/LayerNorm/gamma": (
        "bert.encoder.layer.{}.attention.output.LayerNorm.weight"
    ),
    "bert/encoder/layer_{}/attention/output/LayerNorm/beta": "bert.encoder.layer.{}.attention.output.LayerNorm.bias",
    "bert/encoder/layer_{}/intermediate/dense/kernel": "bert.encoder.layer.{}.intermediate.dense.weight",
    "bert/encoder/layer_{}/intermediate/dense/bias": "bert.encoder.layer.{}.intermediate.dense.bias",
    "bert/encoder/layer_{}/output/dense/kernel": "bert.encoder.layer.{}.output.dense.weight",
    "bert/encoder/layer_{}/output/dense/bias": "bert.encoder.layer.{}.output.dense.bias",
    "bert/encoder/layer_{}/output/LayerNorm/gamma": "bert.encoder.layer.{}.output.LayerNorm.weight",
    "bert/encoder/layer_{}/output/LayerNorm/beta": "bert.encoder.layer.{}.output.LayerNorm.bias",
    "bert/pooler/dense/kernel": "bert.pooler.dense.weight",
    "bert/pooler/dense/bias": "bert.pooler.dense.bias",
    "cls/predictions/transform/dense/kernel": "cls.predictions.transform.dense.weight",
    "cls/predictions/transform/dense/bias": "cls.predictions.transform.dense.bias",
    "cls/predictions/transform/LayerNorm/gamma": "cls.predictions.transform.LayerNorm.weight",
    "cls/predictions/transform/LayerNorm/beta": "cls.predictions.transform.LayerNorm.bias",
    "cls/predictions/output_bias": "cls.predictions.bias",
    "cls/seq_relationship/output_weights": "cls.seq_relationship.weight",  # stored (out, in), as the next two
    "cls/seq_relationship/output_bias": "cls.seq_relationship.bias",
    "cls/squad/output_weights": "qa_outputs.weight",  # of run_squad.py
    "cls/squad/output_bias": "qa_outputs.bias",
    "output_weights": "classifier.weight",  # of run_classifier.py
    "output_bias": "classifier.bias",
}
OPTIMISER = re.compile(r"(.*/)?(adam_[mv]|global_step|good_steps|bad_steps|loss_scale|beta[12]_power)(_\d+)?")


class CannotConvert(Exception):
    """One line for the user: what was given, what is allowed, what to do."""


class OneLineParser(argparse.ArgumentParser):
    """argparse without the lines of usage above an error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"convert_bert: {' '.join(message.split())}; see --help\n")


def main(arguments: list[str] | None = None) -> int:
    parser = OneLineParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", help="folder of a checkpoint, or its id on the Hub")
    parser.add_argument("target", nargs="?", type=Path, metavar="output", help="directory to make")
    parser.add_argument("--revision", help="commit, tag or branch of the Hub's repository")
    google = parser.add_argument_group("Google's TensorFlow checkpoints, instead of source and output")
    google.add_argument(
        "--tf_checkpoint_path", type=Path, help="the common beginning of the files: .../bert_model.ckpt"
    )
    google.add_argument("--bert_config_file", type=Path, help="bert_config.json")
    google.add_argument("--vocab_file", type=Path, help="vocab.txt; without it, no tokenizer is written")
    google.add_argument("--output", type=Path, help="directory to make")
    args = parser.parse_args(arguments)
    from_google = (args.tf_checkpoint_path, args.bert_config_file, args.output)
    if all(from_google) == bool(args.source and args.target) or any(from_google) == bool(args.source):
        parser.error("give SOURCE and OUTPUT, or --tf_checkpoint_path, --bert_config_file and --output")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its retries: what came of them is said in one line
    set_verbosity_error()
    disable_progress_bar()  # of loading
    if not HF_HUB_DISABLE_PROGRESS_BARS:
        enable_progress_bars()  # of a download
    try:
        if args.tf_checkpoint_path:
            output = args.output
            facts = convert_tensorflow(args.tf_checkpoint_path, args.bert_config_file, output, args.vocab_file)
        else:
            output = args.target
            facts = convert(args.source, output, args.revision)
    except CannotConvert as error:
        print(f"convert_bert: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    for note in facts["notes"]:
        print(f"note: {note}")
    print(f"{facts['source']}: {facts['class']}, outputs equal transformers' bit for bit; wrote {output}")
    return 0


def convert(source: str | Path, output: Path, revision: str | None = None, provenance: dict | None = None) -> dict:
    """Write a checkpoint, its tokenizer and conversion.json; return what conversion.json says.

    Raises:
        CannotConvert: no BERT, weights that do not fit, or an output that cannot be written.
    """
    must_be_free(output)
    if int(transformers.__version__.split(".")[0]) < 5:
        raise CannotConvert(
            f"transformers {transformers.__version__} rounds its own BERT in another order, so nothing can be "
            "compared bit for bit; convert with transformers 5 (what is written loads in 4.48 and later)"
        )
    folder, fields = fetch(source, revision)
    files, state = read_weights(folder)
    stock, dtype, notes = network(folder.name if provenance else source, fields, state)
    name = CLASSES[stock][0]
    config = configuration(source, fields)
    state, new, dropped = fitted(source, name, config, state)
    if new:
        notes.append("the source has no pooler, and BERTModel always has one: it is new and random (seed 0)")
    if dropped:
        told = ", ".join(dropped[:4]) + (", ..." if len(dropped) > 4 else "")
        notes.append(f"{name} has no place for {len(dropped)} tensors, left out: {told}")
    tokens = read_tokenizer(folder, config)
    config.architectures = [name]
    config.auto_map = dict(AUTO_MAP)  # complete, where transformers would name only the class that it saves
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(modeling_bert, name)(config).to(dtype)
    model.load_state_dict(state | {key: model.state_dict()[key] for key in new})
    del state
    inputs = probe(config, choices=2 if name == "BERTForMultipleChoice" else None)
    expected = reference_outputs(stock, folder, dtype, inputs, bool(new))

    partial = None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
        model.save_pretrained(partial)
        del model
        if tokens is not None:
            try:
                write_tokenizer(folder, partial, tokens)
            except (CannotConvert, OSError):
                raise
            except Exception as error:  # of the tokenizers library, for a vocabulary without [UNK]
                raise CannotConvert(
                    f"{folder}: its tokenizer fails ({error}); correct its files or remove them"
                ) from None
        carry_sentence_files(folder, partial)
        finish_config(partial / "config.json", dtype, tokens is not None)
        # The reference is plain: eager attention over all tokens, padding included.
        reloaded = getattr(modeling_bert, name).from_pretrained(
            partial, dtype=dtype, attn_implementation="eager", unpad_inputs=False
        )
        difference = largest_difference(expected, run(reloaded, inputs))
        if difference != 0.0:  # also true of NaN
            raise CannotConvert(f"{source}: outputs differ from transformers' {stock} by {difference}; report it")
        facts = (provenance or provenance_of(source, folder, files)) | {
            "class": name,
            "declared": fields.get("architectures"),
            "notes": notes,
            "left_out": dropped,
            "new": new,
            "tokenizer": None if tokens is None else "kept" if (folder / "tokenizer.json").is_file() else "built",
            "max_abs_difference": difference,
            "compared": sorted(expected),
            "probe": list(inputs["input_ids"].shape),
            "dtype": str(dtype).removeprefix("torch."),
            "versions": {"transformers": transformers.__version__, "torch": torch.__version__},
            "weights": {path.name: digest(path) for path in partial.glob("*.safetensors")},
        }
        (partial / "conversion.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        partial.chmod(0o755)  # mkdtemp's is private
        os.replace(partial, output)
    except OSError as error:
        raise CannotConvert(f"{output}: {error.strerror or error}; choose a directory that you may write") from None
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return facts


def convert_tensorflow(checkpoint: Path, config_file: Path, output: Path, vocab: Path | None = None) -> dict:
    """The same for a checkpoint of google-research/bert, by way of the folder that transformers would have."""
    must_be_free(output)
    if checkpoint.suffix in (".index", ".meta"):
        checkpoint = checkpoint.with_suffix("")
    fields = read_json(config_file)
    state = from_tensorflow(read_tensorflow(checkpoint))
    fields |= {"model_type": "bert", "architectures": None}
    if "classifier.weight" in state:
        fields |= {"architectures": ["BertForSequenceClassification"]}
        fields |= {"id2label": {i: f"LABEL_{i}" for i in range(len(state["classifier.weight"]))}}
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        if vocab is not None:
            try:
                shutil.copyfile(vocab, folder / "vocab.txt")
                words = vocab.read_text(encoding="utf-8").split("\n")
            except (OSError, UnicodeError) as error:
                raise CannotConvert(f"{vocab}: cannot be read ({error}); give Google's vocab.txt") from None
            # A vocabulary made of lower-cased text has capitals in [CLS] and its like only.
            cased = any(re.search("[A-Z]", word) for word in words if not re.fullmatch(r"\[.*\]", word))
            (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": not cased}), encoding="utf-8")
        parts = sorted(
            [*checkpoint.parent.glob(f"{checkpoint.name}.index"), *checkpoint.parent.glob(f"{checkpoint.name}.data-*")]
        )
        provenance = {"source": checkpoint.name, "sha256": {part.name: digest(part) for part in parts}}
        return convert(folder, output, provenance=provenance)


def must_be_free(output: Path) -> None:
    try:
        held = output.exists() and (not output.is_dir() or any(output.iterdir()))
    except OSError as error:  # a name too long, a directory that may not be read
        raise CannotConvert(f"{output}: {error.strerror}; choose another directory") from None
    if held:
        raise CannotConvert(f"{output} exists; choose a new directory or remove it")


def fetch(source: str | Path, revision: str | None) -> tuple[Path, dict]:
    """The folder of a checkpoint and its config.json; of the Hub's, the weights are downloaded last."""
    if Path(source).is_dir():
        if revision is not None:
            raise CannotConvert(f"{source} is a folder and has no revision {revision!r}; leave --revision out")
        fields = read_json(Path(source) / "config.json")
        must_be_bert(source, fields)
        return Path(source), fields
    if Path(source).exists() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", str(source)) or str(source).startswith("."):
        raise CannotConvert(f"{source}: neither a folder nor an id on the Hub; give the folder with its config.json")

    def download(*patterns: str) -> Path:
        try:
            return Path(snapshot_download(str(source), revision=revision, allow_patterns=list(patterns)))
        except Exception as error:  # no network, no such repository, no access, no such revision
            raise CannotConvert(f"{source}: cannot be downloaded ({error}); give a folder, or sign in") from None

    folder = download("config.json")
    fields = read_json(folder / "config.json")
    must_be_bert(source, fields)
    revision = folder.name  # the commit, whatever is pushed in the meantime
    download(*SMALL_FILES, *SENTENCE_FILES, "[0-9]_*/*.json", "[0-9]_*/*.safetensors", "model*.safetensors*")
    if not list(folder.glob("model*.safetensors")):
        download("pytorch_model*.bin*")
    return folder, fields


def read_json(path: Path) -> dict:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CannotConvert(f"{path}: cannot be read ({reason}); give what save_pretrained wrote") from None
    if not isinstance(value, dict):
        raise CannotConvert(f"{path}: holds a {type(value).__name__}, not an object; give what save_pretrained wrote")
    return value


def must_be_bert(source: str | Path, fields: dict) -> None:
    if fields.get("model_type") != "bert":
        raise CannotConvert(
            f"{source}: checkpoint of another architecture, model_type {fields.get('model_type')!r}; "
            "only 'bert' can be converted"
        )
    for field, plain in {
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
    }.items():
        if fields.get(field, plain) != plain:
            raise CannotConvert(f"{source}: {field}={fields[field]!r} is not supported; only {plain!r} is")
    if fields.get("quantization_config"):
        raise CannotConvert(f"{source}: weights are quantized; give the checkpoint from which they were made")


def read_weights(folder: Path) -> tuple[list[Path], dict[str, Tensor]]:
    """The files and the state dict, by the full names of transformers, without buffers."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            files = [folder / name]
            break
        if (index := folder / f"{name}.index.json").is_file():
            shards = read_json(index).get("weight_map")
            if not isinstance(shards, dict) or not all(
                isinstance(s, str) and s == Path(s).name for s in shards.values()
            ):
                raise CannotConvert(f"{index}: no weight_map of files beside it; give what save_pretrained wrote")
            files = [folder / shard for shard in sorted(set(shards.values()))]
            break
    else:
        raise CannotConvert(
            f"{folder}: neither model.safetensors nor pytorch_model.bin, whole or in shards; TensorFlow's own "
            "checkpoints are given with --tf_checkpoint_path"
        )
    state = {}
    for file in files:
        for key, tensor in read_file(file).items():
            key = key if key.startswith(("bert.", *HEADS)) else f"bert.{key}"
            key = re.sub(
                r"LayerNorm\.(gamma|beta)$", lambda old: f"LayerNorm.{dict(gamma='weight', beta='bias')[old[1]]}", key
            )
            if key.endswith(BUFFERS):
                continue
            if key in state:
                raise CannotConvert(f"{file}: {key} is there twice; save the model again")
            state[key] = tensor
    return files, state


def read_file(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each reader has errors of its own
        told = "it holds more than tensors" if isinstance(error, pickle.UnpicklingError) else str(error).split("\n")[0]
        raise CannotConvert(f"{path}: cannot be read ({told}); give safetensors, or a .bin of tensors only") from None
    if not isinstance(state, dict) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise CannotConvert(f"{path}: no state dict in it; save model.state_dict()")
    return state


def network(source: str | Path, fields: dict, state: dict[str, Tensor]) -> tuple[str, torch.dtype, list[str]]:
    """transformers' class for these tensors, their dtype, and what there is to say about both."""
    dtypes = {tensor.dtype for tensor in state.values()}
    if len(dtypes) != 1 or not dtypes <= set(DTYPES):
        held = ", ".join(sorted(str(dtype) for dtype in dtypes)) or "no tensors"
        raise CannotConvert(f"{source}: holds {held}; only float32, float16 or bfloat16 throughout is supported")
    if bad := [key for key, tensor in state.items() if not torch.isfinite(tensor).all()]:
        raise CannotConvert(f"{source}: {len(bad)} tensors hold NaN or infinity ({bad[0]}); give sound weights")
    architectures = fields.get("architectures") or [None]
    if not isinstance(architectures, list) or not isinstance(architectures[0], str | None):
        raise CannotConvert(
            f"{source}: config.json: architectures={architectures!r} is not a list of class names; correct it"
        )
    declared = architectures[0]
    if declared in NOT_OURS:
        raise CannotConvert(f"{source} is a {declared}: {NOT_OURS[declared]}; choose one of {', '.join(CLASSES)}")
    if declared is not None and declared not in CLASSES:
        raise CannotConvert(f"{source} is a {declared}; choose one of {', '.join(CLASSES)}")
    has = {head for head in (*HEADS, "bert.pooler.") if any(key.startswith(head) for key in state)}
    if declared is None:
        if "classifier." in has:
            raise CannotConvert(
                f"{source}: config.json does not say what its classifier is for; add "
                '"architectures": ["BertForSequenceClassification"], or of whichever class it is'
            )
        chosen = [
            *(["BertForQuestionAnswering"] if "qa_outputs." in has else []),
            *(["BertForMaskedLM"] if "cls.predictions." in has else []),
            *(["BertForNextSentencePrediction"] if "cls.seq_relationship." in has else []),
            "BertModel",
        ][0]
    else:
        chosen = declared
    notes = []
    if {"cls.predictions.", "cls.seq_relationship.", "bert.pooler."} <= has and chosen in (
        *("BertModel", "BertForMaskedLM", "BertForNextSentencePrediction"),
    ):
        if declared is not None:
            notes.append(f"declared as {declared}, it holds all of BertForPreTraining, and is converted as that")
        chosen = "BertForPreTraining"
    return chosen, dtypes.pop(), notes


def configuration(source: str | Path, fields: dict) -> BERTConfig:
    fields = {key: value for key, value in fields.items() if key not in RUNTIME}
    try:
        BertConfig(**fields)  # checks the types
        return BERTConfig(**fields | {"pooling": "cls"})  # whatever others pool by, pooler_output stays
    except Exception as error:  # each check has errors of its own
        raise CannotConvert(f"{source}: config.json is not a valid BERT configuration ({error}); correct it") from None


def fitted(
    source: str | Path, name: str, config: BERTConfig, state: dict[str, Tensor]
) -> tuple[dict[str, Tensor], list[str], list[str]]:
    """The tensors that the class takes, the names of those that are new, and of those left out."""
    if config.tie_word_embeddings:
        for one, other in TIED.items():
            if one in state and other in state and not torch.equal(state[one], state[other]):
                raise CannotConvert(
                    f"{source}: {one} differs from {other}, and tie_word_embeddings is true; set it to false in "
                    "config.json if the two were trained apart"
                )
    if any(key.startswith("cls.predictions.") for key in state):  # of tied tensors, files hold one
        for one, other in TIED.items():
            if other in state and (config.tie_word_embeddings or one.endswith("bias")):
                state.setdefault(one, state[other])
            if one in state:
                state.setdefault(other, state[one])
        if not config.tie_word_embeddings:  # transformers adds only the decoder's bias then
            state["cls.predictions.bias"] = state.get("cls.predictions.decoder.bias", state["cls.predictions.bias"])
    if name == "BERTModel":
        state = {key.removeprefix("bert."): tensor for key, tensor in state.items()}
    try:
        with torch.device("meta"):
            model = getattr(modeling_bert, name)(config)
    except Exception as error:
        raise CannotConvert(f"{source}: config.json is not a valid BERT configuration ({error}); correct it") from None
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    new = [key for key in shapes if key.removeprefix("bert.").startswith("pooler.") and key not in state]
    if name != "BERTModel" or len(new) == 1:
        new = []  # the others take the pooler's output into their head
    wrong = [key for key in shapes if key not in new and (key not in state or shapes[key] != tuple(state[key].shape))]
    if wrong:
        details = "; ".join(
            f"{key} is {tuple(state[key].shape) if key in state else 'missing'}, should be {shapes[key]}"
            for key in wrong[:3]
        )
        raise CannotConvert(f"{source}: {len(wrong)} tensors do not fit {name}: {details}")
    dropped = sorted(state.keys() - shapes.keys() - TIED.keys())
    return {key: state[key] for key in shapes if key not in new}, new, dropped


def probe(config: BERTConfig, choices: int | None = None) -> dict[str, Tensor]:
    """Two rows that need no file: arange % vocab, the second padded on the right, token types half and half."""
    length = min(24, config.max_position_embeddings)
    ids = torch.arange(2 * length).view(2, length) % config.vocab_size
    mask = torch.ones_like(ids)
    mask[1, length * 2 // 3 :] = 0
    types = torch.zeros_like(ids)
    types[:, length // 2 :] = min(1, config.type_vocab_size - 1)
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    if choices is not None:
        inputs = {name: torch.stack([tensor] * choices, dim=1) for name, tensor in inputs.items()}
        inputs["input_ids"][:, 1] = inputs["input_ids"][:, 1].flip(-1)  # else all choices were one
    return inputs


def reference_outputs(
    stock: str, folder: Path, dtype: torch.dtype, inputs: dict[str, Tensor], no_pooler: bool
) -> dict[str, Tensor]:
    """What transformers' own class makes of the source, read by transformers itself."""
    more = {"add_pooling_layer": False} if no_pooler else {}
    try:
        model, told = getattr(transformers, stock).from_pretrained(
            folder, dtype=dtype, attn_implementation="eager", output_loading_info=True, local_files_only=True, **more
        )
    except Exception as error:
        raise CannotConvert(f"{folder}: transformers {transformers.__version__} cannot load it ({error})") from None
    if told["missing_keys"]:
        raise CannotConvert(f"{folder}: transformers finds no {', '.join(sorted(told['missing_keys'])[:3])} in it")
    return run(model, inputs)


def run(model: nn.Module, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """All outputs by name, hidden states one by one."""
    # Loaded tensors are mapped from the file, at odd places, and a matrix product rounds by alignment: the same
    # numbers at the places where a new model has them.
    for tensor in (*model.parameters(), *model.buffers()):
        tensor.data = tensor.data.clone()
    with torch.no_grad():
        found = model.eval()(**inputs, output_attentions=False, output_hidden_states=True, return_dict=True)
    named = {}
    for name, value in found.items():
        named |= {f"{name}.{i}": v for i, v in enumerate(value)} if isinstance(value, tuple) else {name: value}
    return {name: value for name, value in named.items() if isinstance(value, Tensor)}


def largest_difference(expected: dict[str, Tensor], found: dict[str, Tensor]) -> float:
    if missing := expected.keys() - found.keys():
        raise AssertionError(f"no output {sorted(missing)}")  # the class is ours
    return max((found[name].double() - value.double()).abs().max().item() for name, value in expected.items())


def read_tokenizer(folder: Path, config: BERTConfig) -> dict | None:
    """What tokenizer_config.json will say; None where the source has no tokenizer."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        return None
    original = original_tokenizer(folder)
    if not isinstance(original, PreTrainedTokenizerFast):
        raise CannotConvert(
            f"{folder}: {type(original).__name__} is written in Python, and has no tokenizer.json; convert a copy "
            "without its tokenizer files, and keep using the tokenizer of the source"
        )
    if (last := max(original.get_vocab().values())) >= config.vocab_size:
        raise CannotConvert(
            f"{folder}: the tokenizer's last id is {last}, the model has {config.vocab_size} embeddings"
        )
    more = getattr(original, "extra_special_tokens", None) or getattr(original, "additional_special_tokens", None)
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **{name: str(token) for name in SPECIAL if (token := getattr(original, name, None)) is not None},
        **({"additional_special_tokens": [str(token) for token in more]} if more else {}),
        "model_max_length": min(original.model_max_length, config.max_position_embeddings),
        "model_input_names": input_names(folder, original),
        "padding_side": original.padding_side,
        "truncation_side": original.truncation_side,
        "clean_up_tokenization_spaces": bool(original.clean_up_tokenization_spaces),
    }


def input_names(folder: Path, original: PreTrainedTokenizerFast) -> list[str]:
    """What it gives; files of transformers 4 need not say that token types are among it, and 5 leaves them out."""
    names, path = list(original.model_input_names), folder / "tokenizer_config.json"
    fields = read_json(path) if path.is_file() else {}
    if fields.get("tokenizer_class") == "PreTrainedTokenizerFast" and "model_input_names" not in fields:
        return ["input_ids", "token_type_ids", "attention_mask"]
    return names


def original_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:  # code of its own, a broken file, a package that is not installed
        raise CannotConvert(
            f"{folder}: transformers cannot load its tokenizer ({error}); correct its files or remove them"
        ) from None


def write_tokenizer(folder: Path, output: Path, settings: dict) -> None:
    """Carry the tokenizer over, and see that it makes the same ids."""
    original = original_tokenizer(folder)
    if (folder / "tokenizer.json").is_file():
        shutil.copyfile(folder / "tokenizer.json", output / "tokenizer.json")
    else:
        original.backend_tokenizer.save(str(output / "tokenizer.json"))
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    (output / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
    written = PreTrainedTokenizerFast.from_pretrained(output)
    for first in SENTENCES:
        for pair in (None, *SENTENCES[:2]):
            ids, ours = original(first, pair), written(first, pair)
            if not agree(ids, ours) or original.decode(ids["input_ids"]) != written.decode(ours["input_ids"]):
                raise CannotConvert(
                    f"{folder}: tokenizer.json and transformers' {type(original).__name__} read {first!r} "
                    "differently; correct do_lower_case and its like in tokenizer_config.json"
                )
    options = {"padding": True, "truncation": True, "max_length": 12}
    if not agree(original(SENTENCES, **options), written(SENTENCES, **options)):
        raise CannotConvert(f"{folder}: a padded batch differs; correct tokenizer_config.json")


def agree(one: Mapping, other: Mapping) -> bool:
    """Whether everything that the first tokenizer gave is what the second gave, which may give token types as well."""
    return all(name in other and other[name] == ids for name, ids in one.items())


def carry_sentence_files(folder: Path, output: Path) -> None:
    """What sentence-transformers needs: its settings, and the modules after the network."""
    if not (folder / "modules.json").is_file():
        return
    for name in SENTENCE_FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, output / name)
    try:
        places = [module["path"] for module in json.loads((folder / "modules.json").read_text(encoding="utf-8"))]
        parts = [place for place in places if place and PurePosixPath(place).name == place and place != ".."]
        strange = [place for place in places if place and place not in parts]
    except (ValueError, TypeError, KeyError) as error:
        raise CannotConvert(f"{folder}/modules.json: cannot be read ({error}); correct it or remove it") from None
    for place in parts:
        for file in sorted((folder / place).glob("*")):
            if file.suffix in (".json", ".safetensors"):
                (output / place).mkdir(exist_ok=True)
                shutil.copyfile(file, output / place / file.name)
            elif file.suffix == ".bin":
                strange.append(f"{place}/{file.name}")
    if strange:
        raise CannotConvert(
            f"{folder}: modules.json names {strange[0]}, which is not a folder of safetensors beside it; save the "
            "model again with sentence-transformers, or remove modules.json"
        )


def finish_config(path: Path, dtype: torch.dtype, tokenizer: bool) -> None:
    """Say the dtype under the name that all versions know, and which tokenizer there is."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("dtype", None)
    config["torch_dtype"] = str(dtype).removeprefix("torch.")
    config["auto_map"] = dict(AUTO_MAP)
    if tokenizer:
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def provenance_of(source: str | Path, folder: Path, files: list[Path]) -> dict:
    """Where the weights come from; of a folder, no more is known than its files and what its card says."""
    facts = {"source": folder.resolve().name if Path(source).is_dir() else str(source)}
    if not Path(source).is_dir():
        facts["revision"] = folder.name
    facts["sha256"] = {file.name: digest(file) for file in files}
    try:
        card = (folder / "README.md").read_text(encoding="utf-8")
        front = yaml.safe_load(card.split("---\n")[1]) if card.startswith("---\n") else None
    except (OSError, UnicodeError, IndexError, yaml.YAMLError):
        front = None
    if isinstance(front, dict) and isinstance(front.get("license"), str):
        facts["license"] = front["license"]
    return facts


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_tensorflow(checkpoint: Path) -> dict[str, np.ndarray]:
    """The variables of a checkpoint, without those of the optimiser."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's own: no greeting on stderr
    try:
        import tensorflow
    except ImportError:
        raise CannotConvert("reading a TensorFlow checkpoint needs it: pip install tensorflow-cpu") from None
    try:
        reader = tensorflow.train.load_checkpoint(str(checkpoint))
        names = [name for name in reader.get_variable_to_shape_map() if not OPTIMISER.fullmatch(name)]
        return {name: reader.get_tensor(name) for name in names}
    except Exception as error:  # TensorFlow's errors have no common class short of this one
        told = str(error).split("\n")[0]
        raise CannotConvert(f"{checkpoint}: cannot be read ({told}); give .../bert_model.ckpt") from None


def from_tensorflow(variables: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Rename and transpose Google's variables; those of the optimiser are skipped, unknown ones refused."""
    state, unknown = {}, []
    for name, value in variables.items():
        if OPTIMISER.fullmatch(name):
            continue
        ours = renamed(name, r"layer_(\d+)", "layer_{}", TENSORFLOW)
        if ours is None:
            unknown.append(name)
        else:
            state[ours] = torch.tensor(value.T.copy() if name.endswith("/kernel") else value)
    if unknown:
        raise CannotConvert(
            f"{len(unknown)} variables are not of google-research/bert: {', '.join(sorted(unknown)[:3])}; give a "
            "checkpoint of its run_pretraining.py, run_classifier.py or run_squad.py"
        )
    return state


def to_tensorflow(state: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """The inverse of from_tensorflow."""
    inverse = {ours: theirs for theirs, ours in TENSORFLOW.items()}
    variables = {}
    for name, tensor in state.items():
        theirs = renamed(name, r"layer\.(\d+)", "layer.{}", inverse)
        if theirs is None:
            raise KeyError(name)
        variables[theirs] = tensor.numpy().T.copy() if theirs.endswith("/kernel") else tensor.numpy()
    return variables


def renamed(name: str, numbered: str, blank: str, table: dict[str, str]) -> str | None:
    """Look a name up with its number taken out: layer_11 as layer_{}."""
    number = re.search(numbered, name)
    found = table.get(re.sub(numbered, blank, name))
    return found.format(number[1] if number else "") if found else None


if __name__ == "__main__":
    sys.exit(main())
