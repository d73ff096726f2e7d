"""What a directory holds, judged without running it: what a load runs, what the audit finds, where it should load."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from pinfold.audit import ranges
from pinfold.audit.finding import ERROR, Finding, by_harm, errors
from pinfold.audit.rules.files import asked_of_transformers, packages_asked_for
from pinfold.audit.rules.members import IN_FORWARD, WHILE_GENERATING
from pinfold.audit.rules.own_caches import IN_GENERATE
from pinfold.audit.rules.stock_code import NOT_CALLED, REFUSED
from pinfold.audit.rules.stock_places import PLACES
from pinfold.audit.rules.stock_results import RESULTS
from pinfold.audit.run import audit
from pinfold.audit.security.run import UNSEEN, accepted
from pinfold.common.errors import UserError
from pinfold.common.trees import parsed_once
from pinfold.folder.contents import adapter_inside, check_files, code_elsewhere, describes_model
from pinfold.folder.declared import declared_entries
from pinfold.folder.filenames import PICKLES
from pinfold.folder.human_half import read_human_half
from pinfold.folder.loaded_code import LARGEST_SETTINGS, FilesOnDisk, LoadedCode, find_loaded_code
from pinfold.folder.model_folder import ALL_FILES, LARGEST, ModelFolder, Module, read_modules
from pinfold.folder.releases import every_minor, lowest_version, model_types, release_ranges

# Rule -> the case of the laboratory that a finding is by default, and what a forecast calls it. In which releases it
# does what is in ranges.json. P08 has no part in a forecast: whether a package is there, the user's machine says.
FAULTS = {
    "P01": ("P02.no_model", "a missing entry of auto_map"),
    "P02": ("P02.no_class", "auto_map"),
    "P06": ("P06.absolute", "an import that the loader cannot find"),
    "P07": ("P07.helper", "a helper that is not copied"),
    "P09": ("", "a name that is not there"),
    "P10": ("P10.missing", "post_init"),
    "P11": ("P11.list", "tied keys as a list"),
    "P11b": ("P11b.no_flag", "weights that only one of the two major versions ties"),
    "P11c": ("P11c.assigned", "weights tied by assignment"),
    "P11d": ("P11d.override", "tie_weights overridden"),
    "P11e": ("P11e.part_ties", "tied weights of a part"),
    "P11f": ("P11f.lm_head", "a head that is tied by its name"),
    "P11g": ("P11g.plain", "tied weights that are taken for loaded"),
    "P12": ("P12.buffer", "an uninitialised buffer"),
    "P13": ("P13.data_beside_buffer", "_init_weights writes in place"),
    "P14": ("P14.item", "a tensor is read in __init__"),
    "P14b": ("P14b.tensor", "a plain tensor attribute"),
    "P14c": ("P14c.nested", "from_pretrained in __init__"),
    "P14d": ("P14d.to", "a move to a device in __init__"),
    "P15": ("P15.never_set:constructor", "the configuration's fields"),
    "P16": ("P16.missing", "config_class"),
    "P17": ("P17.gamma", "gamma or beta in a parameter's name"),
    "P20": ("P20.dtype", "torch_dtype"),
    "P22": ("P22.no_class", "no tokenizer_class"),
    "P22b": ("P22b.class", "a tokenizer class of transformers 5"),
    "P26": ("P26.past_key_values_only", "generate loses its cache"),
    "P27": ("P27.image_processor", "a processor's parts in one file"),
    "P29": ("P29.field", "an output class with a cache of its own"),
    "P31": ("P31.none_before_super", "settings of rotary positions"),
    "P32": ("P32.tuples_shape", "a cache that is taken for tuples"),
    "P33": ("P33.complex_buffer", "numbers in the file that it cannot read"),
    "P34": ("P34.no_mixin", "no generate"),
    "P35": ("P35.property_of_part", "a property that is read too early"),
    "P36": ("", "a type that transformers has itself"),
    "P37": ("P37.module_twice", "a module under two names"),
    "P39": ("P39.inputs_segments", "an input that forward does not take"),
    "P45": ("P45.absent_name", "a module to keep in float32 that is not there"),
    "P46": ("P46.part_initialises", "a part that is taken for a model"),
    "P47": ("P47.neither", "a mask that generate refuses"),
    "P48": ("P48.method", "names that code of the folder changes while it loads"),
    "P49": ("", "a method that transformers does not call"),
    "P50": ("", "arguments that transformers does not take"),
    "P51": ("P51.reads_lists", "a cache that derives from transformers' own"),
    "P55": ("", "what a module of transformers returns"),
    "P56": ("", "a part that transformers calls in another way"),
    "P52": ("P52.samples_not_in_file", "settings of generate that are refused"),
    "P57": ("P57.writes_elsewhere", "a save_pretrained that writes no weights"),
    "P58": ("P58.T5Stack", "a decoder without a cache for its encoder"),
    "P59": ("P59.length", "a cache that is taken for filled"),
    "P60": ("P60.shape", "cache_position, which is not passed"),
    "P61": ("P61.no_strict_own_constructor", "a validate without its arguments"),
    "P62": ("P62.text_config_after_super", "a get_text_config that is called too early"),
    "P63": ("P63.outer_ties", "ties by the outer settings"),
    "P67": ("P67.configuration", "settings that JSON cannot hold"),
    "P68": ("", "a release that the code refuses"),
    "P66": ("P66.parametrized", "names of tensors that cannot be sorted"),
    "P69": ("P69.table_order", "a table that is read in another order"),
    "P71": ("P71.mask_of_all", "a mask for all tokens beside a cache with a window"),
    "P72": ("P72.in_place", "weights that the model changes"),
    "P80": ("P80.not_saved", "weights that only a constructor makes"),
    "P81": ("P81.prepared", "a mask that generate leaves out"),
    "P82": ("P82.named", "a cache that nothing fills"),
    "P83": ("P83.dataclass#generate", "what forward gives to generate"),
    "P84": ("P84.encoder", "a part without a choice of attention"),
}
# A table made from transformers' sources says in which releases: folder/releases.json.gz, audit/stock.json.gz.
BY_NAMES = ("P09", "P36", "P49", "P50", "P55", "P56", "P68")
STOPS = {  # what then fails for certain
    IN_FORWARD: "forward",
    WHILE_GENERATING: "generate",
    NOT_CALLED: "numbers",
    IN_GENERATE: "generate",
    **{case: case.removeprefix("P50.") for case in REFUSED},
    **{case: case.removeprefix("P55.") for case in RESULTS},
    **{case: case.removeprefix("P56.") for case in PLACES},
}
WORDS = {  # of cases that are another fault than the rest of their rule
    "P17.weight_norm": "weights under the names of the older weight_norm",
    "P11.missing": "weights that only transformers 4 ties",
    "P11.head_not_declared": "a head that only transformers 4 ties",
    "P11.dynamic_keys": "tied weights that are declared nowhere",
    "P15.no_default": "an argument without a default",
    "P15.no_kwargs": "no **kwargs",
    "P15.kwargs_not_passed_on": "**kwargs that are not passed on",
    "P15.raises_without_arguments": "a configuration that raises without arguments",
    "P15.dataclass": "a configuration that @dataclass makes",
    "P15.dataclass_post_init": "a configuration that @dataclass makes",
    "P15.strict": "a configuration that @strict makes",
    "P15.mutable_field": "a field with a list or a table as its default",
    "P15.mutable_field_of_config": "a field with a configuration as its default",
    "P15.constructor_of_base": "a constructor of a base that does not run",
    "P15.part_without_layers": "a part without num_hidden_layers",
    "P15.field_without_value": "a field without a default",
    "P15.field_without_value_no_constructor": "a field without a default",
}
# Warnings that a forecast counts: a fault of one release of transformers, which no folder needs to cure.
FAULTS_OF_A_RELEASE = ("P11g", "P66")
NEWLINE = b"\n"
MOST_NAMES = 40  # of files in one line of the report
MEMBER = re.compile(r": (PreTrainedModel|DynamicCache|GenerationMixin)\.")


@dataclass
class Report:
    """What reading a directory has shown.

    Args:
        runnable: it holds Python code. foreign_code: its auto_map names code of another repository.
    """

    name: str
    facts: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    forecast: str = ""
    runnable: bool = False
    foreign_code: bool = False

    def lines(self) -> Iterator[str]:
        """The report for people."""
        yield self.name
        yield from (f"  {fact}" for fact in self.facts)
        for finding in sorted(self.findings, key=by_harm):
            yield f"  {finding.severity:<7}  {finding}"
        if self.runnable:
            yield "  What an audit cannot see:"
            yield from (f"    {line}" for line in UNSEEN.splitlines())

    def summary(self) -> str:
        """How many findings there are, and the forecast."""
        bad = len(errors(self.findings))
        rest = len(self.findings) - bad
        counts = f"{self.name}: {bad} error{'s' * (bad != 1)}, {rest} warning{'s' * (rest != 1)}"
        return f"{counts}; {self.forecast}" if self.forecast else counts


@parsed_once()
def examine(directory: Path, name: str, sizes: dict[str, int] | None = None) -> Report:
    """Read a directory; import and execute nothing.

    Args:
        directory: a model folder, what a push or save_pretrained wrote, or the outline of a repository.
        sizes: of the repository's files, where not all were downloaded.

    Raises:
        UserError: it holds something that cannot be read.
    """
    check_files(directory)
    if sizes is None:
        sizes = {p.relative_to(directory).as_posix(): p.lstat().st_size for p in sorted(directory.rglob("*"))}
        sizes = {path: size for path, size in sizes.items() if (directory / path).is_file()}
    if not sizes:
        raise UserError(f"{name}: no files; give a model folder, or what save_pretrained wrote")
    folder = read_modules(directory, unreadable={})  # the audit says which it could not read
    has_code = bool(folder.modules)
    elsewhere = code_elsewhere(directory)
    references = [*folder.auto_map().values(), *folder.pipelines.values()]
    files = FilesOnDisk(directory)
    runs = find_loaded_code(files, references, LARGEST, ALL_FILES, LARGEST_SETTINGS)
    report = Report(name, runnable=bool(has_code or runs.files), foreign_code=bool(elsewhere or runs.foreign))
    report.facts.append(f"{len(sizes)} file{'s' * (len(sizes) != 1)}, {sum(sizes.values()) / 1e6:.1f} MB")
    report.facts += _code_that_runs(directory, folder, runs)
    if files.apart:
        report.facts.append(f"left out, as environments that no push uploads: {_some(files.apart)}")
    report.facts += _code_elsewhere_and_weights(directory, runs, sizes, elsewhere)
    report.findings = audit(directory, folder if has_code else None)
    report.facts += _accepted_by_author(directory, report.findings)
    if has_code and not folder.auto_map() and not elsewhere:
        report.facts.append("no class that from_pretrained loads: a model derives from transformers.PreTrainedModel")
    elif has_code or elsewhere:
        asked = asked_of_transformers(folder, directory)
        report.forecast = forecast(report.findings, lowest_version(folder), asked) + _left_out(asked)
    return report


def _left_out(asked: SpecifierSet) -> str:
    """Which releases of transformers the folder itself asks pip for, where it leaves out some that are known here."""
    left_out = [release for release in every_minor() if not asked.contains(release)]
    return f"; it asks for transformers{asked}, which leaves out {release_ranges(left_out)}" if left_out else ""


def _accepted_by_author(directory: Path, findings: list[Finding]) -> list[str]:
    """What card.md says about a finding. It counts in its author's own push; here it is only repeated."""
    if not (directory / "card.md").is_file():
        return []
    try:
        judged = accepted(findings, read_human_half(directory).accepted)
    except UserError as error:
        return [f"a push would stop here: {error}"]
    return [f"accepted by the author: {f.code} in {f.file} ({f.reason})" for f in judged if f.reason]


