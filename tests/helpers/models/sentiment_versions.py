"""Load a pinned sentiment analyzer in whatever transformers this process has, and print what it gave."""

import hashlib
import json
import sys

import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
    pipeline,
)

TEXTS = ["a lovely film , not a dull one", "dreary", "the song was fine and the chair was poor today"]


def digest(*tensors: Tensor) -> str:
    return hashlib.sha256(b"".join(t.detach().contiguous().numpy().tobytes() for t in tensors)).hexdigest()[:16]


def trained(load: dict, repo: str, data: list[dict], saved: str, steps: int) -> list[Tensor]:
    """The weights after an optimiser's step, from as many micro-batches."""
    torch.manual_seed(0)
    model = AutoModelForSequenceClassification.from_pretrained(repo, **load)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    options = {"per_device_train_batch_size": 8 // steps, "gradient_accumulation_steps": steps, "max_steps": 2}
    arguments = TrainingArguments(
        output_dir=saved, use_cpu=True, save_strategy="no", report_to="none", learning_rate=0.05, disable_tqdm=True,
        lr_scheduler_type="constant", optim="sgd", **options,
    )  # fmt: skip
    Trainer(model=model, args=arguments, train_dataset=data).train()
    return [p.detach().clone() for p in model.parameters()]


def main(repo: str, revision: str, saved: str) -> None:
    load = {"revision": revision, "trust_remote_code": True}
    tokenizer = AutoTokenizer.from_pretrained(repo, revision=revision)
    config = AutoConfig.from_pretrained(repo, **load)
    model, found = AutoModelForSequenceClassification.from_pretrained(repo, output_loading_info=True, **load)
    base = AutoModel.from_pretrained(repo, **load).eval()
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    output = model.eval()(**batch, labels=torch.tensor([0, 1, 2]), output_hidden_states=True)
    output.loss.backward()
    gradients = [p.grad for p in model.parameters()]
    data = [{**{k: v[i % 3] for k, v in batch.items()}, "labels": i % 3} for i in range(8)]
    weights = {steps: trained(load, repo, data, saved, steps) for steps in (1, 4)}
    apart = max(float((a - b).abs().max()) for a, b in zip(weights[1], weights[4], strict=True))
    classify = pipeline("text-classification", repo, revision=revision, trust_remote_code=True, device="cpu")
    model.save_pretrained(saved)
    tokenizer.save_pretrained(saved)
    again = AutoModelForSequenceClassification.from_pretrained(saved, trust_remote_code=True).eval()
    for parameter in again.parameters():  # save_pretrained puts them at any place, and MKL's last bits depend on it
        parameter.data = parameter.data.clone()
    wide = AutoModelForSequenceClassification.from_pretrained(repo, num_labels=5, ignore_mismatched_sizes=True, **load)
    told = {
        "ids": batch["input_ids"].tolist(),
        "logits": digest(output.logits),
        "states": digest(*output.hidden_states),
        "pooled": digest(base(**batch).pooler_output),
        "loss": digest(output.loss),
        "gradients": digest(*gradients),
        "again": digest(again(**batch).logits),
        "answers": [(a["label"], round(a["score"], 6)) for a in classify(TEXTS)],
        "labels": list(config.id2label.values()),
        "wide": [wide.config.num_labels, len(wide.config.id2label), wide.classifier.out_features],
        "missing": sorted(found["missing_keys"]) + sorted(found["unexpected_keys"]),
    }
    print("RESULT " + json.dumps({"same": told, "apart": apart, "weights": [w.tolist() for w in weights[1][-2:]]}))


main(*sys.argv[1:])
