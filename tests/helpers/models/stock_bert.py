"""transformers' own BERT small, and the folders that it is saved in: what bert_model is converted from."""

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import BertConfig

TINY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
TINY |= {"vocab_size": 99, "max_position_embeddings": 32}


def stock(name: str = "BertModel", **config) -> transformers.PreTrainedModel:
    """One of transformers' classes, with no weight left at zero or one."""
    torch.manual_seed(0)
    model = getattr(transformers, name)(BertConfig(**TINY | config, attn_implementation="eager")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def saved(model: torch.nn.Module, folder: Path, form: str = "safetensors") -> Path:
    model.save_pretrained(folder, **({"max_shard_size": "5KB"} if "shards" in form else {}))
    if form.startswith("pickle"):
        rename = {}
        for file in sorted(folder.glob("*.safetensors")):
            rename[file.name] = file.name.replace("model", "pytorch_model").replace(".safetensors", ".bin")
            torch.save(load_file(file), folder / rename[file.name])
            file.unlink()
        if (index := folder / "model.safetensors.index.json").is_file():
            shards = json.loads(index.read_text())
            shards["weight_map"] = {key: rename[name] for key, name in shards["weight_map"].items()}
            (folder / "pytorch_model.bin.index.json").write_text(json.dumps(shards))
            index.unlink()
    return folder


def edit(folder: Path, weights=None, **config) -> Path:
    """Change the tensors and the configuration of a saved folder."""
    if weights is not None:
        save_file(weights(load_file(folder / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})
    fields = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps({k: v for k, v in fields.items() if v is not None}))
    return folder