def _code_that_runs(directory: Path, folder: ModelFolder, runs: LoadedCode) -> list[str]:
    """Which of the folder's files a load executes, and which not."""
    facts = []
    if runs.files:
        loaded = [folder.modules[stem] for path in runs.files if (stem := path.removesuffix(".py")) in folder.modules]
        ordered = sorted(runs.files, key=lambda path: (path.count("/"), path))
        files = [f"{path} ({(directory / path).read_bytes().count(NEWLINE)} lines)" for path in ordered]
        packages = folder.packages(loaded)
        facts.append(f"runs on your machine: {_some(files)}" + (f"; imports {', '.join(packages)}" * bool(packages)))
        facts += _needed(folder, loaded)
    if runs.missing:
        facts.append(f"named by the settings, and not here: {_some(runs.missing)}")
    if rest := [path for path in runs.others if path != "__init__.py"]:
        known = not (runs.cut or runs.unread)
        words = "not loaded by from_pretrained" if known else "not all could be followed; a load may run these too"
        facts.append(f"{words}: {_some(rest)}")
    return facts


def _needed(folder: ModelFolder, loaded: list[Module]) -> Iterator[str]:
    """Packages beside torch and transformers without which it does not load, and those that it does without."""
    needed, optional = packages_asked_for(folder, loaded)
    if needed or optional:
        words = [f"needs {_some(needed)}"] * bool(needed) + [f"uses where it is there: {_some(optional)}"] * bool(
            optional
        )
        yield "; ".join(words)


