"""MRR and recall on a file of queries, as in the table of the model card."""
import argparse
import json

from transformers import AutoModel, AutoTokenizer


def reciprocal_rank(ranked, right, depth=10):
    for place, number in enumerate(ranked[:depth]):
        if number in right:
            return 1.0 / (place + 1)
    return 0.0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("passages")
    parser.add_argument("queries")
    options = parser.parse_args()
    from searcher import Searcher

    model = AutoModel.from_pretrained(options.model, trust_remote_code=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    with open(options.passages, encoding="utf-8") as handle:
        passages = [json.loads(line)["text"] for line in handle]
    searcher = Searcher(model, tokenizer).index(passages)
    mrr, recall, count = 0.0, 0.0, 0
    with open(options.queries, encoding="utf-8") as handle:
        for line in handle:
            row = json.loads(line)
            ranked = [number for number, _ in searcher.search(row["query"], k=50)]
            right = set(row["relevant"])
            mrr += reciprocal_rank(ranked, right)
            recall += len(right & set(ranked)) / max(1, len(right))
            count += 1
    print(f"MRR@10 {mrr / count:.4f}  R@50 {recall / count:.4f}  of {count} queries")


if __name__ == "__main__":
    main()
