"""Every built-in model ejected: does it import, is it built the same, does it give the same numbers as remote code.

The table of failures is written to runs/eject.md: python benchmarks/eject.py [--named] [--workers 2] [STEM ...]
"""

import argparse
import importlib
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import torch  # noqa: E402
import transformers  # noqa: E402

from pinfold.convert import couplings, eject, finish  # noqa: E402

NAMED = (  # noqa: SIM905
    "bert roberta albert distilbert deberta deberta_v2 openai-gpt gpt2 bloom llama mistral phi bart t5 pegasus led "
    "vit deit beit convnext detr deformable_detr conditional_detr maskformer dinov2 segformer clip blip flava llava "
    "whisper wav2vec2 hubert data2vec-text data2vec-vision data2vec-audio videomae timesformer esm "
    "time_series_transformer informer decision_transformer gpt_neo gpt_neox qwen2 longformer big_bird "
    "vision_encoder_decoder"
).split()


def in_child(work, seconds: int) -> dict:
    """Run in a forked process, as a model's import can hang or kill; its result comes through a pipe."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        signal.alarm(seconds)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            result = work()
        except BaseException as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
            result = {"error": f"{text[:160]} ({Path(last.filename).name}:{last.lineno})"}
        with os.fdopen(write, "w") as pipe:
            json.dump(result, pipe)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else {"error": f"killed, or longer than {seconds} s"}


def folder_of(base: eject.Base, into: Path) -> tuple[Path, object]:
    folder = into / f"my_{base.stem.replace('-', '_')}"
    folder.mkdir()
    conversion = eject.make(base, "My", [], folder.name, folder)
    sys.path.insert(0, str(into))
    return folder, conversion


def shape_of(model) -> tuple[dict, list]:
    return {k: tuple(v.shape) for k, v in model.state_dict().items()}, [n for n, _ in model.named_modules()]


def structure(stem: str) -> dict:
    """Import the folder, and compare every class with the original on the meta device."""
    base = eject.of_file(stem, eject.stems()[stem])
    with tempfile.TemporaryDirectory() as temporary:
        folder, conversion = folder_of(base, Path(temporary))
        ours = importlib.import_module(f"{folder.name}.modeling_{conversion.name}")
        if loaded := sorted(m for m in sys.modules if m == base.module("modeling")):
            return {"error": f"imports {loaded[0]}"}
        theirs = importlib.import_module(base.module("modeling"))
        known, result = couplings.facts(conversion), {"same": 0, "different": [], "untestable": 0}
        for new, old in known.classes.items():
            a, b = getattr(theirs, old, None), getattr(ours, new, None)
            if not isinstance(a, type) or not isinstance(b, type) or not issubclass(a, transformers.PreTrainedModel):
                continue
            if old.endswith("PreTrainedModel") or a.config_class is None or b.config_class is None:
                continue
            try:
                with torch.device("meta"):
                    first = shape_of(a(a.config_class()))
            except Exception:
                result["untestable"] += 1
                continue
            try:
                with torch.device("meta"):
                    second = shape_of(b(b.config_class()))
            except Exception as error:
                result["different"].append(f"{old}: {type(error).__name__} {str(error)[:110]}")
                continue
            if first == second:
                result["same"] += 1
            else:
                odd = sorted(set(first[0].items()) ^ set(second[0].items())) or sorted(set(first[1]) ^ set(second[1]))
                result["different"].append(f"{old}: {str(odd[:1])[:110]}")
        return result


def numbers(name: str) -> dict:
    """Forward and loss of the ejected model as remote code against the original, each bit."""
    from pinfold.convert import tiny

    base = eject.find_base(name)
    with tempfile.TemporaryDirectory() as temporary:
        folder, conversion = folder_of(base, Path(temporary))
        ours = importlib.import_module(f"{folder.name}.modeling_{conversion.name}")
        theirs = importlib.import_module(base.module("modeling"))
        known, result = couplings.facts(conversion), {"same": [], "different": []}
        registered = re.findall(r'^(\w+)\.register_for_auto_class\("(\w+)"\)', Path(ours.__file__).read_text(), re.M)
        for new, auto in registered:
            a, b = getattr(theirs, known.classes[new]), getattr(ours, new)
            try:
                config = tiny.shrink(a.config_class())
                torch.manual_seed(0)
                first = a(config).eval()
                settings = config.to_dict()
                made = b(b.config_class.from_dict({k: v for k, v in settings.items() if k != "model_type"}))
                missing = made.load_state_dict(first.state_dict())
                assert not missing.missing_keys and not missing.unexpected_keys
                made.save_pretrained(Path(temporary) / new)
                second = getattr(transformers, auto).from_pretrained(Path(temporary) / new, trust_remote_code=True)
                second = second.eval()
                given = tiny.inputs_for(first, 0)
                with torch.no_grad():
                    torch.manual_seed(1)
                    x = first(**given)
                    torch.manual_seed(1)
                    y = second(**given)
                old, again = x.to_tuple(), y.to_tuple()
                pairs = [(p, q) for p, q in zip(old, again, strict=True) if isinstance(p, torch.Tensor)]
                equal = all(torch.equal(p.nan_to_num(), q.nan_to_num()) for p, q in pairs)
                result["same" if equal else "different"].append(known.classes[new])
            except Exception as error:
                result["different"].append(f"{known.classes[new]}: {type(error).__name__} {str(error)[:130]}")
        return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stems", nargs="*")
    parser.add_argument("--named", action="store_true", help="only the named models' numbers")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/eject.md"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    finish.auto_classes()
    eject.find_base("bert")
    lines, started = [], time.perf_counter()
    with ThreadPoolExecutor(args.workers) as pool:
        if not args.named:
            stems = args.stems or sorted(eject.stems())
            done = dict(zip(stems, pool.map(lambda s: in_child(lambda: structure(s), 90), stems), strict=True))
            good = {s: d for s, d in done.items() if "error" not in d}
            same = sum(d["same"] for d in good.values())
            bad = [f"{s}: {x}" for s, d in good.items() for x in d["different"]]
            untestable = sum(d["untestable"] for d in good.values())
            print(f"{len(good)} of {len(done)} modeling files import as a folder of their own")
            print(f"{same} of {same + len(bad)} classes are built the same; {untestable} have no default to build")
            lines += ["| import of | why not |", "| --- | --- |"]
            lines += [f"| {s} | {d['error'].replace('|', '/')} |" for s, d in done.items() if "error" in d]
            lines += ["", "| class | what differs |", "| --- | --- |"]
            lines += [f"| {x.partition(': ')[0]} | {x.partition(': ')[2].replace('|', '/')} |" for x in bad]
        if (args.named or not args.stems) and (ROOT / "pinfold/convert/tiny.py").exists():
            wanted = args.stems or NAMED
            done = dict(zip(wanted, pool.map(lambda s: in_child(lambda: numbers(s), 120), wanted), strict=True))
            whole = [s for s, d in done.items() if "error" not in d and d["same"] and not d["different"]]
            heads = sum(len(d.get("same", ())) for d in done.values())
            print(f"{len(whole)} of {len(done)} named models same bits as remote code, {heads} classes of them")
            lines += ["", "| model | same | what differs |", "| --- | --- | --- |"]
            for s, d in done.items():
                why = d.get("error") or "; ".join(d["different"])
                lines.append(f"| {s} | {', '.join(d.get('same', ()))} | {why.replace('|', '/')} |")
    args.out.parent.mkdir(exist_ok=True)
    args.out.write_text("\n".join([*lines, ""]), encoding="utf-8")
    print(f"{time.perf_counter() - started:.0f} s; the others: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
