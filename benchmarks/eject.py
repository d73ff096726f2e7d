"""Every built-in model ejected: does it import, is it built the same, does it give the same numbers as remote code.

The tables are runs/eject.md and runs/eject.json, written as it goes; --resume keeps what they have as good:
python benchmarks/eject.py [--text] [--named] [--resume] [--jobs 2] [STEM ...]
--text only converts, and looks for imports of single architectures. --named pushes each named model to an embedded
Hub, loads it from there at its commit as remote code, and compares outputs, loss and generate with the original's.
"""

import argparse
import ast
import gc
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path[:0] = [str(ROOT), str(Path(__file__).resolve().parent)]
import torch  # noqa: E402
import transformers  # noqa: E402
from golden_sides import default_skeleton  # noqa: E402

from pinfold.convert import eject, verify  # noqa: E402
from pinfold.convert.write.couplings import conversion_keys  # noqa: E402
from pinfold.convert.write.facts import coupling_facts  # noqa: E402
from pinfold.convert.write.registrations import auto_classes  # noqa: E402
from pinfold.fenced import generated as inside  # noqa: E402
from pinfold.fenced.tiny.config import shrink  # noqa: E402
from pinfold.fenced.tiny.inputs import inputs_for  # noqa: E402
from pinfold.fenced.tiny.model import build, run_loss, takes_labels, tiny_model  # noqa: E402
from pinfold.fenced.tiny.rules import LEVELS  # noqa: E402
from pinfold.fenced.values import clone, flat  # noqa: E402

NAMED = (  # noqa: SIM905
    "bert roberta albert distilbert deberta deberta_v2 openai-gpt gpt2 bloom llama mistral phi bart t5 pegasus led "
    "vit deit beit convnext detr deformable_detr conditional_detr maskformer dinov2 segformer clip blip flava llava "
    "whisper wav2vec2 hubert data2vec-text data2vec-vision data2vec-audio videomae timesformer esm "
    "time_series_transformer informer decision_transformer gpt_neo gpt_neox qwen2 longformer big_bird "
    "vision_encoder_decoder protbert"
).split()
# a checkpoint's shape, not an architecture: letters of proteins as the vocabulary, and no token types to speak of
SHAPES = {"protbert": ("bert", {"vocab_size": 30, "max_position_embeddings": 64, "type_vocab_size": 2})}


def separated(config, rows: int):
    """Question and text with three separators, by which Longformer finds its question."""
    return torch.tensor([[0, 5, 6, 7, config.sep_token_id, config.sep_token_id, 8, 9, 10, config.sep_token_id]] * rows)


SEGMENTS = {
    "hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 48, "image_size": 32,
    "patch_size": 8, "out_indices": [0, 1, 2, 3],
}  # fmt: skip
# sizes of classes that ask for more than their configuration's defaults
SIZES = {"BeitForSemanticSegmentation": SEGMENTS, "Data2VecVisionForSemanticSegmentation": SEGMENTS}
# what a configuration leaves open by default
SERIES = {"prediction_length": 4, "context_length": 8, "num_time_features": 1, "lags_sequence": [1, 2, 3]}
OPEN = {
    "EsmConfig": {"vocab_size": 33, "pad_token_id": 1, "mask_token_id": 32}, "InformerConfig": SERIES,
    "TimeSeriesTransformerConfig": SERIES, "BeitForMaskedImageModeling": {"use_mask_token": True},
}  # fmt: skip
# inputs and labels beside those that the names of forward's parameters suggest
INPUTS = {
    "DecisionTransformerModel": lambda config: {
        "states": torch.rand(2, 4, config.state_dim), "actions": torch.rand(2, 4, config.act_dim),
        "rewards": torch.rand(2, 4, 1), "returns_to_go": torch.rand(2, 4, 1),
        "timesteps": torch.arange(4).repeat(2, 1), "attention_mask": torch.ones(2, 4),
    },
    "LongformerForQuestionAnswering": lambda config: {"input_ids": separated(config, 2)},
    "LongformerForMultipleChoice": lambda config: {"input_ids": separated(config, 4).view(2, 2, -1)},
    "VideoMAEForPreTraining": lambda config: {
        "pixel_values": torch.rand(2, config.num_frames, config.num_channels, config.image_size, config.image_size),
        "bool_masked_pos": torch.arange(
            config.num_frames // config.tubelet_size * (config.image_size // config.patch_size) ** 2
        ).repeat(2, 1) % 2 == 0,
    },
}  # fmt: skip
LABELS = {
    "BeitForMaskedImageModeling": lambda given, out: {
        "bool_masked_pos": torch.arange(out["logits"].shape[1]).repeat(out["logits"].shape[0], 1) < 2,
        "labels": torch.zeros(2 * out["logits"].shape[0], dtype=torch.long),
    },
    "Wav2Vec2ForPreTraining": lambda given, out: {
        "mask_time_indices": (t := torch.arange(out["projected_states"].shape[1]).repeat(2, 1)) < 3,
        "sampled_negative_indices": (t[..., None] + torch.arange(1, 4)) % t.shape[1],
    },
    "FlavaForPreTraining": lambda given, _: {
        "input_ids_masked": given["input_ids"], "mlm_labels": given["input_ids"],
        "itm_labels": torch.ones(len(given["input_ids"]), dtype=torch.long), "return_loss": True,
    },
}  # fmt: skip


