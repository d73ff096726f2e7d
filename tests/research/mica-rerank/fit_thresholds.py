"""Finds thresholds on marked pairs: the best F1, and the highest recall at a precision of 0.9.

    python fit_thresholds.py mica-rerank marked.jsonl
"""
import argparse
import json

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def curves(scores: torch.Tensor, marks: torch.Tensor):
    order = scores.argsort(descending=True)
    hits = marks[order].cumsum(0).float()
    count = torch.arange(1, len(marks) + 1).float()
    precision = hits / count
    recall = hits / marks.sum().clamp(min=1)
    return scores[order], precision, recall


def best_f1(scores, marks) -> float:
    at, precision, recall = curves(scores, marks)
    f1 = 2 * precision * recall / (precision + recall).clamp(min=1e-9)
    return float(at[f1.argmax()])


def precise(scores, marks, wanted=0.9) -> float:
    at, precision, recall = curves(scores, marks)
    good = precision >= wanted
    if not bool(good.any()):
        return 1.0
    return float(at[good.nonzero().max()])


def read(path):
    pairs, marks = [], []
    with open(path, encoding="utf-8") as handle:
        for line in handle:
            row = json.loads(line)
            pairs.append((row["query"], row["text"]))
            marks.append(int(row["relevant"]))
    return pairs, torch.tensor(marks)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("marked")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    model = AutoModelForSequenceClassification.from_pretrained(options.model, trust_remote_code=True)
    pairs, marks = read(options.marked)
    scores = model.predict(pairs, AutoTokenizer.from_pretrained(options.model))
    model.thresholds = {"default": best_f1(scores, marks), "precise": precise(scores, marks)}
    print(json.dumps(model.thresholds, indent=2))
    if options.write:
        model.save_pretrained(options.model)


if __name__ == "__main__":
    main()
