"""transformers' Trainer, set up for a task: batches, steps, precision, checkpoints, adapters and processes."""

import contextlib
import dataclasses
import json
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pinfold.common.errors import UserError, missing_extra, one_line
from pinfold.train.tasks.task import Task

SAVE_STEPS = 500  # or every epoch where that is shorter: what an interruption costs at most
LOGGED = 50  # points of the loss curve
PRECISIONS = ("auto", "float32", "bf16", "fp16")
LAYERS = ("Linear", "Conv1d", "Conv2d", "Conv3d")  # that peft can adapt
SHOWN = {
    "loss": "loss",
    "eval_loss": "held-out loss",
    "eval_accuracy": "held-out accuracy",
    "eval_perplexity": "held-out perplexity",
    "eval_f1": "held-out F1",
}


class Processes:
    """The processes of one training, as `torchrun` or `accelerate launch` start them; usually one.

    Every process reads the data and makes the same model; the first one alone writes.
    """

    def __init__(self) -> None:
        self.count = int(os.environ.get("WORLD_SIZE", 1))
        self.rank = int(os.environ.get("RANK", 0))
        if self.count > 1:
            from accelerate import PartialState

            PartialState(cpu=not has_accelerator())

    @property
    def first(self) -> bool:
        return self.rank == 0

    def once(self, function: Callable[[], Any]) -> Any:
        """Call a function in the first process only, and return its answer in all."""
        if self.count == 1:
            return function()
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([function() if self.first else None])[0]

    def end(self) -> None:
        """End a process of several when all are done: an interpreter that ends as usual is aborted by gloo."""
        if self.count > 1:
            import torch

            torch.distributed.barrier()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)

    @contextlib.contextmanager
    def first_before_others(self) -> Iterator[None]:
        """The others begin when the first is done, and find what it has fetched."""
        if self.count == 1:
            yield
            return
        from accelerate import PartialState

        with PartialState().main_process_first():
            yield


def has_accelerator() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def chosen_precision(option: str) -> str:
    """One of PRECISIONS but "auto", which is bf16 where a GPU has it, else float32.

    Raises:
        UserError: fp16 without a GPU, whose scaled gradients need one.
    """
    import torch

    if option == "auto":
        return "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"
    if option == "fp16" and not torch.cuda.is_available():
        raise UserError("--precision=fp16 needs a GPU; use bf16, or float32")
    return option


def check_model(model: Any, settings: dict[str, Any], processes: int) -> None:
    """Check options against the model and the number of processes.

    Raises:
        UserError: an option that the model or the number of processes cannot have.
    """
    if settings["gradient_checkpointing"] and not model.supports_gradient_checkpointing:
        raise UserError(f"--gradient-checkpointing: {type(model).__name__} does not support it; leave it out")
    if settings["batch_size"] % processes:
        raise UserError(
            f"--batch-size={settings['batch_size']} is not a multiple of {processes} processes; use one that is"
        )
    if settings["fsdp"] and settings["lora"]:
        raise UserError(f"--fsdp cannot be combined with --lora={settings['lora']}; leave one of them out")
    if settings["fsdp"] and processes == 1:
        raise UserError("--fsdp shards a model over several processes; start it with torchrun --nproc-per-node 2")


def adapted(model: Any, task: Task, settings: dict[str, Any]) -> Any:
    """The model with low-rank adapters (Hu et al. 2021, https://arxiv.org/abs/2106.09685) below its head, by peft.

    Raises:
        UserError: peft is not installed, or there is no layer that it adapts.
    """
    if settings["lora"] is None:
        return model
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise missing_extra("train --lora", "train", error) from None
    prefix = getattr(model, "base_model_prefix", "")
    heads = [
        name for name, child in model.named_children() if name != prefix and any(True for _ in child.parameters())
    ]
    output = model.get_output_embeddings()
    layers = [
        name
        for name, module in model.named_modules()
        if any(kind.__name__ in LAYERS for kind in type(module).__mro__)
        and name.partition(".")[0] not in heads
        and module is not output
    ]
    if not layers:
        raise UserError(
            f"--lora={settings['lora']}: {type(model).__name__} has no linear layer or convolution below its head; "
            "train all of it"
        )
    config = LoraConfig(
        r=settings["lora"], lora_alpha=2 * settings["lora"], target_modules=layers,
        modules_to_save=heads if task.new_head else None,
    )  # fmt: skip
    return get_peft_model(model, config)