def each(names: list[str], work, jobs: int, seconds: int):
    """(name, result) of work(name) in forked processes, as they end: a model's code can hang, or kill its process."""
    waiting, running = list(names), {}
    with tempfile.TemporaryDirectory() as temporary:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                out = Path(temporary) / f"{name}.json"
                child = os.fork()
                if child == 0:
                    in_child(lambda n=name: work(n), out, seconds)
                running[child] = name, out
            for child, (name, out) in list(running.items()):
                if os.waitpid(child, os.WNOHANG)[0]:
                    del running[child]
                    yield (
                        name,
                        json.loads(out.read_text()) if out.exists() else {"error": f"killed, or over {seconds} s"},
                    )
            time.sleep(0.02)


def in_child(work, out: Path, seconds: int) -> None:
    gc.disable()  # a short life, full of syntax trees: collecting would take as long as the work
    signal.alarm(seconds)
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    started = time.perf_counter()
    try:
        result = work()
    except BaseException as error:
        result = {"error": said(error)}
    result["seconds"] = round(time.perf_counter() - started, 1)
    out.with_suffix(".part").write_text(json.dumps(result))
    out.with_suffix(".part").rename(out)
    os._exit(0)


def said(error: BaseException, length: int = 170) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words[:length]} ({Path(last.filename).name}:{last.lineno})"


def folder_of(base: eject.Base, into: Path, kinds: tuple = ()) -> tuple[Path, object]:
    folder = into / f"my_{base.stem.replace('-', '_')}"
    folder.mkdir()
    conversion = eject.make(base, "My", list(kinds), folder.name, folder)
    sys.path.insert(0, str(into))
    return folder, conversion


def original(conversion, name: str):
    """What a class of the folder was made from, if that is in a modeling file."""
    module, _, old = conversion.definitions[name].origin.rpartition(".")
    return getattr(importlib.import_module(module), old) if ".modeling_" in module else None


# structure -----------------------------------------------------------------------------------------------------------


def text_only(stem: str) -> dict:
    """Convert, and look for what the folder would take from a single architecture at run time."""
    base = eject.of_file(stem, eject.stems()[stem])
    with tempfile.TemporaryDirectory() as temporary:
        folder, _ = folder_of(base, Path(temporary))
        for path in sorted(folder.glob("*.py")):
            ast.parse(path.read_text())
            if not path.name.startswith(("modular_", "test_")) and (why := verify.leftover(path)):
                return {"error": why}
    return {}


