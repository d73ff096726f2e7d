"""Which names and model types each transformers release has, and the lowest release that a folder supports.

The table (releases.json.gz) is made by scripts/releases.py from released packages; the newest patch of each minor
represents all of it.
"""

import ast
import functools
import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path

from packaging.version import Version

from pinfold.common.errors import UserError
from pinfold.folder.model_folder import ModelFolder, assigned

TABLE = Path(__file__).with_name("releases.json.gz")
OLDEST = "4.48"
MEMBER = "member "  # in front of a class whose attribute is taken, where otherwise a module is
# What to write instead of a name that is not everywhere. Each of these is right from 4.48 on.
REPLACEMENTS = {
    "PreTrainedConfig": "PretrainedConfig",
    "AdamW": "torch.optim.AdamW",
    "AutoModelForVision2Seq": "AutoModelForImageTextToText",
    "HybridCache": "DynamicCache",
    "SlidingWindowCache": "DynamicCache",
    "LossKwargs": "plain **loss_kwargs",
    "TransformersKwargs": "plain **kwargs",
    "FlashAttentionKwargs": "plain **kwargs",
    "RopeParameters": "a plain dict",
    "auto_docstring": "a docstring of your own",
    "can_return_tuple": "return_dict, read in forward",
    "check_model_inputs": "no decorator",
    "GradientCheckpointingLayer": "nn.Module, with self._gradient_checkpointing_func in the stack",
    "create_causal_mask": "mask code of your own",
    "create_bidirectional_mask": "mask code of your own",
    "create_sliding_window_causal_mask": "mask code of your own",
    "masking_utils": "mask code of your own",
    "initialization": "torch.nn.init",
    "is_torch_fx_available": "no such check",
    "is_torch_fx_proxy": "no such check",
    "find_pruneable_heads_and_indices": "a copy of it in this file",
    "prune_linear_layer": "a copy of it in this file",
    "prune_heads": "no head pruning",
    "OnnxConfig": "torch.onnx.export",
    "get_head_mask": "no head mask",
    "get_usable_length": "get_seq_length",
    "seen_tokens": "get_seq_length()",
    "key_cache": "what update() returns",
    "value_cache": "what update() returns",
    "to_legacy_cache": "the cache itself",
    "from_legacy_cache": "DynamicCache()",
    "get_extended_attention_mask": "mask code of your own",
    "invert_attention_mask": "mask code of your own",
}


@functools.cache
def read_table() -> dict:
    """The table; gzip unpacks it in 8 ms, a better packing in three times that."""
    return json.loads(gzip.decompress(TABLE.read_bytes()))


RELEASES: tuple[str, ...] = tuple(read_table()["releases"])
MINORS: tuple[str, ...] = tuple(".".join(release.split(".")[:2]) for release in RELEASES)


@functools.cache
def releases_of_ranges(ranges: str) -> tuple[str, ...]:
    """Releases of such ranges as "4.48-4.52 5.0-"; the last goes up to the newest."""
    releases: list[str] = []
    for part in ranges.split():
        first, last = part.split("-")
        releases += RELEASES[MINORS.index(first) : MINORS.index(last) + 1 if last else None]
    return tuple(releases)


@functools.cache
def releases_of_names(kind: str, owner: str) -> dict[str, tuple[str, ...]]:
    """Name -> releases that have it, for one module ("names") or class ("members")."""
    groups = read_table().get(kind, {}).get(owner, {})
    return {name: releases_of_ranges(ranges) for ranges, names in groups.items() for name in names.split()}


@functools.cache
def releases_of_modules(kind: str = "modules") -> dict[str, tuple[str, ...]]:
    """Module, or model type ("model_types") -> releases that have it."""
    return {
        name: releases_of_ranges(ranges)
        for ranges, names in read_table().get(kind, {}).items()
        for name in names.split()
    }


def exists(module: str, name: str) -> tuple[str, ...]:
    """Releases in which ``from module import name`` works; none for a module that the table does not know."""
    if name.startswith("__"):
        return releases_of_modules().get(module, ())
    return releases_of_names("names", module).get(name, ())


