"""python convert_timm.py in.pth out_dir : our timm fork -> this repo"""
import argparse
import re

import torch

RULES = [
    (r"^patch_embed\.proj\.", "hierwin.patch_embed."),
    (r"^patch_embed\.norm\.", "hierwin.patch_norm."),
    (r"^layers\.", "hierwin.layers."),
    (r"^norm\.", "hierwin.norm."),
]
DROP = ("attn_mask", "relative_position_bias_table")


def rename(key):
    for pattern, to in RULES:
        if re.match(pattern, key):
            return re.sub(pattern, to, key)
    return key


def split_qkv_bias(state):
    # the fork keeps q_bias and v_bias apart and has no bias for k
    out = {}
    for k, v in state.items():
        if k.endswith("q_bias"):
            vb = state[k.replace("q_bias", "v_bias")]
            out[k.replace("q_bias", "qkv.bias")] = torch.cat([v, torch.zeros_like(v), vb])
        elif not k.endswith("v_bias"):
            out[k] = v
    return out


def convert(state):
    state = state.get("model", state)
    state = {k: v for k, v in state.items() if not k.endswith(DROP)}
    return {rename(k): v for k, v in split_qkv_bias(state).items()}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("source")
    p.add_argument("target")
    a = p.parse_args()
    from configuration_hierwin import HierWinConfig
    from modeling_hierwin import HierWinForImageClassification

    model = HierWinForImageClassification(HierWinConfig.from_pretrained(a.target))
    missing, unexpected = model.load_state_dict(convert(torch.load(a.source, map_location="cpu")), strict=False)
    print("missing", missing, "unexpected", unexpected)
    model.save_pretrained(a.target)


if __name__ == "__main__":
    main()