def structure(stem: str) -> dict:
    """Import the folder, and compare every class with the original on the meta device."""
    base = eject.of_file(stem, eject.stems()[stem])
    with tempfile.TemporaryDirectory() as temporary:
        folder, conversion = folder_of(base, Path(temporary))
        before = set(sys.modules)
        ours = importlib.import_module(f"{folder.name}.modeling_{conversion.name}")
        if there := inside.loaded_models(before):
            return {"error": f"imports {', '.join(there[:3])}"}
        renamed = {d.name: d.origin.rpartition(".")[2] for d in conversion.definitions.values() if d.origin}
        result: dict = {"same": 0, "different": [], "untestable": []}
        for new, old in coupling_facts(conversion).classes.items():
            a, b = original(conversion, new), getattr(ours, new, None)
            if not isinstance(a, type) or not issubclass(a, transformers.PreTrainedModel):
                continue
            if old.endswith("PreTrainedModel") or a.config_class is None:
                continue
            try:
                first = default_skeleton(a)
            except Exception as error:
                result["untestable"].append(f"{old}: {said(error, 90)}")
                continue
            try:
                second = default_skeleton(b)
            except Exception as error:
                result["different"].append(f"{old}: {said(error, 110)}")
                continue
            tree = [f"{n} {renamed.get(c, c)}".strip() for n, _, c in (x.rpartition(" ") for x in second["tree"])]
            odd = sorted(set(first["state"]) ^ set(second["state"])) or sorted(
                {x.strip() for x in first["tree"]} ^ set(tree)
            )
            if not odd and first["state"] != second["state"]:
                odd = ["the order of the weights"]
            if odd:
                result["different"].append(f"{old}: {str(odd[:2])[:150]}")
            else:
                result["same"] += 1
        return result


# numbers -------------------------------------------------------------------------------------------------------------


def numbers(name: str) -> dict:
    """Every class that has an Auto class, from the Hub at its commit, against the original with the same weights."""
    shape, changed = SHAPES.get(name, (name, {}))
    base = eject.find_base(shape)
    with tempfile.TemporaryDirectory() as temporary:
        folder, conversion = folder_of(base, Path(temporary))
        checker = subprocess.run(
            [sys.executable, "-m", "pinfold", "check", str(folder)], capture_output=True, text=True, cwd=ROOT
        )
        result: dict = {"classes": {}, "check": checker.stdout.strip().splitlines()[-1:]}
        result["faults"] = re.findall(r"^.*\berror\b.*$", checker.stdout, re.M)[:3]
        ours = importlib.import_module(f"{folder.name}.modeling_{conversion.name}")
        known = coupling_facts(conversion).classes
        registered = re.findall(r'^(\w+)\.register_for_auto_class\("(\w+)"\)', Path(ours.__file__).read_text(), re.M)
        for new in dict(registered):
            autos = [auto for cls, auto in registered if cls == new][::-1]
            work = Path(temporary) / new
            work.mkdir()
            try:
                told = one_class(original(conversion, new), getattr(ours, new), autos, folder, work, name, changed)
            except Exception as error:
                told = {"differs": said(error)}
            result["classes"][known[new]] = {"autos": autos, **told}
        return result


def one_class(a: type, b: type, autos: list[str], folder: Path, work: Path, name: str, changed: dict) -> dict:
    stock, given, outputs = small(a, changed)
    stock.save_pretrained(work / "stock")
    converted, report = b.from_pretrained(work / "stock", output_loading_info=True, attn_implementation="eager")
    if why := unlike(report):
        return {"differs": f"a published checkpoint loads with {why}"}
    converted.save_pretrained(work / "ours")
    commit = publish(folder, work / "ours", work / "staged", f"local/{name.replace('_', '-')}")
    repo = f"local/{name.replace('_', '-')}"
    for auto in autos[::-1]:
        again, report = getattr(transformers, auto).from_pretrained(
            repo, revision=commit, trust_remote_code=True, output_loading_info=True, attn_implementation="eager"
        )
        if not type(again).__module__.startswith("transformers_modules") or type(again).__name__ != b.__name__:
            return {"differs": f"{auto} gives {type(again)}"}
    again = again.eval()
    if why := unlike(report):
        return {"differs": f"loads with {why}"}
    if why := inside.differing("weights", dict(stock.state_dict()), dict(again.state_dict())):
        return {"differs": why}
    # the original loaded from the same files: loading sets anew which weights are trained (Pegasus' positions)
    stock = a.from_pretrained(work / "stock", attn_implementation="eager").eval()
    for model in (stock, again):  # a file's tensors lie where its header ends, and kernels differ in their last bits
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.data = tensor.data.clone()
    torch.manual_seed(0)
    with torch.no_grad():
        outputs = stock(**clone(given))
    torch.manual_seed(0)
    with torch.no_grad():
        remote = again(**clone(given))
    if why := inside.differing("outputs", flat(outputs), flat(remote)):
        return {"differs": why}
    result = {"forward": True}
    if takes_labels(a) or a.__name__.endswith("ForPrediction") or a.__name__ in LABELS:
        result |= losses(stock, again, given, outputs)
    if why := result.pop("why", ""):
        return {"differs": why}
    if stock.can_generate():
        result |= generated(stock, again, given)
    if "logits_per_image" in outputs:
        result["zero-shot"] = bool(
            torch.equal(outputs["logits_per_image"].softmax(-1), remote["logits_per_image"].softmax(-1))
        )
    return result


