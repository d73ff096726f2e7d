"""A drawing: the configuration of a model, its heads and its names; from and to a config.json.

How it works:
- A drawing's fields are the configuration's own. `rope_theta` stands for the one number of `rope_parameters` that is
  drawn, and `num_labels` for `id2label`.
- config.json says what it was drawn as under BUILDER. Its auto_map has the class prefix and the heads.
- What a config.json has beside that is kept as it is, and written again.
"""

import copy
import functools
import json
import re
from dataclasses import asdict, dataclass, field
from typing import Any

from pinfold.builder.drawing.architectures import ARCHITECTURES, Architecture
from pinfold.common.errors import UserError

BUILDER = "pinfold_builder"  # the key of config.json that names the architecture
LARGEST = 1_000_000  # characters of a config.json
STOCK = {"bert": "encoder"}  # model types of transformers whose config.json the model folder reads as it is
# what transformers writes into every config.json, or derives again
DERIVED = {
    "architectures", "auto_map", "model_type", "transformers_version", "_name_or_path", "torch_dtype", "dtype",
    "num_labels", "problem_type", BUILDER,
}  # fmt: skip


@dataclass(frozen=True)
class Drawing:
    """What was drawn.

    Args:
        architecture: encoder or decoder.
        prefix: what class names begin with. model_type: also what the files are called by.
        heads: Auto classes beside AutoModel; the first is the checkpoint's, the others are in the folder's order.
        config: every field of the architecture, by name; a list where each layer has its own.
        unknown: keys of an imported config.json that are not drawn.
    """

    architecture: str
    prefix: str
    model_type: str
    heads: list[str]
    config: dict[str, Any]
    unknown: dict[str, Any] = field(default_factory=dict)

    @property
    def of(self) -> Architecture:
        return ARCHITECTURES[self.architecture]

    @property
    def main(self) -> str:
        """The Auto class of the checkpoint."""
        return self.heads[0]

    @property
    def reads_last_token(self) -> bool:
        """Whether the head has to know where each row ends: that of a decoder which classifies texts."""
        return self.architecture == "decoder" and self.main == "AutoModelForSequenceClassification"

    def class_of(self, auto: str) -> str:
        """The name of a class of the exported folder, for "AutoConfig" or the Auto class of a model."""
        own = self.of.configuration[1] if auto == "AutoConfig" else self.of.classes[auto].partition(".")[2]
        return self.prefix + own.removeprefix(self.of.own)

    def state(self) -> dict[str, Any]:
        """As the page has it."""
        return asdict(self)

    def configuration(self) -> dict[str, Any]:
        """Arguments for the configuration's class: the drawn fields, and what was kept."""
        values = {name: value for name, value in self.config.items() if name != "rope_theta"}
        for name, each in self.of.fields.items():
            value = values.get(name)
            if each.each and isinstance(value, list) and value and value.count(value[0]) == len(value):
                values[name] = value[0]  # one word for all layers, as BERT's own files have it
        unknown = copy.deepcopy(self.unknown)
        if "rope_theta" in self.config:
            rotary = unknown.pop("rope_parameters", {"rope_type": "default"})
            values["rope_parameters"] = {**rotary, "rope_theta": self.config["rope_theta"]}
        if "id2label" in unknown:
            values.pop("num_labels", None)
        if values.get("problem_type") is None:
            values.pop("problem_type", None)
        return {**values, **unknown}

    def config_json(self) -> dict[str, Any]:
        """What an exported folder's config.json declares beside the configuration: names, classes, what it was."""
        module = f"modeling_{self.model_type}"
        entries = {"AutoConfig": f"configuration_{self.model_type}.{self.class_of('AutoConfig')}"}
        entries |= {auto: f"{module}.{self.class_of(auto)}" for auto in ("AutoModel", *self.heads)}
        return {
            BUILDER: self.architecture, "model_type": self.model_type, "architectures": [self.class_of(self.main)],
            "auto_map": entries,
        }  # fmt: skip


def default_config(architecture: Architecture) -> dict[str, Any]:
    """The configuration's own defaults as a drawing has them."""
    values = {name: copy.deepcopy(p.default) for name, p in architecture.arguments.items()}
    return drawn({**values, "num_labels": 2, "problem_type": None}, architecture)[0]


