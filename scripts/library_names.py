"""Make names.json.gz: what the names of installed libraries stand for, and what they do with their arguments.

    python scripts/library_names.py

Run it again when a library has a new release; the table says which releases it was made from. Nothing is imported but
pinfold's own rules: the libraries' sources are read (library_sources.py, argument_flow.py).

How it works:
- aliases: `random._os` stands for `os`, `huggingface_hub.hf_api.HfApi` for `huggingface_hub.HfApi`.
  Kept are those that lead to a name with a rule, or with an entry in the second part.
- reaches: `pydoc.pipepager` hands its second argument to a command. Kept are functions whose argument arrives whole;
  a text that only becomes a part of another one is not. An entry of the argument counts for what runs ("import.item").
- copies: `multiprocess` has the modules and the functions of `multiprocessing`, and so its names mean the same.
- overrides: `PIL.ImageShow.Viewer` starts what its method get_command gives back, and so what a subclass's does.
- does: `huggingface_hub.model_info` reaches the network whatever it is given (library_effects.py).
- fetching: libraries that download from the Hub.
- own: modules whose name is also that of a well-known one, such as `pandas.io.pickle`.
"""

import ast
import gc
import gzip
import json
import sys
from collections import defaultdict
from pathlib import Path

from argument_flow import Flows
from argument_sinks import COMMAND, IMPORT, ITEM, NATIVE, PICKLE, TEXT, WHOLE
from library_effects import effects
from library_sources import Names, Source, read, roots

from pinfold.audit.finding import ERROR
from pinfold.audit.security.tables import functions, names
from pinfold.audit.security.tables.by_hand import BY_HAND

TABLE = Path(__file__).resolve().parents[1] / "pinfold" / "audit" / "security" / "tables" / "names.json.gz"
LIBRARIES = (  # noqa: SIM905
    "python numpy pandas huggingface_hub tokenizers safetensors timm peft sentence_transformers datasets accelerate "
    "PIL fsspec joblib yaml jinja2 httpx2 psutil multiprocess dill cloudpickle torchvision triton pydantic networkx "
    "tqdm click anyio filelock rich pygments truststore "
    "scipy sklearn torch transformers"
).split()
# Every name of these has a rule already, or they are models, whose code is like that of a model folder.
NOT_FOLLOWED = ("torch._inductor.", "torch._dynamo.", "torch.testing.", "transformers.models.", "distutils.", "test.")
# Their rules look at the arguments themselves, or what they do with the argument is harmless.
LEFT_TO_RULES = frozenset(
    "importlib.util.find_spec importlib.import_module torch.serialization.load torch.load numpy.load "  # noqa: SIM905
    "numpy.lib._npyio_impl.load transformers.pipelines.pipeline".split()
)
OF_TYPES = "pydantic."  # evaluates annotations that are texts, where whole types are handed on
KEYWORD_ONLY = 99
RUNS = (TEXT, COMMAND, IMPORT, NATIVE, PICKLE)
FEWEST_MODULES = 5  # of a package that can be called a copy of another


def rule_names() -> set[str]:
    """Every single name that a rule knows."""
    known = {*names.EXACT, *names.SENSITIVE, *functions.WRITERS, *functions.OPENERS, *functions.CALLERS}
    return known | names.WATCHED_MODULES | {name for name in names.BELOW} | BY_HAND.keys()


def preferred(table: Names) -> dict[str, str]:
    """Defining name -> the name that the rules use."""
    return {table.resolve(name): name for name in sorted(rule_names()) if table.resolve(name) != name}


def reaching(flows: Flows) -> dict[str, str]:
    """Function -> "what:position:name ..." of the arguments that arrive somewhere."""
    entries: dict[str, str] = {}
    for name, function in flows.functions.items():
        if name in LEFT_TO_RULES or name.startswith("typing.") or name.endswith((".from_pretrained", ".__enter__")):
            continue
        parameters = function.parameters[1:] if function.bound else function.parameters
        keyword_only = {argument.arg for argument in function.node.args.kwonlyargs}
        parts = [
            f"{what}{'.item' * (how == ITEM)}:"
            f"{KEYWORD_ONLY if parameter in keyword_only else parameters.index(parameter)}:{parameter}"
            for parameter, effects in function.reaches.items()
            if parameter in parameters
            for what, how in effects.items()
            if (how == WHOLE or (how == ITEM and what in RUNS)) and (what != TEXT or not name.startswith(OF_TYPES))
        ]
        if parts:
            entries[name.removesuffix(".__init__").removesuffix(".__new__")] = " ".join(sorted(parts))
    for cls in flows.classes:
        constructor = flows.called(cls)
        taken = constructor.parameters[1:] if constructor is not None else []
        more = [
            f"{what}:{taken.index(parameter)}:{parameter}"
            for parameter, effects in flows.inherited(cls).items()
            for what, how in effects.items()
            if how == WHOLE and parameter in taken
        ]
        if more:
            base = constructor.name.rpartition(".")[0]
            entries[cls] = " ".join(sorted({*more, *entries.get(base, "").split()}))
    for cls in flows.classes:  # constructors that a class has from its base
        constructor = flows.called(cls)
        if constructor is not None and (base := constructor.name.rpartition(".")[0]) in entries:
            entries.setdefault(cls, entries[base])
    return entries


def inherited(flows: Flows, entries: dict[str, str]) -> dict[str, str]:
    """Class -> its bases, where one of them has a method with an entry."""
    owners = {name.rpartition(".")[0] for name in entries} & flows.classes.keys()

    def leads(cls: str, depth: int = 0) -> bool:
        return cls in owners or (depth < 8 and any(leads(base, depth + 1) for base in flows.classes.get(cls, ())))

    return {cls: " ".join(bases) for cls, bases in flows.classes.items() if any(map(leads, bases))}


