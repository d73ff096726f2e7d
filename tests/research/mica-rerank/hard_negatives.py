"""Picks negatives for training: high in the first stage, low here, and not nearly a copy of what is right."""
import argparse
import json
import random


def shingles(text, n=4):
    words = text.lower().split()
    return {" ".join(words[i : i + n]) for i in range(max(1, len(words) - n + 1))}


def alike(a, b):
    a, b = shingles(a), shingles(b)
    return len(a & b) / max(1, min(len(a), len(b)))


def choose(row, scores, limit, count, rng):
    """Rows of candidates that may serve as negatives."""
    right = [c for c in row["candidates"] if c["relevant"]]
    floor = min((scores[c["id"]] for c in right), default=1.0)
    pool = []
    for candidate in row["candidates"]:
        if candidate["relevant"] or scores[candidate["id"]] > limit * floor:
            continue
        if any(alike(candidate["text"], r["text"]) > 0.6 for r in right):
            continue
        pool.append(candidate)
    pool.sort(key=lambda c: -scores[c["id"]])
    head = pool[: count * 4]
    rng.shuffle(head)
    return head[:count]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("candidates")
    parser.add_argument("target")
    parser.add_argument("--count", type=int, default=7)
    parser.add_argument("--limit", type=float, default=0.95)
    options = parser.parse_args()
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(options.model, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    rng = random.Random(7)
    with open(options.candidates, encoding="utf-8") as source, open(options.target, "w", encoding="utf-8") as target:
        for line in source:
            row = json.loads(line)
            texts = [c["text"] for c in row["candidates"]]
            values = model.predict([(row["query"], t) for t in texts], tokenizer).tolist()
            scores = {c["id"]: v for c, v in zip(row["candidates"], values)}
            row["negatives"] = choose(row, scores, options.limit, options.count, rng)
            target.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