def small(cls: type, changed: dict):
    """A tiny stock model with inputs and outputs."""
    if cls.__name__ == "VisionEncoderDecoderModel":
        config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
            shrink(transformers.ViTConfig()), shrink(transformers.GPT2Config())
        )
        config.pad_token_id, config.decoder_start_token_id, config.eos_token_id = 0, 1, 2
        torch.manual_seed(0)
        model = cls(config).eval()
        model.generation_config.pad_token_id = 0
        model.generation_config.decoder_start_token_id = 1
        torch.manual_seed(0)
        size = config.encoder.image_size
        given = {"pixel_values": torch.rand(2, 3, size, size), "decoder_input_ids": torch.arange(3, 17).view(2, 7)}
        torch.manual_seed(0)
        with torch.no_grad():
            return model, given, model(**given)
    defaults = cls.config_class(**changed, **OPEN.get(cls.config_class.__name__, {}), **OPEN.get(cls.__name__, {}))
    if defaults.is_encoder_decoder and getattr(defaults, "decoder_start_token_id", None) is None:
        defaults.decoder_start_token_id = 0  # as published configurations of T5 say it
    if getattr(defaults, "pad_token_id", None) is None and "vocab_size" in defaults.to_dict():
        defaults.pad_token_id = 0  # a classifier that reads the last token of each row in a batch wants one
    if cls.__name__ not in SIZES | INPUTS | LABELS:
        return tiny_model(cls, range(LEVELS), 0, defaults)[:3]
    sizes = SIZES.get(cls.__name__)
    config = cls.config_class(**sizes) if sizes else shrink(defaults)
    config._attn_implementation = "eager"
    if "mask_time_prob" in defaults.to_dict():
        config.mask_time_prob = defaults.mask_time_prob  # without, wav2vec2 has no vector for what is hidden
    model = build(cls, config)
    torch.manual_seed(0)
    given = INPUTS[cls.__name__](model.config) if cls.__name__ in INPUTS else inputs_for(model)
    torch.manual_seed(0)
    with torch.no_grad():
        return model, given, model(**clone(given))


def unlike(told: dict) -> str:
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    return "; ".join(f"{k.replace('_', ' ')}: {sorted(map(str, told[k]))[:2]}" for k in kinds if told.get(k))


def losses(stock, again, given: dict, outputs) -> dict:
    if type(stock).__name__ in LABELS:
        given = given | LABELS[type(stock).__name__](given, outputs)
    first = run_loss(stock, given, outputs)
    if first is None:
        return {"loss": "no labels found for it" + inside.last_reason(stock, given, outputs)[:120]}
    loss, grads, labelled = first
    torch.manual_seed(0)
    again.zero_grad(set_to_none=True)
    second = again(**clone(labelled)).loss
    if not torch.equal(loss, second.detach()):
        return {"why": f"the loss is {second.item():.6g}, and {loss.item():.6g} for the original"}
    if second.requires_grad:
        second.sum().backward()
    mine = {n: p.grad for n, p in again.named_parameters() if p.grad is not None}
    return {"loss": True, "why": inside.differing("gradients", grads, mine)}


