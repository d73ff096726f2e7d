"""What train needs to know of pictures: the data, model and image processor, batches, and the accuracy."""

import argparse
import json
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, missing_extra
from pinfold.train.classes import fine_tuned, one_line, with_code
from pinfold.train.data.pictures import held_out, load_data, opened
from pinfold.train.metrics import wilson

CLASSIFIER, PROCESSOR = "AutoModelForImageClassification", "AutoImageProcessor"


class Pictures:
    """Image classification, on a named data set or a folder of class folders."""

    task, auto, processor = "image-classification", CLASSIFIER, "image processor"
    parts = {"image_processor": PROCESSOR}  # noqa: RUF012
    defaults, options = {"epochs": 10}, frozenset()
    keeps_best = grouped = False
    new_head, labels, reduce, unit = True, ("labels",), None, "pictures"

    def __init__(self, args: argparse.Namespace):
        try:
            import sklearn  # noqa: F401
            from PIL import Image  # noqa: F401
        except ImportError as error:
            raise missing_extra("train", "train,vision", error) from None
        fraction = 0.2 if args.eval_fraction is None else args.eval_fraction
        found = load_data(args.data)
        places = held_out(found.labels, fraction, args.seed)
        self.train, self.held = ([{"image": found.images[i], "label": found.labels[i]} for i in ids] for ids in places)
        self.data = {"name": found.name, "description": found.description, "n": len(found.images)}
        self.data["classes"] = found.names
        self.split = {"name": "held-out", "fraction": fraction, "stratified": True, "seed": args.seed}
        self.start = args.start
        self.images: Any = None  # the image processor

    def make(self, found: dict[str, type], settings: dict) -> Any:
        """Make the classifier and its image processor, new or from a checkpoint.

        Args:
            found: the folder's classes by their Auto class.
            settings: with "fields" of "config" and "image_processor" that differ from their defaults, or the
                checkpoint's.

        Raises:
            UserError: a field that the folder's classes refuse, or a checkpoint that does not fit.
        """
        fields, labels, start = settings["fields"], self.data["classes"], self.start
        named = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
        stored = {}
        try:
            if start is None:
                model = found[CLASSIFIER](found[CLASSIFIER].config_class(**named, **fields["config"]))
            else:
                model = fine_tuned(found[CLASSIFIER], start, named | fields["config"])
                if (start / "preprocessor_config.json").is_file():
                    stored = json.loads((start / "preprocessor_config.json").read_text(encoding="utf-8"))
            if PROCESSOR not in found and not stored:
                raise UserError(
                    f"no {PROCESSOR} in the folder or in a checkpoint; add image_processing_*.py to the folder"
                )
            if PROCESSOR in found:
                self.images = found[PROCESSOR](**stored | fields["image_processor"])
            else:
                from transformers import AutoImageProcessor

                self.images = AutoImageProcessor.from_pretrained(start)
        except UserError:
            raise
        except Exception as error:  # somebody else's constructor, or a damaged file: either may raise anything
            raise UserError(one_line(error)) from None
        return with_code(model, found)

    def collate(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch of pictures as the model takes it."""
        import torch

        pictures = [opened(item["image"]) for item in items]
        try:
            batch = self.images(images=pictures, return_tensors="pt")
        except (ValueError, TypeError) as error:
            names = [str(item["image"]) for item in items if isinstance(item["image"], Path)]
            raise UserError(
                f"{', '.join(names[:3]) or 'a picture'}: {one_line(error)}; convert or remove it"
            ) from None
        return {"pixel_values": batch["pixel_values"], "labels": torch.tensor([item["label"] for item in items])}

    def metrics(self, found: Any) -> dict[str, float]:
        """What Trainer computes from logits and labels."""
        return {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())}

    def loss(self) -> None:
        """The model's own."""

    def described(self) -> str:
        """What goes behind the number of parameters."""
        told = f"{self.data['description']}: {len(self.train)} pictures to train on, {len(self.held)} held out"
        return f"{len(self.data['classes'])} classes\n{told}"

    def results(self, measured: dict) -> tuple[dict, int, str]:
        """Metrics, of how many, and a line that tells it."""
        accuracy, count = measured["eval_accuracy"], len(self.held)
        told = f"held-out accuracy {accuracy:.2%} ({round(accuracy * count)} of {count} pictures)"
        interval = wilson(round(accuracy * count), count)
        return {"accuracy": accuracy, "accuracy_interval": interval, "loss": measured["eval_loss"]}, count, told

    def save(self, directory: Path) -> None:
        """Save the image processor."""
        self.images.save_pretrained(directory)
