"""Writes a few lines: python sample.py [MODEL]"""
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPT = "The tide"

if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else "."
    model = AutoModelForCausalLM.from_pretrained(name, trust_remote_code=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(name)
    for seed in range(4):
        torch.manual_seed(seed)
        tokens = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
        print(tokenizer.decode(model.babble(tokens, steps=48)[0]))