def read_state(state: object) -> Drawing:
    """A drawing from what a page sent; names and values may still be wrong, kinds of containers not.

    Raises:
        UserError: it is not a drawing.
    """
    if not isinstance(state, dict) or state.get("architecture") not in list(ARCHITECTURES):
        known = " or ".join(map(repr, ARCHITECTURES))
        raise UserError(f"the drawing's architecture must be {known}; load the page again")
    architecture = ARCHITECTURES[state["architecture"]]
    kinds = {"prefix": str, "model_type": str, "heads": list, "config": dict}
    for name, kind in kinds.items():
        if not isinstance(state.get(name), kind):
            raise UserError(f"the drawing's {name} is missing or of another kind; load the page again")
    unknown, heads = state.get("unknown", {}), state["heads"]
    if not isinstance(unknown, dict):
        raise UserError("the drawing's unknown keys are not an object; load the page again")
    drawn_too = [name for name in unknown if name in architecture.fields or name in DERIVED]
    if more := [name for name in drawn_too if name != "eos_token_id" or not isinstance(unknown[name], list)]:
        raise UserError(f"the drawing has {more[0]} among the keys that are not drawn; open its config.json again")
    if not heads or len(set(map(str, heads))) != len(heads) or any(head not in architecture.heads for head in heads):
        raise UserError(f"choose at least one head, each once, of {', '.join(architecture.heads)}")
    if missing := [name for name in architecture.fields if name not in state["config"]]:
        raise UserError(f"the drawing lacks {', '.join(missing[:3])}; load the page again")
    if more := [name for name in state["config"] if name not in architecture.fields]:
        raise UserError(f"the drawing's configuration has {str(more[0])[:60]}, which is not a field of it")
    return Drawing(
        architecture.name, state["prefix"], state["model_type"], ordered(heads[0], heads, architecture),
        dict(state["config"]), dict(unknown),
    )  # fmt: skip


def read_config(text: str) -> tuple[Drawing, list[str]]:
    """The drawing of a config.json, and notes for the user.

    Raises:
        UserError: it is damaged, or of an architecture that cannot be drawn.
    """
    if len(text) > LARGEST:
        raise UserError(f"config.json has {len(text):,} characters, more than a configuration can; give another file")
    try:
        stored = json.loads(text.removeprefix("\ufeff"))
        json.dumps(stored, allow_nan=False, ensure_ascii=False).encode()  # Python reads more than JSON can say
    except (ValueError, RecursionError) as error:
        raise UserError(f"config.json cannot be read ({error}); give the file that save_pretrained wrote") from None
    if not isinstance(stored, dict):
        raise UserError("config.json is not an object; give the file that save_pretrained wrote")
    architecture = architecture_of(stored)
    config, unknown = drawn(stored, architecture)
    entries = stored.get("auto_map") if isinstance(stored.get("auto_map"), dict) else {}
    heads = [auto for auto in entries if auto in architecture.heads] or heads_of(stored, architecture)
    own = str(stored.get("model_type", ""))
    drawn_before = stored.get(BUILDER) == architecture.name
    if not drawn_before:  # transformers' files list what is off as well
        unknown = {name: value for name, value in unknown.items() if value is not None and value is not False}
    drawing = Drawing(
        architecture.name,
        prefix_of(entries, architecture) if drawn_before else "My",
        own if drawn_before else f"my_{architecture.name}",
        ordered(main_of(heads, stored, entries), heads, architecture),
        config,
        unknown,
    )
    return drawing, notes_on(stored, drawing, drawn_before)


def architecture_of(stored: dict) -> Architecture:
    """
    Raises:
        UserError: it names one that cannot be drawn, or none.
    """
    named, model_type = stored.get(BUILDER), stored.get("model_type")
    for architecture in ARCHITECTURES.values():
        if architecture.name in (named, STOCK.get(str(model_type))):
            return architecture
        if model_type == architecture.config_class.model_type:
            return architecture
    types = [repr(each.config_class.model_type) for each in ARCHITECTURES.values()]
    raise UserError(
        f"config.json has model_type {str(model_type)[:60]!r}, which cannot be drawn; give one that this page "
        f"exported, or of {' or '.join([*types, *map(repr, STOCK)])}; pinfold builder --folder opens any model folder "
        "as a form"
    )


