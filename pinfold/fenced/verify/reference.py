"""The first job of verification: the numbers that every later load has to give, made without transformers' loading.

Every registered model is built straight from the folder's source, the file's tensors are put in with load_state_dict's
means, and outputs, loss, gradients and buffers are kept. A tokenizer's ids are those that the checkpoint's own files
give.
"""

import importlib
import inspect
import os
import sys
import tempfile
import types
from dataclasses import dataclass, field

from .. import handover
from ..cost import measured
from ..probe import declared, probes, processor, suggest
from ..values import describe
from . import attention, buffers, generation, losses, tokens, weights
from .answer import Answer, answered
from .explain import explain


class Misfit(Exception):
    """D02: the weights do not fit the class that they were saved from."""


@dataclass(frozen=True)
class SkippedHead:
    """A class that this checkpoint is not for, such as a head with a layer of the same name and another size."""

    auto: str
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.auto}: {self.name} does not fit this checkpoint and was not verified: {self.why}"


@dataclass
class HeadReference:
    """What one model class computes.

    Args:
        outputs: "probe/name" -> tensor. refused: probes that it does not take -> why.
        padded: probe -> how many tokens a row of it has, where a mask hides its padding.
        as_in_memory: outputs with the attention of the model in memory, where a load by default runs with another.
        buffers: tensors that the file does not hold. drawn: those of them that are drawn at random.
        aliases: further names of tensors in the file. missing: tensors that the file lacks -> bytes.
        measured: sizes for the card, of the main class alone. not_run: its inputs that no probe has. ready: a probe
            that has them.
    """

    auto: str
    parameters: int
    aliases: dict[str, str]
    missing: dict[str, int]
    buffers: dict
    drawn: list[str]
    outputs: dict
    refused: dict[str, str]
    losses: dict
    attention: dict
    padded: dict[str, int]
    as_in_memory: dict = field(default_factory=dict)
    custom_generate: dict = field(default_factory=dict)
    measured: dict = field(default_factory=dict)
    not_run: list[str] = field(default_factory=list)
    ready: dict = field(default_factory=dict)

    @property
    def probes(self) -> list[str]:
        """The probes that it takes, in order."""
        return probe_names(self.outputs)

    def keyed_outputs(self) -> dict:
        """Outputs under names that no other class has."""
        own = {f"{self.auto}/{key}": value for key, value in self.outputs.items()}
        return {f"in memory/{key}": value for key, value in self.as_in_memory.items()} | own

    def notes(self) -> list[str]:
        """What is left out of the comparison, for the user."""
        refused = [f"{self.auto}: probe {probe!r} was refused: {why}" for probe, why in self.refused.items()]
        return refused + [f"{self.auto}: buffer {n} is random, so it was not compared" for n in self.drawn]


def answer(request: dict) -> dict:
    """Do the job; exceptions become failures."""
    return answered("reference", reference, request)


def reference(request: dict, answer: Answer) -> dict:
    """What every registered model class computes, its tensors set without transformers' loading."""
    package = types.ModuleType("_folder")
    package.__path__ = [request["folder"]]
    sys.modules["_folder"] = package
    # first, because it needs no weights: a tokenizer that does not load ends the job before they are read
    ids = _reference_tokens(request, answer) if request.get("tokenizer") else {}
    if request["models"] and request.get("derive"):  # what the model does is measured all the same
        answer.notes += [f"{failure['line']}; its ids are compared with nothing" for failure in answer.failures]
        answer.failures.clear()
    if not request["models"] or answer.failures:
        return answer.as_dict(**ids)
    # before the heads, which run on it: they and every later load have to read the same tensors from one file
    request = {**request, "probe": _probe_of_files(request)}
    tensors = weights.read_files(request["weights"])
    renamed = _renamed(request, tensors)
    converted, tensors = renamed is not tensors, renamed
    heads: list[HeadReference] = []
    skipped: list[SkippedHead] = []
    for auto, place in request["models"].items():
        try:
            head = reference_of_head(auto, place, request, tensors)
        except Misfit as error:
            answer.check("D02", [str(error)])
            return answer.as_dict()
        except Exception as error:
            what = f"{auto}: {place.split('.')[1]} built from its source in transformers {answer.version} failed"
            said = error if isinstance(error, suggest.ProbeError) else explain(error)
            # it was built: a table of what was measured says so
            check = "D03" if request.get("derive") and isinstance(error, suggest.ProbeError) else "D01"
            answer.check(check, [f"{what}: {said}"])
            return answer.as_dict(ready=getattr(error, "offer", None))
        if isinstance(head, SkippedHead):
            skipped.append(head)
        else:
            heads.append(head)
            answer.notes += head.notes()
    hand_over(heads, request)
    main = next((head for head in heads if _class_name(request["models"][head.auto]) == request["architecture"]), None)
    of_origin = _run_origin(request, tensors, main) if request.get("origin") and main else ""
    return answer.as_dict(
        **facts_of(heads, main),
        converted=converted,
        origin=of_origin,
        probe=request["probe"],
        skipped_heads=[vars(head) for head in skipped],
        **ids,
    )


