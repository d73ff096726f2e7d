"""What an exception of a folder's code says, where in the folder it arose, and what to do where that is known."""

import itertools
import os
import re
import traceback
from types import FrameType

from ..values import describe

FOLDERS = ("transformers_modules", "_folder")  # packages in which a load and the reference import the folder
COMPARES = ("transformers.configuration_utils", "transformers.modeling_utils")
CACHE_NAMES = ("past_key_values", "cache")
FROM_SETTINGS = ("from_dict", "from_pretrained", "from_json_file")  # these build a configuration from what is stored


def explain(error: BaseException) -> str:
    """One line: the exception, the place in the folder that it went through last, and the cure."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    lines = [(frame, number) for frame, number in traceback.walk_tb(error.__traceback__) if _is_of_folder(frame)]
    place = f" ({os.path.basename(lines[-1][0].f_code.co_filename)}:{lines[-1][1]})" if lines else ""
    cure = (
        _missing_field(error, frames) or _without_arguments(frames) or _on_meta(error) or _of_generate(error, frames)
    )
    return f"{describe(error)}{place}{cure}"


def _is_of_folder(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__", "").split(".")[0] in FOLDERS


def _missing_field(error: BaseException, frames: list[FrameType]) -> str:
    """A configuration lacks what the model reads, or transformers, such as max_position_embeddings for a rotation.

    transformers 5 reads fields within PretrainedConfig.__init__: what is set after that call comes too late.
    """
    from transformers import PretrainedConfig

    owner, name = getattr(error, "obj", None), getattr(error, "name", None)
    if not (isinstance(error, AttributeError) and isinstance(owner, PretrainedConfig) and name):
        return ""
    inits = [
        f for f in frames if _is_of_folder(f) and f.f_code.co_name == "__init__" and f.f_locals.get("self") is owner
    ]
    reads = [f for f in frames if f.f_code.co_name not in ("__getattribute__", "__getattr__")]  # of the configuration
    too_late = bool(inits) and not _is_of_folder(reads[-1])
    before = " before super().__init__(), which reads it" if too_late else ""
    if too_late and name in inits[-1].f_locals:
        return f"; set self.{name}{before}"
    other = ""
    if not _is_of_folder(reads[-1]):  # transformers reads it, and the configuration may have it by another name
        other = f'; or name the field that holds it in its body: attribute_map = {{"{name}": "..."}}'
    return (
        f"; take {name} as an argument of {type(owner).__name__}.__init__, with a default, and set it{before}{other}"
    )


def _without_arguments(frames: list[FrameType]) -> str:
    """A configuration that transformers builds by itself, to compare another one with its defaults."""
    from transformers import PretrainedConfig

    for caller, frame in itertools.pairwise(frames):
        config = frame.f_locals.get("self")
        built = frame.f_code.co_name == "__init__" and isinstance(config, PretrainedConfig)
        compares = caller.f_globals.get("__name__") in COMPARES and caller.f_code.co_name not in FROM_SETTINGS
        if built and compares and _is_of_folder(frame):
            name = type(config).__name__
            return f"; {name}() has to work without arguments: transformers compares a configuration with its defaults"
    return ""


def _on_meta(error: BaseException) -> str:
    """torch has one class for many errors; only its words say that a tensor has no memory."""
    if "meta tensor" not in str(error):
        return ""
    return (
        "; transformers 5 builds a model on the meta device, without numbers: __init__ must not move tensors or read "
        "them (.to(device), .item(), .tolist()); what is computed from values goes into _init_weights"
    )


def _of_generate(error: BaseException, frames: list[FrameType]) -> str:
    """What generate() hands over, and asks for, that a class written before it did so does not know."""
    refused = re.search(r"(\w+\.forward)\(\) got an unexpected keyword argument '(\w+)'", str(error))
    if refused and refused[2] in CACHE_NAMES:
        return (
            f"; take past_key_values=None and cache=None in {refused[1]}, use the one that is given, and return it "
            "under the name that the output class has"
        )
    if refused:
        return f"; take {refused[2]}=None in {refused[1]}"
    owner, name = getattr(error, "obj", None), getattr(error, "name", None)
    if isinstance(error, AttributeError) and name == "main_input_name":
        return f"; generate reads it: set {name} in the body of {type(owner).__name__}, to forward's first argument"
    if isinstance(error, (TypeError, AttributeError, LookupError)) and _reads_a_tuple(frames):
        return (
            "; generate passes a Cache of transformers where the code reads tuples: to get the tuples that forward "
            "returned, define in the model: @classmethod def _supports_default_dynamic_cache(cls): return False"
        )
    return ""


def _reads_a_tuple(frames: list[FrameType]) -> bool:
    """Whether an error arose in code of the folder that was handed a cache of transformers' own."""
    from transformers import Cache

    inside = [frame for frame in frames if _is_of_folder(frame)]
    return bool(inside) and any(isinstance(value, Cache) for value in inside[-1].f_locals.values())
