"""Trains the draft heads of a Qwen2 checkpoint. The trunk stays as it is.

    torchrun --nproc_per_node 8 train_drafts.py --base Qwen/Qwen2.5-1.5B --data corpus.jsonl
"""
import argparse
import json

import torch
from torch.utils.data import Dataset
from transformers import AutoTokenizer, Trainer, TrainerCallback, TrainingArguments


class Lines(Dataset):
    def __init__(self, path, tokenizer, length=1024):
        self.rows = []
        buffer = []
        with open(path, encoding="utf-8") as handle:
            for line in handle:
                buffer.extend(tokenizer(json.loads(line)["text"])["input_ids"] + [tokenizer.eos_token_id])
                while len(buffer) >= length:
                    self.rows.append(buffer[:length])
                    buffer = buffer[length:]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = torch.tensor(self.rows[index])
        return {"input_ids": row, "labels": row.clone()}


class AcceptanceCallback(TrainerCallback):
    """Now and then, how many guesses are taken."""

    def __init__(self, prompt, every=500):
        self.prompt = prompt
        self.every = every

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step % self.every:
            return
        model.eval()
        _, counts = model.write_speculative(self.prompt.to(model.device), 64)
        print(f"step {state.global_step}: {counts['accepted'] / max(1, counts['calls']):.2f} taken by call")
        model.train()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--base", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", default="pebble-out")
    parser.add_argument("--depth", type=int, default=3)
    options = parser.parse_args()
    from configuration_pebble import PebbleConfig
    from modeling_pebble import PebbleForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(options.base)
    config = PebbleConfig.from_pretrained(options.base, draft_depth=options.depth)
    model = PebbleForCausalLM.from_pretrained(options.base, config=config, torch_dtype=torch.bfloat16)
    model.freeze_trunk()
    trainer = Trainer(
        model=model,
        args=TrainingArguments(options.out, per_device_train_batch_size=8, learning_rate=1e-3, bf16=True),
        train_dataset=Lines(options.data, tokenizer),
        callbacks=[AcceptanceCallback(tokenizer("Once upon a time", return_tensors="pt")["input_ids"])],
    )
    trainer.train()
    torch.save({k: v for k, v in model.state_dict().items() if "drafts" in k}, f"{options.out}/drafts.pt")


if __name__ == "__main__":
    main()
