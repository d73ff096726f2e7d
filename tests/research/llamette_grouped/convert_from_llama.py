"""Makes a Llamette of a Llama checkpoint: q, k, v and o are taken over, the rest starts anew.

    python convert_from_llama.py meta-checkpoint llamette-out
"""
import argparse

import torch
from transformers import AutoTokenizer, LlamaForCausalLM


def carry_over(source, target):
    """Weights of source that target has under the same name and in the same shape."""
    own = target.state_dict()
    taken, left = [], []
    for name, tensor in source.state_dict().items():
        if name in own and own[name].shape == tensor.shape:
            own[name].copy_(tensor)
            taken.append(name)
        else:
            left.append(name)
    target.load_state_dict(own)
    return taken, left


def check(model, tokenizer):
    prompt = tokenizer("The llamas of the Andes", return_tensors="pt")
    with torch.no_grad():
        a = model(**prompt).logits
        b = model(**prompt, use_cache=False).logits
    print("cache and no cache differ by", (a - b).abs().max().item())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--dtype", default="bfloat16")
    args = parser.parse_args()

    from configuration_llamette import LlametteConfig
    from modeling_llamette import LlametteForCausalLM

    source = LlamaForCausalLM.from_pretrained(args.source, torch_dtype=getattr(torch, args.dtype))
    config = LlametteConfig(**source.config.to_dict())
    target = LlametteForCausalLM(config).to(source.dtype)
    taken, left = carry_over(source, target)
    print(f"{len(taken)} taken, {len(left)} left: {left[:5]}")
    tokenizer = AutoTokenizer.from_pretrained(args.source)
    check(target, tokenizer)
    target.save_pretrained(args.target)
    tokenizer.save_pretrained(args.target)


if __name__ == "__main__":
    main()