def _some(names: Sequence[str]) -> str:
    """Names in a line, not more than can be read."""
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _code_elsewhere_and_weights(
    directory: Path, runs: LoadedCode, sizes: dict[str, int], elsewhere: dict[str, set[str]]
) -> list[str]:
    facts = [
        f"runs code of {repo} for {', '.join(sorted(autos))}; read that too: pinfold check {repo}"
        for repo, autos in sorted(elsewhere.items())
    ]
    facts += [
        f"runs code of {repo}; read that too: pinfold check {repo}" for repo in runs.foreign if repo not in elsewhere
    ]
    weights = [name for name in sizes if name.endswith(".safetensors")]
    pickles = [name for name in sizes if name.endswith(PICKLES)]
    base = runs.base
    unread = [path for path, _ in runs.unread]
    named = sorted({entry.split(".")[0] + ".py" for entry in declared_entries(directory).values()})
    if unread and not runs.any:
        facts.append(f"may run code: {_some(unread)} cannot be read")
    elif not runs.files and not runs.others and not elsewhere and not base and named:
        facts.append(f"no Python code, though its settings name {', '.join(named)}: it is not loaded without that")
    elif not runs.any and not runs.others and not base and (kind := _unknown_type(directory)):
        facts.append(f"no Python code, and model_type {kind!r} is none of transformers' own: its code is missing")
    elif not runs.any and not runs.others and not base:
        facts.append(f"no Python code: {_kind_without_code(directory, sizes)}; trust_remote_code is not needed for it")
    if base:
        # AutoModel ignores the revision in adapter_config.json, and so runs what the base's main branch holds
        facts.append(f"an adapter: a load also runs the code of {base}, not pinned; pinfold check {base}")
    if weights:
        facts.append(f"weights: {len(weights)} safetensors file{'s' * (len(weights) > 1)}")
        inside = None if base else adapter_inside([directory / name for name in weights if "/" not in name])
        if inside:
            facts.append(
                f"an adapter is still inside the model ({inside}), for which only peft has a place; merge it, and "
                "save again: model.merge_and_unload().save_pretrained(DIR)"
            )
    elif pickles:
        facts.append(f"weights: only pickles ({', '.join(pickles[:3])}); loading a pickle can run any code")
    else:
        facts.append("no weights")
    return facts


