"""Image classification: pictures and their classes, the image processor, batches, and the accuracy."""

import json
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, missing_extra, one_line
from pinfold.train.classes import fine_tuned, with_code
from pinfold.train.data.pictures import load_data, opened
from pinfold.train.metrics import wilson
from pinfold.train.options import Options
from pinfold.train.tasks.task import Task, check_sklearn, hold_out

CLASSIFIER = "AutoModelForImageClassification"
PROCESSOR = "AutoImageProcessor"


class Pictures(Task):
    """Image classification, on a named data set or a folder of class folders."""

    name = "image-classification"
    auto = CLASSIFIER
    processor = "image processor"
    unit = "pictures"
    parts = {"image_processor": PROCESSOR}  # noqa: RUF012 (of the class, as its base says)
    defaults = {"epochs": 10}  # noqa: RUF012
    new_head = True

    def __init__(self, options: Options):
        check_sklearn("train,vision")
        try:
            import PIL  # noqa: F401
        except ImportError as error:
            raise missing_extra("train", "train,vision", error) from None
        super().__init__(options)
        data = load_data(options.data)
        kept, held = hold_out(len(data.labels), self.fraction, self.seed, "pictures", classes=data.labels)
        self.train, self.held = (
            [{"image": data.images[i], "label": data.labels[i]} for i in sorted(ids)] for ids in (kept, held)
        )
        self.data = {"name": data.name, "description": data.description, "n": len(data.images)}
        self.data["classes"] = data.names
        self.split = {"name": "held-out", "fraction": self.fraction, "stratified": True, "seed": self.seed}
        self.images: Any = None  # the image processor

    def make(self, classes: dict[str, type], settings: dict[str, Any]) -> Any:
        """Make the classifier and its image processor, new or from a checkpoint."""
        names = self.data["classes"]
        named = {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}}
        fields = settings["fields"]["config"]
        model_class: Any = classes[CLASSIFIER]
        try:
            if self.start is None:
                model = model_class(model_class.config_class(**named, **fields))
            else:
                model = fine_tuned(model_class, self.start, named | fields)
            self.images = self._image_processor(classes.get(PROCESSOR), settings["fields"]["image_processor"])
        except UserError:
            raise
        except Exception as error:  # a stranger's constructor, or a damaged file: either may raise anything
            raise UserError(one_line(error)) from None
        return with_code(model, classes)

    def _image_processor(self, processor_class: type | None, fields: dict[str, Any]) -> Any:
        """The folder's, with what the checkpoint says of it; or else the checkpoint's own."""
        path = self.start / "preprocessor_config.json" if self.start else None
        stored = json.loads(path.read_text(encoding="utf-8")) if path and path.is_file() else {}
        if processor_class is not None:
            return processor_class(**stored | fields)
        if not stored:
            raise UserError(
                f"no {PROCESSOR} in the folder or in a checkpoint; add image_processing_*.py to the folder"
            )
        from transformers import AutoImageProcessor

        return AutoImageProcessor.from_pretrained(self.start)

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

    def metrics(self, prediction: Any) -> dict[str, float]:
        """The accuracy."""
        return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean())}

    def described(self) -> str:
        """The classes, and how many pictures each part has."""
        sizes = f"{len(self.train)} pictures to train on, {len(self.held)} held out"
        return f"{len(self.data['classes'])} classes\n{self.data['description']}: {sizes}"

    def results(self, measured: dict[str, float]) -> tuple[dict[str, Any], int, str]:
        """Accuracy and loss."""
        count = len(self.held)
        accuracy = measured["eval_accuracy"]
        hits = round(accuracy * count)
        metrics = {"accuracy": accuracy, "accuracy_interval": wilson(hits, count), "loss": measured["eval_loss"]}
        return metrics, count, f"held-out accuracy {accuracy:.2%} ({hits} of {count} pictures)"

    def save(self, directory: Path) -> None:
        """Save the image processor."""
        self.images.save_pretrained(directory)
