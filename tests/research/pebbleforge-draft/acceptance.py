"""How many guesses of the drafts are taken, by kind of text. For the table in the model card."""
import argparse
import json
import time
from collections import defaultdict

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def rows(path):
    with open(path, encoding="utf-8") as handle:
        for line in handle:
            row = json.loads(line)
            yield row.get("kind", "plain"), row["prompt"]


@torch.no_grad()
def measure(model, tokenizer, path, new_tokens):
    sums = defaultdict(lambda: [0, 0, 0.0, 0.0])
    for kind, prompt in rows(path):
        tokens = tokenizer(prompt, return_tensors="pt")["input_ids"].to(model.device)
        start = time.time()
        fast, counts = model.write_speculative(tokens, new_tokens)
        middle = time.time()
        slow = model.generate(tokens, max_new_tokens=new_tokens, do_sample=False)
        end = time.time()
        length = min(fast.shape[1], slow.shape[1])
        if not torch.equal(fast[:, :length], slow[:, :length]):
            print(f"{kind}: another text than generate's")
        entry = sums[kind]
        entry[0] += counts["calls"]
        entry[1] += counts["accepted"]
        entry[2] += middle - start
        entry[3] += end - middle
    return sums


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("prompts")
    parser.add_argument("--tokens", type=int, default=128)
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, trust_remote_code=True, torch_dtype="auto").eval()
    if torch.cuda.is_available():
        model = model.to("cuda")
    for kind, (calls, accepted, fast, slow) in measure(model, tokenizer, options.prompts, options.tokens).items():
        print(f"{kind:12} {accepted / max(1, calls):5.2f} taken by call, {slow / max(fast, 1e-9):4.2f} times as fast")


if __name__ == "__main__":
    main()
