"""One training, step by step: folder and data, settings, model and Trainer, and what is left in --output."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, missing_extra
from pinfold.train.classes import field_names, import_classes, set_fields
from pinfold.train.options import Options
from pinfold.train.output import (
    begin,
    is_full,
    prepare_output,
    remove_checkpoints,
    save_model,
    write_results,
    write_training,
)
from pinfold.train.tasks.answers import Answers
from pinfold.train.tasks.labels import LabelledText
from pinfold.train.tasks.pictures import Pictures
from pinfold.train.tasks.tags import TaggedWords
from pinfold.train.tasks.task import Task
from pinfold.train.tasks.text import MaskedText, Text
from pinfold.train.trainer import (
    Processes,
    adapted,
    check_model,
    chosen_precision,
    end_if_stopped,
    gathered,
    make_trainer,
    merged,
    progress_bar,
)

# in the order in which one is chosen where --task is not given: the first that the folder has a class for
TASKS: dict[str, type[Task]] = {
    task.name: task for task in (Pictures, Text, LabelledText, MaskedText, TaggedWords, Answers)
}
EQUIPMENT = ("gradient_checkpointing", "compile", "lora", "fsdp")  # options of every task that change how it is done
DEFAULTS = {"batch_size": 32, "learning_rate": 1e-3, "weight_decay": 0.01, "warmup": 0.1}  # a task has more


def run(options: Options) -> None:
    """Train the model of a folder, evaluate it, and leave it in --output.

    Raises:
        UserError: a package, the folder, the data, an option or the output does not allow it.
    """
    try:
        import accelerate  # noqa: F401 (Trainer needs it, and says so less plainly)
        import torch  # noqa: F401
        import transformers
    except ImportError as error:
        raise missing_extra("train", "train,vision", error) from None
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()  # of loading; the training's own stays
    if options.lora and options.start is None:
        raise UserError(f"--lora={options.lora} adapts a trained model; add --from CHECKPOINT")

    processes = Processes()
    with processes.first_before_others():
        classes = import_classes(options.folder)
        task = make_task(options, classes)
    settings = make_settings(options, task, classes)
    checkpoint = processes.once(lambda: prepare_output(options.output, settings, options.overwrite))

    transformers.set_seed(options.seed)  # the model's weights are drawn next
    model = task.make(classes, settings)
    check_model(model, settings, processes.count)
    # both are kept as they are now: Trainer writes its options into the configuration, FSDP replaces the class
    config = copy.deepcopy(model.config)
    model_class = type(model)
    model = adapted(model, task, settings)
    trainer = make_trainer(model, task, settings, options.output, processes.count)
    if checkpoint:
        end_if_stopped(trainer, checkpoint, settings)
    else:  # no check can fail any more: only now what an earlier training left is cleared
        processes.once(lambda: begin(options.output, settings))
    if processes.first:
        print(f"{described_size(model)}, {task.described()}")
        if checkpoint:
            print(f"continuing from {checkpoint}")
    sys.stdout.flush()  # before the progress bar, which goes to stderr

    model, trained, measured = train_and_evaluate(trainer, model, options.output, checkpoint)
    model = gathered(trainer, model, model_class(config) if settings["fsdp"] else None)
    model.config = config
    resumed = checkpoint is not None
    processes.once(lambda: finish(options, settings, trainer, model, task, trained, measured, resumed))
    processes.end()


def make_task(options: Options, classes: dict[str, type]) -> Task:
    """The task, with its data read: that of --task, or else the first that the folder has a class for.

    Raises:
        UserError: the folder has no class for it, an option of another task, or data that cannot be read.
    """
    fitting = [task for task in TASKS.values() if task.auto in classes]
    chosen = TASKS[options.task] if options.task else next(iter(fitting), None)
    if chosen is None or chosen.auto not in classes:
        needed = chosen.auto if chosen else " or ".join(task.auto for task in TASKS.values())
        raise UserError(
            f"{options.folder}: no {needed} here, only {', '.join(classes)}; train another folder, or add one"
        )
    for other in TASKS.values():
        for option in sorted((other.defaults.keys() | other.options) - chosen.defaults.keys() - chosen.options):
            if (value := getattr(options, option)) is not None:
                raise UserError(
                    f"--{option.replace('_', '-')}={value} is for --task {other.name}, and this is {chosen.name}; "
                    "leave it out"
                )
    return chosen(options)


def make_settings(options: Options, task: Task, classes: dict[str, type]) -> dict[str, Any]:
    """What a training is made of, as training.json records it: an interrupted one continues with the same only.

    The command line's options win over the folder's preset, and this over the task's defaults.

    Raises:
        UserError: fields that the folder does not have, or a preset that cannot be read.
    """
    defaults = DEFAULTS | task.defaults
    known = {"config": field_names(getattr(classes[task.auto], "config_class"))}  # noqa: B009 (a model class)
    known |= {part: field_names(classes.get(auto)) for part, auto in task.parts.items()}
    preset = read_preset(options.folder, (task.data["name"], task.name), (*known, "train"), defaults)
    fields = set_fields(options.fields, known)
    if options.start is None:  # a checkpoint brings its own
        fields = {part: preset[part] | values for part, values in fields.items()}
    given = {name: value for name in defaults if (value := getattr(options, name)) is not None}
    return {
        "folder": options.folder.resolve().name,
        "task": task.name,
        "from": str(options.start) if options.start else None,
        "fields": fields,
        "data": task.data,
        "split": task.split,
        "seed": options.seed,
        "precision": chosen_precision(options.precision),
        **{name: getattr(options, name) for name in ("accumulate", "patience", *EQUIPMENT)},
        **(defaults | preset["train"] | given),
    }


def read_preset(
    folder: Path, names: tuple[str, str], parts: tuple[str, ...], known: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """What the folder's presets.json says about a data set, or else about a task: fields and options.

    Args:
        names: of the data set and of the task.
        parts: of a preset; "train" has options.
        known: the options that "train" may have.

    Raises:
        UserError: the file is damaged, or has an unknown option.
    """
    path = folder / "presets.json"
    try:
        presets = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        preset = presets.get(names[0], presets.get(names[1], {}))
        preset = {part: dict(preset.get(part, {})) for part in parts}
    except (ValueError, AttributeError, TypeError) as error:
        raise UserError(f"{path}: {error}; it maps a data set to {', '.join(parts)}") from None
    if unknown := preset["train"].keys() - known.keys():
        raise UserError(f"{path}: unknown train options {', '.join(unknown)}; known are {', '.join(known)}")
    return preset


def described_size(model: Any) -> str:
    """The class of the model and its number of parameters."""
    base = model.get_base_model() if hasattr(model, "merge_and_unload") else model
    count = sum(parameter.numel() for parameter in model.parameters())
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    part = "" if trained == count else f" ({trained / 1e6:.2f} M of them trained)"
    return f"{type(base).__name__}: {count / 1e6:.1f} M parameters{part}"


def train_and_evaluate(
    trainer: Any, model: Any, output: Path, checkpoint: Path | None
) -> tuple[Any, Any, dict[str, float]]:
    """Train, from a checkpoint on if there is one, and evaluate.

    Returns:
        The model with its adapters merged, Trainer's TrainOutput, and the metrics of the last evaluation.

    Raises:
        UserError: the disk is full.
    """
    bar = progress_bar(trainer)
    try:
        trained = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        model = merged(trainer, model)  # before it is evaluated: merging rounds
        return model, trained, trainer.evaluate()
    except KeyboardInterrupt:
        print("\nthe same command continues from the last checkpoint", file=sys.stderr)
        raise
    except Exception as error:  # each library has its own for a write that fails
        if is_full(output, error, model):
            raise UserError(
                f"{output}: no space left for a checkpoint; free some, and the same command continues"
            ) from None
        raise
    finally:
        bar.close()


def finish(
    options: Options, settings: dict[str, Any], trainer: Any, model: Any, task: Task, trained: Any,
    measured: dict[str, float], resumed: bool,
) -> None:  # fmt: skip
    """Save the model, and say how it was trained and how good it is."""
    save_model(options.output, model, task)
    trainer.save_state()
    write_training(options.output, settings, trainer.args, trained, resumed)
    summary = write_results(options.output, task, measured)  # the last: with it the training counts as finished
    remove_checkpoints(options.output)  # optimizer states, larger than the model and not needed any more
    print(summary)
    print(
        f"wrote {options.output}; to publish: pinfold push {options.folder} --checkpoint {options.output} "
        "--repo YOU/NAME"
    )
