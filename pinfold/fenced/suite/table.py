"""Every check in order, and the run of them: a result for each, with its reason."""

import functools
import shutil
import tempfile
import time
import warnings

from ..values import describe
from . import (
    batches,
    gradients,
    graphs,
    losses,
    papers,
    precision,
    saving,
    shapes,
    starting,
    text,
    ties,
    training,
)
from .subject import CheckFailed, NotApplicable, classes_of, prepare

CHECKS = (
    papers.configuration_kept, papers.nested_configurations, papers.number_of_labels, papers.common_names,
    papers.documented,
    starting.every_weight_drawn, starting.same_seed_same_weights, starting.drawn_by_kind,
    starting.missing_weights_drawn,
    saving.save_and_load, saving.every_tensor_saved, saving.ignored_keys, saving.buffers_after_loading,
    saving.pickles, saving.copies,
    ties.ties, ties.embeddings, ties.resize, ties.head_and_base,
    batches.same_twice, batches.dropout_in_training, batches.row_alone, batches.batch_of_one,
    batches.padding_right, batches.padding_left, batches.padding_content,
    shapes.hidden_states, shapes.attentions, shapes.tuple_or_dict, shapes.embeds_for_ids, shapes.attention_ways,
    losses.labels_matter, losses.problem_types, losses.ignored_labels,
    gradients.checkpointing, gradients.every_weight_trained, gradients.frozen_stays, gradients.learns,
    training.trainer_step, training.accumulation,
    precision.half, precision.autocast, precision.on_its_device, precision.device_map,
    graphs.compiles, graphs.exports,
    text.cache_changes_nothing, text.prompts_in_a_batch, text.static_cache, text.beams, text.keeps_settings,
)  # fmt: skip
PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"


def name_of(check) -> str:
    return check.__name__.replace("_", " ")


def result(check, subject) -> tuple[str, str]:
    """(state, sentence) of one check. What a model raises is its failure; a check that compares nothing has failed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            said = check(subject)
    except NotApplicable as reason:
        return NOT_APPLICABLE, str(reason)
    except CheckFailed as failed:
        return FAILED, str(failed)
    except (Exception, SystemExit) as error:  # a folder's code may raise anything
        return FAILED, f"it raises {describe(error)}"
    if not said:
        return FAILED, "the check compared nothing"
    return PASSED, said


def run(
    folder: str, places: dict, auto: str, device: str, stored: str | None = None, only: list | None = None
) -> list:
    """Results of one class: dicts of check, state, text and seconds. Never raises."""
    directory = tempfile.mkdtemp()
    results = []
    try:
        subject = prepare(folder, classes_of(folder, places), auto, device, directory, stored)
        for check in CHECKS:
            if only is None or name_of(check) in only:
                started = time.monotonic()
                state, said = result(check, subject)
                seconds = round(time.monotonic() - started, 2)
                results.append({"check": name_of(check), "state": state, "text": said, "seconds": seconds})
    except (Exception, SystemExit) as error:
        said = str(error) if isinstance(error, ValueError) else describe(error)
        results.append({"check": "can be run", "state": FAILED, "text": said, "seconds": 0.0})
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    return results


@functools.cache
def devices() -> tuple:
    """The CPU, and a GPU where there is one."""
    import torch

    return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


def answer(request: dict) -> dict:
    """Run what the request names, in the sandbox."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(request["threads"])
    results = {}
    for device in devices():
        arguments = (request["folder"], request["places"], request["auto"], device, request["stored"])
        results[device] = run(*arguments, request.get("only"))
    return {"failures": [], "results": results, "transformers": transformers.__version__}
