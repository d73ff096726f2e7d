"""Zero-shot classification of a folder of pictures, one folder for each label."""
import argparse
from pathlib import Path

import torch
from transformers import AutoModel, AutoProcessor


@torch.no_grad()
def label_vectors(model, processor, labels, languages):
    vectors = []
    for language in languages:
        tokens = processor.zero_shot(labels, language, return_tensors="pt")
        features = model.get_text_features(tokens["input_ids"], tokens["attention_mask"])
        vectors.append(torch.nn.functional.normalize(features, dim=-1))
    return torch.nn.functional.normalize(torch.stack(vectors).mean(0), dim=-1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--languages", nargs="+", default=["en", "de"])
    options = parser.parse_args()
    from PIL import Image

    model = AutoModel.from_pretrained(options.model, trust_remote_code=True).eval()
    processor = AutoProcessor.from_pretrained(options.model, trust_remote_code=True)
    labels = sorted(p.name for p in options.folder.iterdir() if p.is_dir())
    vectors = label_vectors(model, processor, labels, options.languages)
    right = total = 0
    for number, label in enumerate(labels):
        for path in sorted((options.folder / label).glob("*.jpg")):
            pixels = processor(images=Image.open(path).convert("RGB"), return_tensors="pt")["pixel_values"]
            with torch.no_grad():
                scores = model.similarity(model.get_image_features(pixels), vectors)
            right += int(scores.argmax() == number)
            total += 1
    print(f"{right} of {total} right")


if __name__ == "__main__":
    main()