def hand_over(heads: list[HeadReference], request: dict) -> None:
    """The outputs and buffers that every load is compared with."""
    outputs = {key: value for head in heads for key, value in head.keyed_outputs().items()}
    handover.hand_over(request["handed"], "outputs", outputs)
    unheld = {f"{head.auto}/{name}": tensor for head in heads for name, tensor in head.buffers.items()}
    handover.hand_over(request["handed"], "buffers", unheld)


def facts_of(heads: list[HeadReference], main: HeadReference | None) -> dict:
    """What the answer says of every class, by its Auto class, and of the main one alone."""
    of_all = ("probes", "aliases", "losses", "drawn", "missing", "attention", "padded")
    return {
        **{name: {head.auto: getattr(head, name) for head in heads} for name in of_all},
        "parameters": main.parameters if main else 0,
        "measured": main.measured if main else {},
        "custom_tokens": main.custom_generate.get("tokens") if main else None,
        "not_run": main.not_run if main else [],
        "ready": main.ready if main else {},
    }


def reference_of_head(auto: str, place: str, request: dict, tensors: dict) -> HeadReference | SkippedHead:
    """Build one model class from its source, fill it, run it.

    Args:
        place: "module.Class" of the folder. tensors: of the file.

    Raises:
        Misfit: the file's tensors are not those of the main class.
        Exception: whatever the folder's code raises.
    """
    module, name = place.split(".")
    is_main = name == request["architecture"]
    cls = getattr(importlib.import_module(f"_folder.{module}"), name)
    if cls.config_class is None:
        raise TypeError(f"{name}.config_class is missing")
    config = cls.config_class.from_pretrained(request["checkpoint"])
    model = buffers.built(cls, config, request["dtype"])
    held = set(weights.matched(model, tensors))
    # before the file's tensors are put in, as a fresh constructor leaves them
    unheld = {key: tensor.detach().clone() for key, tensor in buffers.outside(model, held).items()}
    report = weights.fill(model, tensors)
    if not is_main and report["mismatched"]:
        # another head with a layer of the same name: transformers refuses to load this class from this file
        return SkippedHead(auto, name, "; ".join(weights.mismatches(model, tensors, report["mismatched"])))
    drawn = _drawn(cls, config, request, held, unheld)
    if is_main and (report["missing"] or report["unexpected"] or report["mismatched"]):
        raise Misfit(weights.misfit(name, model, tensors, report))
    try:
        outputs, refused = probes.run_probes(model, request["probe"])
    except suggest.ProbeError as error:
        if request.get("derive") or not request["probe"]:
            error.offer = processor.probe_of_processor(model, request["checkpoint"]) or error.offer
        raise
    head = HeadReference(
        auto=auto,
        parameters=sum(p.numel() for p in model.parameters()),
        aliases=report["aliases"],
        missing=weights.sizes(model, report["missing"]),
        buffers=unheld,
        drawn=drawn,
        outputs=outputs,
        refused=refused,
        losses=losses.loss_and_gradients(model, request["probe"], outputs, request["many"]),
        attention=attention.implementations(model.config),
        padded=probes.padded(model, request["probe"]),
    )
    if is_main:
        head.not_run = probes.not_probed(model, request["probe"])
        if request.get("derive") and {"pixel_values", *probes.SOUND} & set(head.not_run):
            head.ready = processor.probe_of_processor(model, request["checkpoint"])
        is_small = head.parameters <= request["many"]
        head.measured = measured.measured(cls, config, request, model if is_small else None)
        if request.get("custom_generate"):
            head.custom_generate = generation.tokens_of_folder(model, request["probe"])
            if why := head.custom_generate.get("failed"):
                raise ValueError(f"custom_generate/generate.py: {why}")
        if request["in_memory"] not in (None, head.attention):
            model = None  # the next one takes as much memory
            head.as_in_memory = _as_in_memory(cls, request, tensors, head.probes)
    return head


