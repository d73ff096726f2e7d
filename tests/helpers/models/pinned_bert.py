"""What a user's fresh process does with pinned BERT repositories, in any transformers version; prints JSON.

Arguments: JSON with the commit of each repository, and the directory of the stock checkpoint.
"""

import hashlib
import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import AutoModel, AutoTokenizer, BertModel, pipeline
from transformers.pipelines import SUPPORTED_TASKS

COMMITS, SOURCE = json.loads(sys.argv[1]), sys.argv[2]
TEXTS = [
    "One.",
    "A man is eating food.",
    "Two men pushed carts.",
    "The girl is carrying a baby.",
    "Why?",
    "A monkey is playing drums in the middle of the night while everybody else sleeps.",
    "It rains a lot here.",
    "He said: no, 3.5 of them!",
    "A man is eating a piece of bread.",
    "Nobody knows what the neighbours saw then.",
]
MASKED = "a man is eating [MASK] food."
WRONG = 9.0  # in the place of a distance, where the answer is another one


def pinned(name, cls=AutoModel, **more):
    return cls.from_pretrained(f"local/{name}", revision=COMMITS[name], trust_remote_code=True, **more).eval()


def distance(a, b) -> float:
    return float((a - b).abs().max())


def real(mask, a, b) -> float:
    """Distance at the real tokens; of pooled vectors, at all."""
    return distance(a[mask], b[mask]) if a.dim() == 3 else distance(a, b)


def sha256(tensors) -> str:
    return hashlib.sha256(b"".join(t.contiguous().numpy().tobytes() for t in tensors)).hexdigest()


def everything(output) -> list:
    return [*output.hidden_states, output.pooler_output]


def numbers(inputs) -> dict:
    """The real model against stock BERT, attention by attention, with and without padding."""
    mask = inputs["attention_mask"].bool()
    said, found = {"padded": int((~mask).sum()), "stock": {}, "equal": {}, "hashes": {}}, {}
    for kind in ("eager", "sdpa"):
        ours = everything(
            pinned("minilm", attn_implementation=kind, unpad_inputs=False)(**inputs, output_hidden_states=True)
        )
        stock = BertModel.from_pretrained(SOURCE, attn_implementation=kind).eval()
        theirs = everything(stock(**inputs, output_hidden_states=True))
        said["layers"] = len(ours)
        said["equal"][kind] = all(torch.equal(a, b) for a, b in zip(ours, theirs))  # noqa: B905
        # padding's own states are ten times further off, also between stock eager and stock sdpa
        said["stock"][kind] = max(real(mask, a, b) for a, b in zip(ours, theirs))  # noqa: B905
        said["hashes"][kind], found[kind] = sha256(ours), ours
    said["sdpa"] = max(real(mask, a, b) for a, b in zip(found["eager"], found["sdpa"]))  # noqa: B905
    model = pinned("minilm")
    said["default"] = model.config._attn_implementation
    unpadded = everything(model(**inputs, output_hidden_states=True))
    said["unpadded"] = max(real(mask, a, b) for a, b in zip(unpadded, found["sdpa"]))  # noqa: B905
    said["pads"], said["hashes"]["unpadded"] = float(unpadded[-2][~mask].abs().max()), sha256(unpadded)
    said["switched"] = switched(inputs, found["eager"][-2])
    return said


def switched(inputs, expected) -> list:
    """Each kind asked for, what the configuration says, which functions ran, and how far the output is off."""
    model, calls, said = pinned("minilm", attn_implementation="sdpa", unpad_inputs=False), [], []
    for kind in ("eager", "sdpa"):
        cls = next(c for c in type(model.encoder.layer[0].attention.self).__mro__ if kind in vars(c))

        def counted(self, *args, own=getattr(cls, kind), kind=kind):  # noqa: B008 (bound now, on purpose)
            calls.append(kind)
            return own(self, *args)

        setattr(cls, kind, counted)
    for kind in ("eager", "sdpa", "eager"):
        if hasattr(model, "set_attn_implementation"):
            model.set_attn_implementation(kind)
        else:  # up to transformers 4.52 it is chosen at the load
            model = pinned("minilm", attn_implementation=kind, unpad_inputs=False)
        calls.clear()
        off = real(inputs["attention_mask"].bool(), model(**inputs)[0], expected)
        said.append([kind, model.config._attn_implementation, sorted(set(calls)), off])
    return said