def make_trainer(model: Any, task: Task, settings: dict[str, Any], output: Path, processes: int = 1) -> Any:
    """Configure transformers' Trainer, after one batch has shown that data and model fit together.

    Raises:
        UserError: they do not fit, or the disk has no room for checkpoints.
    """
    import torch
    from transformers import EarlyStoppingCallback, Trainer

    check_batch(model, task)
    check_space(model, output)
    train = task.train
    if task.unit == "pictures" and len(train) % settings["batch_size"] == 1 and len(train) > 1:
        train = train[1:]  # batch norm refuses a batch of one
    arguments = training_arguments(model, task, settings, output, len(train), processes)

    class Repeatable(Trainer):
        """An evaluation draws seeds for its batches; what is trained after it must not depend on whether there was
        one, as a resumed training has not."""

        def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
            with torch.random.fork_rng():
                return super().evaluate(*arguments, **options)

    if settings["fsdp"] and not has_accelerator():
        shard_on_processors(arguments)
    trainer = Repeatable(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=task.held,
        data_collator=task.collate,
        compute_metrics=task.metrics,
        preprocess_logits_for_metrics=task.reduce,
        compute_loss_func=task.loss(),
        callbacks=[EarlyStoppingCallback(settings["patience"])] if settings["patience"] is not None else None,
    )
    follow_epochs(trainer, task)
    return trainer


def check_batch(model: Any, task: Task) -> None:
    """Run the model on two examples.

    Raises:
        UserError: it fails.
    """
    import torch

    try:
        with torch.no_grad():
            model.eval()(**task.collate(task.train[:2]))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise UserError(
            f"model and {task.processor} do not fit ({one_line(error)}); change one of them with --set"
        ) from None


def check_space(model: Any, output: Path) -> None:
    """
    Raises:
        UserError: the disk has no room for two checkpoints with AdamW's state, and one model.
    """
    needed = 7 * sum(tensor.nbytes for tensor in model.state_dict().values())
    if (free := shutil.disk_usage(output).free) < needed:
        raise UserError(f"{output}: {free / 1e9:.1f} GB free, training needs {needed / 1e9:.1f} GB; free some space")