def drawn(stored: dict, architecture: Architecture) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields that are drawn, with the configuration's defaults where they are missing; and all other keys."""
    layers = stored.get("num_hidden_layers", architecture.arguments["num_hidden_layers"].default)
    config: dict[str, Any] = {}
    for name, each in architecture.fields.items():
        default = architecture.arguments[name].default if name in architecture.arguments else None
        value = copy.deepcopy(stored.get(name, default))
        if each.each and not isinstance(value, (list, tuple)):
            value = [value] * (layers if type(layers) is int and 0 <= layers <= 10_000 else 1)
        config[name] = list(value) if isinstance(value, tuple) else value
    unknown = {k: v for k, v in stored.items() if k not in architecture.fields and k not in DERIVED}
    for name, value in common_defaults().items():
        if name in unknown and unknown[name] == value:
            del unknown[name]
    for name, parameter in architecture.arguments.items():
        if name in unknown and unknown[name] == parameter.default:
            del unknown[name]
    read_labels(stored, config, unknown)
    if config.get("position_embedding_type") == "absolute":
        config["position_embedding_type"] = "learned"  # the stock name of the same
    if isinstance(last := config.get("eos_token_id"), list):
        config["eos_token_id"], unknown["eos_token_id"] = (last[0] if last else None), last
    if "rope_theta" in config:
        read_rotary(stored, config, unknown)
        read_heads(config)
    return config, unknown


def read_labels(stored: dict, config: dict[str, Any], unknown: dict[str, Any]) -> None:
    """Names of classes are kept; their number is drawn."""
    names = stored.get("id2label")
    count = stored.get("num_labels")
    if isinstance(names, dict):
        count = len(names)
        if names == {str(i): f"LABEL_{i}" for i in range(len(names))}:
            unknown.pop("id2label", None)
            unknown.pop("label2id", None)
    config["num_labels"] = 2 if count is None else count


def read_rotary(stored: dict, config: dict[str, Any], unknown: dict[str, Any]) -> None:
    """`rope_parameters` of transformers 5, `rope_theta` and `rope_scaling` of 4."""
    unknown.pop("rope_parameters", None)
    scaling = unknown.pop("rope_scaling", None)
    parameters = stored.get("rope_parameters")
    rotary = dict(parameters if isinstance(parameters, dict) else scaling if isinstance(scaling, dict) else {})
    config["rope_theta"] = rotary.pop("rope_theta", stored.get("rope_theta", 10000.0))
    if rotary and rotary != {"rope_type": "default"}:
        unknown["rope_parameters"] = rotary


def read_heads(config: dict[str, Any]) -> None:
    """What follows from the heads is left empty, so that it follows when they change."""
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    if config["num_key_value_heads"] is None:
        config["num_key_value_heads"] = heads
    if type(hidden) is int and type(heads) is int and heads > 0 and config["head_dim"] == hidden // heads:
        config["head_dim"] = None


@functools.cache
def common_defaults() -> dict[str, Any]:
    """What every configuration of transformers has, unless it is set."""
    from transformers import PretrainedConfig

    return json.loads(json.dumps(PretrainedConfig().to_dict(), default=str))


def heads_of(stored: dict, architecture: Architecture) -> list[str]:
    """By the class names that `architectures` lists, whatever their prefix; else the folder's first head."""
    listed = stored.get("architectures")
    names = [str(name) for name in listed] if isinstance(listed, list) else []
    ends = {
        place.partition(".")[2].removeprefix(architecture.own): auto for auto, place in architecture.classes.items()
    }
    heads = [ends[end] for end in ends if ends[end] in architecture.heads and any(n.endswith(end) for n in names)]
    return heads[:1] or architecture.heads[:1]


def main_of(heads: list[str], stored: dict, entries: dict) -> str:
    """The head whose class is the checkpoint's."""
    listed = stored.get("architectures")
    main = listed[0] if isinstance(listed, list) and listed else ""
    return next((head for head in heads if str(entries.get(head, "")).rpartition(".")[2] == main), heads[0])


def ordered(main: str, heads: list[str], architecture: Architecture) -> list[str]:
    """The checkpoint's head, then the others as the folder lists them: config.json, whose keys are sorted, keeps no
    order of theirs."""
    return [main, *(head for head in architecture.heads if head in heads and head != main)]


def prefix_of(entries: dict, architecture: Architecture) -> str:
    name = str(entries.get("AutoConfig", "")).rpartition(".")[2]
    end = architecture.configuration[1].removeprefix(architecture.own)
    return name.removesuffix(end) if re.fullmatch(r"[A-Z]\w*", name) else "My"


def notes_on(stored: dict, drawing: Drawing, drawn_before: bool) -> list[str]:
    """What the user should know of an import."""
    notes = []
    if drawing.unknown:
        names = ", ".join(sorted(drawing.unknown)[:4]) + (", ..." if len(drawing.unknown) > 4 else "")
        count = f"{len(drawing.unknown)} key{'s' * (len(drawing.unknown) > 1)}"
        notes.append(f"config.json has {count} that this page does not draw ({names}). They are kept unchanged.")
    if not drawn_before:
        notes.append(
            f"config.json is of model_type {str(stored.get('model_type'))[:60]!r}. Give the model a name of its own."
        )
    return notes