def generated(stock, again, given: dict) -> dict:
    given = {n: v for n, v in given.items() if not n.startswith("decoder_") and n != "token_type_ids"}
    options = {"max_new_tokens": 4, "min_new_tokens": 4, "do_sample": False}
    written = []
    for model in (stock, again):
        try:
            torch.manual_seed(0)
            with torch.no_grad():
                written.append(model.generate(**clone(given), **options))
        except Exception as error:
            written.append(said(error, 90))
    if isinstance(written[0], str):
        return {"generate": written[0] if isinstance(written[1], str) else "only the original fails"}
    if isinstance(written[1], str):
        return {"why": f"generate: {written[1]}"}
    a, b = (x if isinstance(x, torch.Tensor) else x[0] for x in written)
    return {"generate": True} if torch.equal(a, b) else {"why": "generate gives other tokens"}


def publish(folder: Path, checkpoint: Path, into: Path, repo: str) -> str:
    """The commit of a stage of this folder and checkpoint."""
    from pinfold.folder.model_folder import read_folder
    from pinfold.remote.client import Remote
    from pinfold.remote.destination import Destination
    from pinfold.staging.stage import stage

    into.mkdir()
    staged = stage(read_folder(folder), checkpoint, into)
    remote = Remote(Destination(repo, os.environ["HF_ENDPOINT"], os.environ["HUB_TOKEN"]))
    if remote.head() is None:
        remote.create(private=False)
    return remote.commit("Publish", remote.head(), {name: into / name for name in staged.files})


def good(found: dict) -> bool:
    """Whether nothing differs."""
    return equal(found) and not found.get("different") and not found.get("faults")


def equal(found: dict) -> bool:
    """Whether every class gives the same numbers."""
    heads = found.get("classes", {"": {}})  # a named model without any is a fault
    return "error" not in found and bool(heads) and not any("differs" in c for c in heads.values())


# tables --------------------------------------------------------------------------------------------------------------


def summary(done: dict) -> list[str]:
    lines = [f"transformers {transformers.__version__}, torch {torch.__version__}"]
    if texts := done.get("text"):
        good = sum("error" not in d for d in texts.values())
        lines.append(f"{good} of {len(texts)} modeling files convert, and import no model of transformers")
    if found := done.get("structure"):
        good = {s: d for s, d in found.items() if "error" not in d}
        same, bad = sum(d["same"] for d in good.values()), sum(len(d["different"]) for d in good.values())
        rest = sum(len(d["untestable"]) for d in good.values())
        lines.append(f"{len(good)} of {len(found)} modeling files import as a folder of their own, goal 515")
        share = 100 * same / max(same + bad, 1)
        lines.append(
            f"{same} of {same + bad} classes ({share:.1f} %, goal 99 %) are built the same; {rest} have no default"
        )
    if named := done.get("named"):
        heads = [c for d in named.values() for c in d.get("classes", {}).values()]
        good = [c for c in heads if "differs" not in c]
        lines.append(
            f"{sum(map(equal, named.values()))} of {len(named)} named models give the same bits as remote code from a "
            f"Hub; {len(good)} of {len(heads)} classes, {sum(c.get('loss') is True for c in good)} with loss and "
            f"gradients, {sum(c.get('generate') is True for c in good)} with generate"
        )
        clean = sum(" 0 errors" in f" {' '.join(d.get('check', []))}" for d in named.values())
        lines.append(f"{clean} of {len(named)} of these folders pass the checker")
    return lines


def row(*cells) -> str:
    return "| " + " | ".join(str(c).replace("|", "/").replace("\n", " ") for c in cells) + " |"