def _unknown_type(directory: Path) -> str:
    """The model_type of a configuration that no release of transformers can read by itself; else nothing."""
    try:
        kind = json.loads((directory / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""
    return kind[:80] if isinstance(kind, str) and kind not in model_types() else ""


def _kind_without_code(directory: Path, sizes: dict[str, int]) -> str:
    if describes_model(directory):
        return "a model of transformers' own"
    if any(name.endswith((".safetensors", *PICKLES)) for name in sizes):
        return "weights without a config.json that says of what model"
    return "a tokenizer, no model" if any(name.startswith("tokenizer") for name in sizes) else "no model"


def forecast(findings: list[Finding], lowest: str = "4.48", asked: SpecifierSet | None = None) -> str:
    """In which releases from the lowest declared one on the code should load, going by the findings alone.

    Args:
        asked: what the folder itself asks pip for. A load does not read it, so that what fails in a release that it
            leaves out is said; that the code loads there is not.
    """
    releases = [release for release in every_minor() if Version(release) >= Version(lowest)]
    if not releases:
        raise UserError(f"MIN_TRANSFORMERS={lowest} is above every release known here ({every_minor()[-1]})")
    causes: dict[str, list[str]] = {release: [] for release in releases}
    for finding in counted(findings):
        for release, text in _harm(finding, releases).items():
            causes[release] += [text] * (text not in causes[release])
    by_causes: dict[tuple[str, ...], list[str]] = {}
    for release, texts in causes.items():
        by_causes.setdefault(tuple(texts), []).append(release)
    fine = by_causes.pop((), [])
    loads_in = [release for release in fine if asked is None or asked.contains(release)] or fine
    parts = [f"loads in {release_ranges(loads_in)}"] if loads_in else []
    parts += [f"in {release_ranges(affected)} it {'; '.join(texts)}" for texts, affected in by_causes.items()]
    return ("by its code it " if loads_in else "by its code, ") + ", ".join(parts)


def counted(findings: list[Finding]) -> list[Finding]:
    """The findings that a forecast goes by."""
    return [finding for finding in findings if finding.severity == ERROR or finding.code in FAULTS_OF_A_RELEASE]


def harm_of(findings: list[Finding], releases: list[str]) -> dict[str, str]:
    """Release -> the worst that findings do there, a key of ranges.EFFECTS; what only a load decides is left out."""
    order = list(ranges.EFFECTS)
    worst: dict[str, str] = {}
    for finding in counted(findings):
        for release, stage in ({} if _only_may(finding) else _stages(finding)).items():
            if release in releases:
                worst[release] = min(stage, worst.get(release, stage), key=order.index)
    return worst


def _only_may(finding: Finding) -> bool:
    """Whether a load decides: on a condition, or as a missing member fails when it is used."""
    member = finding.code == "P09" and bool(MEMBER.search(finding.sentence))
    return bool(finding.where) or (member and not finding.case)


def _stages(finding: Finding) -> dict[str, str]:
    """Release -> what a finding does there."""
    if finding.code in BY_NAMES or finding.case == IN_GENERATE:
        # a release that does not hand past_key_values to what prepares inputs does not meet what is read of it
        of_cache = finding.case == WHILE_GENERATING and ": DynamicCache." in finding.sentence
        unmet = ranges.harm("P26.past_key_values_only") if of_cache else {}
        stage = STOPS.get(finding.case, "load")
        return dict.fromkeys((r for r in finding.releases if r not in unmet), stage)
    if finding.code not in FAULTS:
        return {}
    stages = ranges.harm(finding.case or FAULTS[finding.code][0])
    return {r: stage for r, stage in stages.items() if not finding.releases or r in finding.releases}


def _harm(finding: Finding, releases: list[str]) -> dict[str, str]:
    """Release -> what a finding does there, in words that follow "it"."""
    may = _only_may(finding)
    fault = WORDS.get(finding.case) or FAULTS.get(finding.code, ("", ""))[1]
    words = f"{finding.code} {fault}" + f" {finding.where}" * bool(finding.where)
    stages = _stages(finding)
    return {r: f"{ranges.EFFECTS[stages[r]][may]}: {words}" for r in releases if r in stages}