def overridden(flows: Flows) -> dict[str, str]:
    """Class -> "what:method ..." of its methods whose result is run."""
    entries = {}
    for cls in flows.classes:
        methods = flows.overrides(cls)
        parts = [f"{what}:{name}" for name, effects in methods.items() for what in effects.intersection(RUNS)]
        if parts:
            entries[cls] = " ".join(sorted(parts))
    return entries


def aliases(table: Names, entries: set[str]) -> dict[str, str]:
    """Module -> "name=target ..." of the names in it that stand for one with a rule or an entry."""
    better = preferred(table)
    targets = rule_names() | entries
    modules = {".".join(name.split(".")[:length]) for name in targets for length in range(1, name.count(".") + 1)}
    matter = targets | modules
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for defining, name in better.items():
        module, _, last = defining.rpartition(".")
        found[module][last] = name
    keep = rule_names()
    for source in table.sources.values():
        if source.name.startswith("transformers.models."):
            continue  # thousands, of which canonical() knows the usual ones
        for name in [*source.held, *_starred(table, source)]:
            path = f"{source.name}.{name}"
            target = table.resolve(path)
            target = better.get(target, target)
            if target != path and path not in keep and (target in matter or names.judge(target)):
                found[source.name][name] = target
    for owner, (_, held) in table.members.items():
        for name in held:
            target = table.resolve(f"{owner}.{name}")
            target = better.get(target, target)
            judgement = names.judge(target)
            acts = target in keep or (judgement is not None and judgement[1] == ERROR)
            if acts and target != f"{owner}.{name}":
                found[owner][name] = target
    return {module: " ".join(f"{n}={t}" for n, t in sorted(held.items())) for module, held in sorted(found.items())}


def _starred(table: Names, source: Source) -> list[str]:
    """Names that a module has from ``import *``."""
    others = [table.sources[star] for star in source.stars if star in table.sources]
    return [name for other in others for name in other.held if not name.startswith("_")]


def copies(table: Names) -> dict[str, str]:
    """Package -> the standard library's that it is a copy of: the same modules with the same functions."""
    packages: dict[str, dict[str, Source]] = defaultdict(dict)
    for source in table.sources.values():
        top, _, rest = source.name.partition(".")
        packages[top][rest] = source
    large = {name: modules for name, modules in packages.items() if len(modules) >= FEWEST_MODULES}
    found = {}
    for name, modules in large.items():
        for other, originals in large.items() if name not in sys.stdlib_module_names else ():
            if other in sys.stdlib_module_names and _is_copy(modules, originals):
                found[name] = other
    return found


def _is_copy(modules: dict[str, Source], originals: dict[str, Source]) -> bool:
    shared = modules.keys() & originals.keys()
    if len(shared) < 0.8 * len(originals):
        return False
    pairs = [(modules[m].functions.get(name), node) for m in shared for name, node in originals[m].functions.items()]
    same = sum(copy is not None and ast.dump(copy) == ast.dump(node) for copy, node in pairs)
    return 2 * same > len(pairs)


def own_modules(table: Names) -> list[str]:
    """Modules of packages that have the name of one that others are reached through."""
    return sorted(
        source.name
        for source in table.sources.values()
        if source.name.rpartition(".")[0] and source.name.rpartition(".")[2] in names.REACHED_THROUGH
    )


def fetching(table: Names) -> list[str]:
    """Libraries that import huggingface_hub, and so can take the name of a repository."""
    users = [s for s in table.sources.values() if any(t.startswith("huggingface_hub.") for t in s.held.values())]
    return sorted({source.name.split(".")[0] for source in users} - {"huggingface_hub"})


def _says_more(entry: str) -> bool:
    """Whether an entry leaves out what a function does by itself: no argument of it is opened or started."""
    return {"url", "hub", "command"}.isdisjoint(part.split(":")[0] for part in entry.split(" "))


def main() -> None:
    gc.disable()  # syntax trees are never freed here
    sources: dict[str, Source] = {}
    versions: dict[str, str] = {}
    for library, version, root in roots(LIBRARIES):
        versions[library] = version
        for source in read(library, root):
            if f"{source.name}.".startswith(NOT_FOLLOWED):
                source.functions = {}
                source.classes = {}
            sources[source.name] = source
        print(library, version, len(sources), flush=True)
    table = Names(sources)
    flows = Flows(table)
    print(len(flows.functions), "functions", flush=True)
    flows.run()
    entries = reaching(flows)
    overrides = overridden(flows)
    does = {name: what for name, what in effects(flows).items() if _says_more(entries.get(name, ""))}
    bases = inherited(flows, entries | does)
    content = {
        "made_from": versions,
        "aliases": aliases(table, entries.keys() | overrides.keys() | does.keys() | bases.keys()),
        "reaches": dict(sorted(entries.items())),
        "overrides": dict(sorted(overrides.items())),
        "does": dict(sorted(does.items())),
        "copies": copies(table),
        "own": own_modules(table),
        "fetching": fetching(table),
        "bases": dict(sorted(bases.items())),
    }
    text = json.dumps(content, separators=(",", ":")).encode()
    TABLE.write_bytes(gzip.compress(text, 9, mtime=0))
    counts = {part: len(held) for part, held in content.items()}
    print(f"{TABLE.name}: {TABLE.stat().st_size} bytes, {len(text)} unpacked, {counts}")


if __name__ == "__main__":
    sys.exit(main())
