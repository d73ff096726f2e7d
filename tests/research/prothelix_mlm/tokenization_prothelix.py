"""Residue level tokenizer (vocab is fixed, no files)."""
AA = "LAGVSERTIDPKQNFYMHWCXBUZO.-"
SPECIALS = ["<cls>", "<pad>", "<eos>", "<unk>"]
VOCAB = {t: i for i, t in enumerate(SPECIALS + list(AA) + ["|", "<mask>"])}


def encode(sequence, add_special=True):
    ids = [VOCAB.get(a, VOCAB["<unk>"]) for a in sequence]
    return [VOCAB["<cls>"]] + ids + [VOCAB["<eos>"]] if add_special else ids


def batch_encode(sequences):
    rows = [encode(s) for s in sequences]
    n = max(map(len, rows))
    return [r + [VOCAB["<pad>"]] * (n - len(r)) for r in rows]