def write(done: dict, out: Path) -> None:
    lines = ["  \n".join(summary(done)), ""]
    for part in ("text", "structure"):
        bad = {s: d["error"] for s, d in done.get(part, {}).items() if "error" in d}
        if bad:
            lines += [f"## {part}: fails", "", row("modeling file", "why"), "| --- | --- |"]
            lines += [*(row(s, w) for s, w in sorted(bad.items())), ""]
    for what in ("different", "untestable"):
        found = [(s, x) for s, d in sorted(done.get("structure", {}).items()) for x in d.get(what, ())]
        if found:
            lines += [f"## classes: {what}", "", row("modeling file", "class", "what"), "| --- | --- | --- |"]
            lines += [*(row(s, x.partition(": ")[0], x.partition(": ")[2]) for s, x in found), ""]
    if named := done.get("named"):
        head = ("model", "class", "reached by", "forward", "loss, gradients", "generate", "differs")
        lines += ["## named", "", row(*head), row(*["---"] * len(head))]
        for model, found in named.items():
            if "error" in found:
                lines.append(row(model, "", "", "", "", "", found["error"]))
            for cls, c in found.get("classes", {}).items():
                cells = ("yes" if c.get(k) is True else c.get(k, "") for k in ("forward", "loss", "generate"))
                lines.append(row(model, cls, ", ".join(c["autos"]), *cells, c.get("differs", "")))
            if found.get("faults"):
                lines.append(row(model, "the checker", "", "", "", "", "; ".join(found["faults"])))
    for path, text in (
        (out.with_suffix(".md"), "\n".join([*lines, ""])),
        (out.with_suffix(".json"), json.dumps(done, indent=1)),
    ):
        path.with_name(f".{path.name}").write_text(text, encoding="utf-8")
        path.with_name(f".{path.name}").replace(path)


def run(part: str, wanted: list[str], work, seconds: int, args, done: dict) -> None:
    results = done.setdefault(part, {})
    left = [n for n in wanted if not args.resume or n not in results or not good(results[n])]
    started = time.perf_counter()
    for number, (name, result) in enumerate(each(left, work, args.jobs, seconds), 1):
        results[name] = result
        broken = [c for c, d in result.get("classes", {}).items() if "differs" in d]
        why = (
            result.get("error")
            or "; ".join(result.get("different", ()))
            or ("differs: " + ", ".join(broken) if broken else "ok")
        )
        past = time.perf_counter() - started
        rest = past / number * (len(left) - number)
        print(f"{number}/{len(left)} {past:.0f} s, about {rest:.0f} left: {name} {why[:200]}", flush=True)
        write(done, args.out)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stems", nargs="*", help="modeling_<STEM>.py, or with --named names; default: all")
    parser.add_argument("--text", action="store_true", help="convert only: nothing is imported")
    parser.add_argument("--named", action="store_true", help="only the named models' numbers")
    parser.add_argument("--resume", action="store_true", help="leave out what the table has as good already")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "eject.json")
    args = parser.parse_args()
    if args.named and "HUB_TOKEN" not in os.environ:
        return on_a_hub()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    # once, for every process
    auto_classes(), conversion_keys(), inside.load_auto_tables()
    for module in ("modeling_utils", "modeling_layers", "masking_utils", "generation", "loss.loss_utils"):
        importlib.import_module(f"transformers.{module}")
    done = json.loads(args.out.read_text()) if args.out.exists() and (args.resume or args.stems or args.named) else {}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    if args.named:
        run("named", args.stems or NAMED, numbers, 500, args, done)
    else:
        work = ("text", text_only) if args.text else ("structure", structure)
        run(work[0], args.stems or sorted(eject.stems()), work[1], 150, args, done)
    print("\n".join(summary(done)))
    print(f"the tables: {args.out.with_suffix('.md')}")
    return 0


def on_a_hub() -> int:
    """This program again, as somebody whose Hub is an embedded one."""
    from pinfold.remote import destination

    with tempfile.TemporaryDirectory() as temporary, destination.running(Path(temporary) / "data") as server:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        own = {"HF_ENDPOINT": f"http://127.0.0.1:{server['port']}", "HUB_TOKEN": server["token"]}
        own |= {"HF_HOME": f"{temporary}/home", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        return subprocess.call([sys.executable, *sys.argv], env={**kept, **own})


if __name__ == "__main__":
    sys.exit(main())
