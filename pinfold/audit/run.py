"""Read a folder for the ways in which remote code goes wrong. Nothing is imported or executed.

Each rule is a function that yields findings; its code (P01, ...) and words stay the same from release to release, so
that they can be searched for. They are in rules/, one file for each subject. What an audit cannot see: what the code
computes.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from pinfold.audit.finding import Finding
from pinfold.audit.reachable import ReachableCode, call_name, calls, string
from pinfold.audit.rules import asked as asked_rules
from pinfold.audit.rules import (
    beams,
    changed_weights,
    dict_order,
    inherited_init,
    legacy_tuples,
    made_weights,
    own_loading,
    own_methods,
    own_saving,
    part_arguments,
    part_layers,
    processors,
    refuses,
    results,
    stacks,
    state_names,
    steps,
    stock_members,
    stock_places,
    stock_results,
    stock_rotary,
    stored_order,
    untold_parts,
    unused_caches,
    unwritable,
    windows,
)
from pinfold.audit.rules import caches as cache_rules
from pinfold.audit.rules import claims as claim_rules
from pinfold.audit.rules import config as config_rules
from pinfold.audit.rules import constructors as constructor_rules
from pinfold.audit.rules import defaults as default_rules
from pinfold.audit.rules import fields as field_rules
from pinfold.audit.rules import files as file_rules
from pinfold.audit.rules import generation as generation_rules
from pinfold.audit.rules import heads as head_rules
from pinfold.audit.rules import init_weights as init_rules
from pinfold.audit.rules import masks as mask_rules
from pinfold.audit.rules import model as model_rules
from pinfold.audit.rules import names as name_rules
from pinfold.audit.rules import own_caches as cache_class_rules
from pinfold.audit.rules import rope as rope_rules
from pinfold.audit.rules import sampling as sampling_rules
from pinfold.audit.rules import saving as saving_rules
from pinfold.audit.rules import sentence as sentence_rules
from pinfold.audit.rules import settings as settings_rules
from pinfold.audit.rules import stock_code as stock_rules
from pinfold.audit.rules import ties as tie_rules
from pinfold.audit.rules import tokenizers as tokenizer_rules
from pinfold.audit.rules import weights as weight_rules
from pinfold.audit.rules.certain import CertainCalls
from pinfold.audit.rules.members import Members
from pinfold.audit.rules.stock_flow import Flows
from pinfold.audit.security.places import acts
from pinfold.common.errors import UserError
from pinfold.common.files import parse_object
from pinfold.common.trees import every, parsed_once
from pinfold.folder import releases
from pinfold.folder.filenames import PREPROCESSING
from pinfold.folder.loaded_code import LARGEST_SETTINGS, FilesOnDisk, find_loaded_code
from pinfold.folder.model_folder import ALL_FILES, LARGEST, ModelFolder, read_text

__all__ = ["Finding", "audit", "snippets"]
CONFIGS = (
    *("config.json", "tokenizer_config.json", "generation_config.json", *PREPROCESSING),
    *("sentence_bert_config.json", "config_sentence_transformers.json", "adapter_config.json"),
)
README = 1_000_000


@parsed_once()
def audit(
    directory: Path,
    folder: ModelFolder | None,
    *,
    code_from: str | None = None,
    commit: str | None = None,
    original: Path | None = None,
) -> list[Finding]:
    """All findings in a staged directory, a model folder, or a snapshot of a repository; an empty list is a pass.

    Args:
        directory: holds config.json and weights, as far as they are there; without config.json only code is judged.
        folder: its Python files as ``read_modules`` read them, or those of ``code_from``; None if there are none.
        code_from: "owner/name" of the repository that holds the code, where the publisher asked for another one.
        commit: 40 hex digits: README.md is judged as well, as from the pinning commit on.
        original: the folder that ``directory`` is a staged copy of.

    Raises:
        UserError: a file that cannot be read safely; one line.
    """
    directory = Path(directory)
    try:
        return list(dict.fromkeys(_findings(directory, folder, code_from, commit, original)))
    except (RecursionError, MemoryError):
        raise UserError(f"{directory}: its code is nested too deeply to be read; simplify it") from None


def _findings(directory: Path, folder: ModelFolder | None, code_from, commit, original) -> Iterator[Finding]:
    """Every finding, in the order in which a load meets the faults: one may hide those behind it.

    First what the settings name as code, then the code, what sentence-transformers adds, weights, and the settings
    that go with them. No load reads the README, which comes last.
    """
    configs = read_configs(directory)
    code = reachable_code(directory, folder, configs, original) if folder is not None else None
    custom = folder is not None and any(folder.kind(name) == "model" for name in folder.classes)
    custom = custom or "auto_map" in configs.get("config.json", {})
    lowest = code.lowest_version if code else (4, 48)
    if "config.json" in configs and custom and folder is not None:
        yield from settings_rules.missing_entries(configs, folder, code_from)
    yield from settings_rules.check_entries(configs, folder, code_from)
    if custom:
        yield from settings_rules.model_type(configs, code)
        yield from settings_rules.parts_of_processors(configs, lowest)
    yield from settings_rules.forbidden_keys(configs)
    if code:
        yield from refuses.met(own_loading.judged(code, _rules(code)))
        if "config.json" in configs:
            yield from file_rules.outdated_digest(code)
        yield from acts(code.directory, code.folder, code.modules, code.runs, code.configs)
    else:
        runs = find_loaded_code(FilesOnDisk(directory), (), LARGEST, ALL_FILES, LARGEST_SETTINGS)
        yield from acts(directory, ModelFolder(directory, {}), [], runs, configs)
    yield from sentence_rules.modules(directory)
    if "config.json" in configs or folder is None:
        headers = weight_rules.safetensors(directory)
        yield from weight_rules.pickles(directory)
        yield from weight_rules.formats(headers, code)
        tensors = [tensor for header in headers.values() for tensor in header.tensors]
        if custom and lowest <= (4, 48):
            yield from model_rules.stored_names(
                [tensor.name for tensor in tensors], next((p.name for p in headers), "")
            )
        if custom:
            yield from stored_order.stored(headers, lowest)
        yield from settings_rules.dtype(configs.get("config.json", {}), tensors)
        yield from asked_rules.unread_tensors(tensors, configs.get("config.json", {}), lowest)
        files = {path.name for path in directory.iterdir()}
        yield from settings_rules.tokenizer(configs, files, lowest, custom)
        if code:
            yield from tokenizer_rules.inputs(code)
            yield from tokenizer_rules.end_of_text(code)
            yield from processors.lost_template(code, files)
    if commit and (directory / "README.md").exists():
        text = read_text(directory / "README.md", directory, README, "write the card as text")
        yield from snippets(text, code_revision=code_from is not None)


def _rules(code: ReachableCode) -> Iterator[Finding]:
    yield from file_rules.relative_imports(code)
    yield from file_rules.helpers(code)
    yield from file_rules.requirements(code)
    lowest = releases.lowest_version(code.folder)
    yield from refuses.refuses(code)
    yield from name_rules.symbols(code.folder, code.modules, lowest, Members(code).case)
    yield from model_rules.post_init(code)
    yield from tie_rules.tied_keys(code)
    yield from head_rules.parts_that_tie(code)
    yield from head_rules.head_by_name(code)
    yield from tie_rules.shared_weights(code)
    yield from tie_rules.tie_weights(code)
    initialisation = init_rules.Initialisation(code)
    yield from init_rules.buffers(code, initialisation)
    yield from init_rules.in_place(code, initialisation)
    yield from stock_rotary.stock_rotary(code, initialisation)
    yield from constructor_rules.constructors(code)
    yield from config_rules.config_class(code)
    yield from config_rules.own_constructor(code)
    yield from default_rules.raises_without_arguments(code)
    yield from default_rules.passed_twice(code)
    yield from default_rules.made_by_decorator(code)
    yield from field_rules.fields(code)
    yield from inherited_init.constructor_of_base(code)
    yield from part_layers.parts_without_layers(code)
    yield from state_names.changed_names(code)
    yield from model_rules.config_class(code)
    yield from model_rules.parameter_names(code)
    yield from model_rules.loss_arguments(code)
    yield from model_rules.base_prefix(code)
    yield from claim_rules.says_too_much(code)
    yield from claim_rules.kept_precise(code)
    yield from claim_rules.taken_for_a_model(code)
    yield from model_rules.registered_at_import(code)
    yield from model_rules.not_registered(code)
    yield from asked_rules.properties_of_parts(code)
    yield from asked_rules.registered_types(code)
    yield from asked_rules.same_names(code)
    yield from rope_rules.rope_settings(code)
    yield from saving_rules.modules_twice(code)
    yield from own_saving.shared_in_loops(code)
    yield from generation_rules.cache_names(code)
    yield from generation_rules.output_fields(code)
    yield from beams.own_state(code)
    yield from cache_rules.tuple_caches(code)
    yield from legacy_tuples.empty_tuples(code)
    yield from unused_caches.unused(code)
    yield from results.results(code)
    yield from cache_rules.cannot_generate(code)
    yield from mask_rules.refused(code)
    yield from mask_rules.used_unasked(code)
    yield from stock_rules.methods_not_called(code)
    certain = CertainCalls(code)
    yield from stock_rules.arguments(code, certain)
    yield from stock_members.lost_members(code, certain)
    yield from untold_parts.untold(code, certain)
    flows = Flows(code, certain)
    yield from stock_results.results(code, certain, flows)
    yield from stock_places.places(code, flows)
    yield from part_arguments.part_arguments(code, certain, flows)
    yield from cache_class_rules.own_caches(code, certain)
    yield from sampling_rules.refused_settings(code)
    yield from sampling_rules.fields_of_generate(code)
    yield from own_methods.saves_elsewhere(code)
    yield from own_saving.saves_otherwise(code)
    yield from own_saving.states_of_its_own(code)
    yield from made_weights.made_weights(code)
    yield from own_methods.refuses_arguments(code)
    yield from own_methods.asked_too_early(code)
    yield from own_methods.ties_by_the_outer(code)
    yield from stacks.decoders(code)
    yield from steps.cache_length(code)
    yield from steps.last_word_alone(code)
    yield from steps.places(code)
    yield from stored_order.made(code)
    yield from unwritable.unwritable(code)
    yield from dict_order.read_in_order(code)
    yield from windows.windows(code)
    yield from changed_weights.changed_weights(code)


def reachable_code(
    directory: Path, folder: ModelFolder, configs: dict[str, dict], original: Path | None = None
) -> ReachableCode:
    """The code that from_pretrained runs: what the folder registers, and what the JSON files name."""
    places = folder.auto_map()
    named = {
        auto: entry.rpartition("--")[2]
        for config in configs.values()
        for auto, value in settings_rules.auto_map(config).items()
        for entry in settings_rules.entries(auto, value)
        if isinstance(entry, str) and re.fullmatch(r"(.+--)?\w+\.\w+", entry)
    }
    references = (*places.values(), *named.values(), *folder.pipelines.values())
    runs = find_loaded_code(FilesOnDisk(directory), references, LARGEST, ALL_FILES, LARGEST_SETTINGS)
    every = [*(place.split(".")[0] for place in references), *(path.removesuffix(".py") for path in runs.files)]
    major, minor = releases.lowest_version(folder).split(".")[:2]
    lowest = int(major), int(minor)
    entries = {**named, **places}
    return ReachableCode(directory, folder, folder.closure(every), entries, lowest, configs, runs, original)


def read_configs(directory: Path) -> dict[str, dict]:
    """The JSON files that transformers reads, by name.

    Raises:
        UserError: one is not a JSON object, too large, or a link out of the folder.
    """
    configs: dict[str, dict] = {}
    for name in CONFIGS:
        path = directory / name
        if not path.is_symlink() and not path.exists():
            continue
        configs[name] = parse_object(path, read_text(path, directory, LARGEST_SETTINGS, "save the checkpoint again"))
    return configs


def snippets(text: str, code_revision: bool = False) -> Iterator[Finding]:
    """P23: loading code in a README that is not pinned to a commit.

    Judged are calls of from_pretrained and pipeline in code fences. Those that load a directory, or a repository of
    another author without trust_remote_code, run no code of this one.
    """
    loads: list[tuple[int, dict[str, str]]] = []
    for fence in re.finditer(r"^([ \t]*)(```+|~~~+)[^\n]*\n(.*?)(?:^[ \t]*\2|\Z)", text, re.DOTALL | re.MULTILINE):
        first = text.count("\n", 0, fence.start(3)) + 1
        loads += [(first + line, arguments) for line, arguments in _loads(fence[3])]
    own = {a["repo"] for _, a in loads if a.get("trust_remote_code") or a.get("revision")}
    for line, arguments in loads:
        repo = arguments["repo"]
        trusted = arguments.get("trust_remote_code")
        local = repo.startswith((".", "/", "~")) or (repo and "/" not in repo and not trusted)
        if local or (repo and own and repo not in own and not trusted):
            continue
        for key in ("revision", "code_revision") if code_revision else ("revision",):
            if not re.fullmatch(r"[0-9a-f]{40}", arguments.get(key, "")):
                yield Finding(
                    "P23", f'README: from_pretrained snippet has no {key}="<40 hex>". (line {line})', "README.md", line
                )


def _loads(code: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and arguments of each loading call; of snippets that are not Python, by their text."""
    lines = [re.sub(r"^\s*(?:>>>|\.\.\.|In \[\d+\]:) ?", "", line) for line in code.split("\n")]
    try:
        tree = ast.parse("\n".join(lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        for match in re.finditer(r"from_pretrained\s*\(([^()]*(?:\([^()]*\)[^()]*)*)", code):
            written = dict(re.findall(r"(\w+)\s*=\s*[\"']?([\w./-]*)", match[1]))
            repo = re.match(r"\s*[\"']([^\"']*)", match[1])
            yield code.count("\n", 0, match.start()), {**written, "repo": repo[1] if repo else ""}
        return
    names = {
        node.targets[0].id: node.value for node in every(tree, ast.Assign) if isinstance(node.targets[0], ast.Name)
    }

    def text(value: ast.expr | None) -> str:
        value = names.get(value.id, value) if isinstance(value, ast.Name) else value
        return str(value.value) if isinstance(value, ast.Constant) and value.value not in (False, None) else ""

    for call in calls(tree):
        if call_name(call) != "from_pretrained":
            continue
        arguments = {k.arg: text(k.value) for k in call.keywords if k.arg}
        for spread in (k.value for k in call.keywords if k.arg is None):
            spread = names.get(spread.id, spread) if isinstance(spread, ast.Name) else spread
            if isinstance(spread, ast.Dict):
                pairs = zip(spread.keys, spread.values, strict=True)
                arguments |= {name: text(value) for key, value in pairs if (name := string(key))}
        first = text(call.args[0]) if call.args else arguments.get("pretrained_model_name_or_path", "")
        yield call.lineno - 1, {**arguments, "repo": first}