def training_arguments(
    model: Any, task: Task, settings: dict[str, Any], output: Path, examples: int, processes: int
) -> Any:
    """transformers' TrainingArguments for the settings of a training.

    Args:
        examples: to train on in each epoch.
    """
    from transformers import TrainingArguments

    batches = -(-examples // settings["batch_size"])
    steps = -(-batches // settings["accumulate"])  # of an epoch
    keeps_best = task.keeps_best or settings["patience"] is not None
    best = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "greater_is_better": False}
    return TrainingArguments(
        **(best if keeps_best else {}),
        **version_arguments(task, settings),
        **distribution_arguments(model, settings, processes),
        restore_callback_states_from_checkpoint=True,  # of early stopping
        output_dir=str(output),
        num_train_epochs=settings["epochs"],
        per_device_train_batch_size=settings["batch_size"] // processes,
        per_device_eval_batch_size=settings["batch_size"] // processes,
        dataloader_pin_memory=has_accelerator(),
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="cosine",
        gradient_accumulation_steps=settings["accumulate"],
        warmup_steps=int(settings["warmup"] * steps * settings["epochs"]),
        weight_decay=settings["weight_decay"],
        seed=settings["seed"],
        bf16=settings["precision"] == "bf16",
        fp16=settings["precision"] == "fp16",
        torch_compile=settings["compile"],
        use_cpu=not has_accelerator(),
        eval_strategy="epoch",
        logging_steps=max(1, steps * settings["epochs"] // LOGGED),
        logging_first_step=True,
        save_strategy="epoch" if keeps_best else "steps",
        save_steps=min(steps, SAVE_STEPS),
        save_total_limit=1,
        disable_tqdm=False,
        remove_unused_columns=False,
        label_names=list(task.labels),
        report_to="none",
    )


def version_arguments(task: Task, settings: dict[str, Any]) -> dict[str, Any]:
    """Arguments that have another name in transformers 5."""
    from transformers import TrainingArguments

    known = {field.name for field in dataclasses.fields(TrainingArguments)}
    arguments: dict[str, Any] = {}
    if task.grouped:
        sampling = {"train_sampling_strategy": "group_by_length"}
        arguments |= sampling if sampling.keys() <= known else {"group_by_length": True}
    if settings["gradient_checkpointing"]:
        name = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
        arguments |= {name: True, f"{name}_kwargs": {"use_reentrant": False}}
    return arguments


def distribution_arguments(model: Any, settings: dict[str, Any], processes: int) -> dict[str, Any]:
    """Arguments of several processes."""
    if settings["fsdp"]:
        # torch warns of outputs that someone might write into; Trainer does not
        warnings.filterwarnings("ignore", message=".*returned a view tensor")
        return {"fsdp": "full_shard", "fsdp_config": {"transformer_layer_cls_to_wrap": sharded_layers(model)}}
    if processes > 1:  # what a head does not read has no gradient, such as BERT's pooler
        return {"ddp_find_unused_parameters": not settings["gradient_checkpointing"]}
    return {}


def sharded_layers(model: Any) -> list[str]:
    """The classes of layers that FSDP gathers one at a time: those that must not be split, but for those around the
    input and output embeddings, as accelerate gathers these two, which may share their weight, together."""
    getters = ("get_input_embeddings", "get_output_embeddings")
    embeddings = [module for get in getters if (module := getattr(model, get, lambda: None)()) is not None]
    modules = list(model.modules())
    around = {type(module).__name__ for module in modules if any(part in embeddings for part in module.modules())}
    names = {type(module).__name__ for module in modules}
    return sorted((set(getattr(model, "_no_split_modules", None) or ()) & names) - around)


def shard_on_processors(arguments: Any) -> None:
    """Let accelerate shard a model on CPUs, too: its state takes the plugin only where there are GPUs, as of 1.15."""
    from accelerate import Accelerator, PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    _ = arguments.device  # sets up the processes anew, which would undo what follows
    plugin = FullyShardedDataParallelPlugin(**arguments.fsdp_plugin_args)
    state = Accelerator(cpu=True, mixed_precision="bf16" if arguments.bf16 else "no", fsdp_plugin=plugin).state
    PartialState().distributed_type = state.distributed_type = DistributedType.FSDP
    state.fsdp_plugin = plugin


def follow_epochs(trainer: Any, task: Task) -> None:
    """Keep the number of the epoch in the task, which may draw its examples anew in each."""
    from transformers import TrainerCallback

    class Epoch(TrainerCallback):
        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            task.epoch = int(state.epoch + 1e-6)

    trainer.add_callback(Epoch())


def end_if_stopped(trainer: Any, checkpoint: Path, settings: dict[str, Any]) -> None:
    """Let a run that had lost its patience when it was interrupted end at once: Trainer would go on."""
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    stopping = state.get("stateful_callbacks", {}).get("EarlyStoppingCallback", {})
    if isinstance(stopping, list) and stopping:
        stopping = stopping[0]
    attributes = stopping.get("attributes", {}) if isinstance(stopping, dict) else {}
    waited = attributes.get("early_stopping_patience_counter", 0)
    if settings["patience"] is not None and waited >= settings["patience"]:
        trainer.args.num_train_epochs = round(state["epoch"])


def merged(trainer: Any, model: Any) -> Any:
    """The trained model with its adapters added to its weights, as it is evaluated and saved."""
    if not hasattr(model, "merge_and_unload"):
        return model
    trainer.model = trainer.model_wrapped = model.merge_and_unload()
    return trainer.model


def gathered(trainer: Any, model: Any, whole: Any | None) -> Any:
    """The model with all of its weights. Where every process holds a part of them, they are put into a whole one, a
    new model, as weights that are one tensor there come as two; called by every process.
    """
    if whole is None:
        return model
    if weights := trainer.accelerator.get_state_dict(trainer.model_wrapped):  # of the first process
        whole.load_state_dict(weights)
    return whole


def progress_bar(trainer: Any) -> Any:
    """Put losses and accuracy at the end of Trainer's progress bar, where it would print dictionaries between."""
    from transformers.trainer_callback import ProgressCallback

    class Bar(ProgressCallback):
        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any
        ) -> None:
            self.shown = getattr(self, "shown", {}) | {SHOWN[k]: f"{v:.4f}" for k, v in logs.items() if k in SHOWN}
            if self.training_bar is not None:
                self.training_bar.set_postfix(self.shown)

        def close(self) -> None:
            for bar in (self.prediction_bar, self.training_bar):
                if bar is not None:
                    bar.close()

    bar = Bar()
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(bar)
    return bar