def _probe_of_files(request: dict) -> dict:
    """The folder's own probe, with texts, pictures and tones as tensors that later loads read."""
    if not declared.needs_files(request["probe"]):
        return request["probe"]
    classes = [place.split(".") for place in request["models"].values()]
    every = [getattr(importlib.import_module(f"_folder.{module}"), name) for module, name in classes]
    takes = sorted({name for cls in every for name in inspect.signature(cls.forward).parameters})
    path = os.path.join(request["handed"], declared.INPUTS)
    probe = declared.through_files(request["probe"], request["checkpoint"], takes, path)
    handover.close(declared.INPUTS)
    return probe


def _renamed(request: dict, tensors: dict) -> dict:
    """The file's tensors under the names of the main class; unchanged where that cannot be built."""
    for place in request["models"].values():
        module, name = place.split(".")
        if name != request["architecture"]:
            continue
        try:
            cls = getattr(importlib.import_module(f"_folder.{module}"), name)
            config = cls.config_class.from_pretrained(request["checkpoint"])
            return weights.under_names_of(cls, config, tensors, tempfile.gettempdir())
        except Exception:  # said when the class is built
            return tensors
    return tensors


def _class_name(place: str) -> str:
    return place.split(".")[1]


def probe_names(outputs: dict) -> list[str]:
    """The probes of outputs, in order."""
    return list(dict.fromkeys(key.split("/")[0] for key in outputs))


def _as_in_memory(cls, request: dict, tensors: dict, names: list[str]) -> dict:
    """Outputs on these probes with the attention that the model in memory runs with."""
    config = cls.config_class.from_pretrained(request["checkpoint"])
    attention.set_implementations(config, request["in_memory"])
    model = buffers.built(cls, config, request["dtype"])
    weights.fill(model, tensors)
    outputs, _ = probes.run_probes(model, request["probe"], names)
    return outputs


def _run_origin(request: dict, tensors: dict, head: HeadReference) -> str:
    """Run the class in the package that the folder was written from, and hand over its outputs.

    Returns:
        Why it does not run, or "".
    """
    origin = request["origin"]
    sys.path.insert(0, origin["path"])
    try:
        cls = getattr(importlib.import_module(origin["module"]), origin["cls"])
        config = cls.config_class.from_pretrained(request["checkpoint"])
        model = buffers.built(cls, config, request["dtype"])
        weights.fill(model, _under_base(tensors, origin.get("prefix"), cls.base_model_prefix))
        outputs, _ = probes.run_probes(model, request["probe"], head.probes)
    except Exception as error:
        return describe(error)
    finally:
        sys.path.remove(origin["path"])
    keyed = {f"{head.auto}/{key}": value for key, value in outputs.items()}
    handover.hand_over(request["handed"], "origin", keyed, head.auto)
    return ""


def _under_base(tensors: dict, prefix: str | None, base: str) -> dict:
    """The tensors under the names of a class that calls its base model otherwise."""
    if prefix in (None, base):
        return tensors
    return {base + k[len(prefix) :] if k.startswith(f"{prefix}.") else k: tensor for k, tensor in tensors.items()}


def _reference_tokens(request: dict, answer: Answer) -> dict:
    """The ids that the checkpoint's own tokenizer files give: by the folder's class, or else by transformers' own."""
    import transformers

    place, directory = request["tokenizer"]["place"], request["tokenizer"]["directory"]
    try:
        cls = transformers.AutoTokenizer
        if place:
            module, name = place.split(".")
            cls = getattr(importlib.import_module(f"_folder.{module}"), name)
        samples = tokens.samples(cls.from_pretrained(directory))
    except Exception as error:
        answer.check("D01", [f"AutoTokenizer: the checkpoint's tokenizer does not load: {describe(error)}"])
        return {}
    return {"tokens": samples}


def _drawn(cls, config, request: dict, held: set, unheld: dict) -> list:
    """Buffers that another seed changes: no two loads can agree on them."""
    if not any(t.is_floating_point() for t in unheld.values()):
        return []
    other = buffers.of_fresh_model(cls, config, request["dtype"], held, seed=1)
    return sorted(n for n, t in unheld.items() if n in other and not probes.same_tensor(t, other[n]))