def absent(module: str, name: str, lowest: str = OLDEST) -> tuple[str, ...]:
    """Releases from the lowest supported one on in which it does not."""
    having = exists(module, name)
    return tuple(release for release in releases_from(lowest) if release not in having)


def model_types(release: str | None = None) -> frozenset[str]:
    """Model types that transformers brings along: of one release, or of any."""
    types = releases_of_modules("model_types")
    return frozenset(name for name, releases in types.items() if release is None or release in releases)


def release_ranges(releases: Iterable[str]) -> str:
    """Releases as ranges of minor versions; a range goes on as long as no minor is left out.

    >>> release_ranges(["4.48.3", "4.49.0", "4.50.3", "5.0.0"])
    '4.48-4.50, 5.0'
    """
    minors = {".".join(release.split(".")[:2]) for release in releases}
    every = sorted(minors.union(MINORS), key=Version)
    parts: list[list[int]] = []
    for position in (every.index(minor) for minor in sorted(minors, key=Version)):
        if parts and position == parts[-1][-1] + 1:
            parts[-1].append(position)
        else:
            parts.append([position])
    ends = [(every[part[0]], every[part[-1]]) for part in parts]
    return ", ".join(first if first == last else f"{first}-{last}" for first, last in ends)


def suggest(module: str, name: str, lowest: str = OLDEST) -> str | None:
    """What to use instead, in words that follow "Use": it works in every release from the lowest supported one on.

    >>> suggest("transformers", "PreTrainedConfig")
    'PretrainedConfig'
    """
    if name in REPLACEMENTS:
        return REPLACEMENTS[name]
    if module.startswith(MEMBER):
        return None
    extractor, processor = "FeatureExtractor", name.replace("FeatureExtractor", "ImageProcessor")
    if name.endswith(extractor) and not absent("transformers", processor, lowest):
        return processor
    place = next(
        (m for m in PLACES if m != module and name in releases_of_names("names", m) and not absent(m, name, lowest)),
        None,
    )
    return f"from {place} import {name}" if place else None


def releases_from(version: str) -> list[str]:
    lowest = Version(version).release[:2]
    return [release for release in RELEASES if Version(release).release[:2] >= lowest]


def lowest_version(folder: ModelFolder) -> str:
    """The lowest transformers release that a folder declares: MIN_TRANSFORMERS in a configuration file.

    Raises:
        UserError: it is not a release such as "4.57".
    """
    for module in sorted(folder.modules.values(), key=lambda m: not m.name.startswith("configuration")):
        for node in module.tree.body:
            targets, literal = assigned(node)
            if not any(isinstance(t, ast.Name) and t.id == "MIN_TRANSFORMERS" for t in targets):
                continue
            value = literal.value if isinstance(literal, ast.Constant) else None
            if not (isinstance(value, str) and re.fullmatch(r"[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?", value)):
                raise UserError(
                    f"{module.path}:{node.lineno}: MIN_TRANSFORMERS = {module.text(literal, 40)} is not a release; "
                    f'write one in quotes, such as "{OLDEST}"'
                    if literal is not None
                    else f'{module.path}:{node.lineno}: MIN_TRANSFORMERS has no value; write one such as "{OLDEST}"'
                )
            return max(OLDEST, value, key=Version)
    return OLDEST


# Where a name that moved is looked for, most usual place first.
PLACES = (  # noqa: SIM905
    "transformers transformers.utils transformers.modeling_utils transformers.generation transformers.utils.generic "
    "transformers.utils.import_utils transformers.pytorch_utils transformers.cache_utils transformers.activations "
    "transformers.image_utils transformers.processing_utils transformers.tokenization_utils_base"
).split()


def every_minor() -> list[str]:
    """The newest patch of each minor release from 4.48 on, with the environment's own as the newest."""
    from importlib import metadata  # takes as long as reading the table, and check needs it last

    return list(_minors_up_to(metadata.version("transformers")))


@functools.cache
def _minors_up_to(own: str) -> tuple[str, ...]:
    newest = {Version(v).release[:2]: v for v in sorted({*RELEASES, own}, key=Version)}
    return tuple(v for v in newest.values() if Version("4.48") <= Version(v) <= Version(own))