def pipelines(tokenizer) -> dict:
    """Task -> how far a pipeline's scores are from a forward by hand; and a hash of that forward."""
    said, hashes, ids = {}, {}, tokenizer(MASKED, return_tensors="pt")
    for task, name in (
        ("feature-extraction", "minilm"),
        ("fill-mask", "formaskedlm"),
        ("text-classification", "forsequenceclassification"),
        ("token-classification", "fortokenclassification"),
    ):
        run = pipeline(task, f"local/{name}", revision=COMMITS[name], trust_remote_code=True, device="cpu")
        found, direct = run(MASKED), run.model(**ids)
        scores, labels = direct[0][0].softmax(-1), run.model.config.id2label
        hashes[task] = sha256([direct[0]])
        if task == "feature-extraction":
            said[task] = distance(torch.tensor(found), direct[0])
        elif task == "fill-mask":
            scores = scores[ids["input_ids"][0] == tokenizer.mask_token_id][0]
            right = found[0]["token"] == int(scores.argmax())
            said[task] = max(abs(f["score"] - float(scores[f["token"]])) for f in found) if right else WRONG
        elif task == "text-classification":
            right = found[0]["label"] == labels[int(scores.argmax())]
            said[task] = abs(found[0]["score"] - float(scores.max())) if right else WRONG
        else:
            right = [f["entity"] for f in found] == [labels[int(s.argmax())] for s in scores[1:-1]]
            said[task] = max(abs(float(f["score"]) - float(scores[f["index"]].max())) for f in found)
            said[task] = said[task] if right else WRONG
    if "question-answering" in SUPPORTED_TASKS:
        name = "forquestionanswering"
        run = pipeline(
            "question-answering", f"local/{name}", revision=COMMITS[name], trust_remote_code=True, device=-1
        )
        found = run(question="who is eating?", context=TEXTS[1], align_to_words=False, handle_impossible_answer=False)
        ids = run.tokenizer("who is eating?", TEXTS[1], return_tensors="pt", return_offsets_mapping=True)
        places = ids.pop("offset_mapping")[0].tolist()
        context = torch.tensor([which == 1 for which in ids.sequence_ids(0)])
        direct = run.model(**{name: ids[name] for name in run.tokenizer.model_input_names})  # as the pipeline does
        start, end = (getattr(direct, f"{side}_logits")[0].softmax(-1) for side in ("start", "end"))
        # normalised over the context and [CLS], which is no answer then; the longest answer is 15 tokens
        seen = context | (torch.arange(len(context)) == 0)
        start, end = (torch.where(context, scores, 0) / scores[seen].sum() for scores in (start, end))
        pairs = (start[:, None] * end[None]).triu().tril(14)
        first, last = divmod(int(pairs.argmax()), len(end))
        right = found["answer"] == TEXTS[1][places[first][0] : places[last][1]]
        said["question-answering"] = abs(found["score"] - float(pairs.max())) if right else WRONG
    return {"tasks": said, "task_hashes": hashes}


def heads() -> dict:
    """Auto class -> the class that it gives, and whether its encoder has the pinned weights."""
    base, found = pinned("minilm"), {}
    for auto in (a for a in base.config.auto_map if a.startswith("AutoModel")):
        model = pinned("minilm", getattr(transformers, auto))
        body = dict(getattr(model, "bert", model).named_parameters())
        expected = {n: p for n, p in base.named_parameters() if n in body}
        same = len(expected) >= len(body) and all(torch.equal(p, body[n]) for n, p in expected.items())
        found[auto] = [type(model).__name__, same]
    return found


def main() -> None:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    tokenizer = AutoTokenizer.from_pretrained("local/minilm", revision=COMMITS["minilm"], trust_remote_code=True)
    with torch.no_grad():
        inputs = tokenizer(TEXTS, padding=True, return_tensors="pt")
        said = {"version": transformers.__version__, **numbers(inputs), **pipelines(tokenizer), "heads": heads()}
    said["ids"], said["names"] = inputs["input_ids"].tolist(), sorted(inputs)
    said["input names"] = tokenizer.model_input_names
    Path(sys.argv[3]).write_text(json.dumps(said))


if __name__ == "__main__":
    main()
