"""nDCG@10 / recall on a folder with corpus.jsonl, queries.jsonl and qrels.tsv (BEIR layout)"""
import csv
import json
import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np


def read(folder: Path):
    corpus = {r["_id"]: (r.get("title", "") + " " + r["text"]).strip()
              for r in map(json.loads, (folder / "corpus.jsonl").open())}
    queries = {r["_id"]: r["text"] for r in map(json.loads, (folder / "queries.jsonl").open())}
    qrels = defaultdict(dict)
    with (folder / "qrels.tsv").open() as handle:
        for q, d, s in list(csv.reader(handle, delimiter="\t"))[1:]:
            qrels[q][d] = int(s)
    return corpus, {q: t for q, t in queries.items() if q in qrels}, qrels


def dcg(gains):
    return sum((2 ** g - 1) / math.log2(i + 2) for i, g in enumerate(gains))


def ndcg(ranked, rel, k=10):
    best = dcg(sorted(rel.values(), reverse=True)[:k])
    return dcg([rel.get(d, 0) for d in ranked[:k]]) / best if best > 0 else 0.0


def recall(ranked, rel, k=100):
    positive = {d for d, s in rel.items() if s > 0}
    return len(positive & set(ranked[:k])) / max(1, len(positive))


def search(q, d, top=100, block=256):
    out = []
    for i in range(0, len(q), block):
        s = q[i:i + block] @ d.T
        k = min(top, s.shape[1])
        part = np.argpartition(-s, k - 1, axis=1)[:, :k]
        order = np.take_along_axis(s, part, 1).argsort(1)[:, ::-1]
        out.append(np.take_along_axis(part, order, 1))
    return np.concatenate(out)


def main(model_path, folder):
    from transformers import AutoModel, AutoTokenizer
    tokenizer = AutoTokenizer.from_pretrained(model_path)
    model = AutoModel.from_pretrained(model_path, trust_remote_code=True).eval()
    corpus, queries, qrels = read(Path(folder))
    ids, qids = list(corpus), list(queries)
    d = model.encode([corpus[i] for i in ids], tokenizer)
    q = model.encode([queries[i] for i in qids], tokenizer, instruction="Retrieve passages that answer the question")
    hits = search(q, d)
    n, r = [], []
    for row, qid in zip(hits, qids):
        ranked = [ids[j] for j in row]
        n.append(ndcg(ranked, qrels[qid]))
        r.append(recall(ranked, qrels[qid]))
    print(f"ndcg@10 {np.mean(n):.4f}  recall@100 {np.mean(r):.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
