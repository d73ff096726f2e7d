"""How much each head takes away from its neighbour, by layer."""
import sys

import torch
from transformers import AutoModelForCausalLM


if __name__ == "__main__":
    model = AutoModelForCausalLM.from_pretrained(sys.argv[1], trust_remote_code=True)
    for i, layer in enumerate(model.model.layers):
        attention = layer.self_attn
        lam = torch.sigmoid((attention.lambda_q * attention.lambda_k).sum()) * attention.lambda_start
        print(f"layer {i:2}: {lam.item():.4f} (began at {attention.lambda_start:.4f})")
    print("mean of all layers is what the paper calls lambda")
