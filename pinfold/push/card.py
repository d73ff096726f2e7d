"""The step "card": the facts that a push has gathered, and the card made of them, checked before it is uploaded."""

import contextlib
from dataclasses import replace
from datetime import datetime, timezone
from importlib.metadata import packages_distributions, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from pinfold import __version__
from pinfold.audit.finding import Finding
from pinfold.audit.rules.files import asked_of_transformers, declared_requirements
from pinfold.audit.run import snippets
from pinfold.card import card, snippet
from pinfold.card import check as card_check
from pinfold.card import facts as card_facts
from pinfold.card.facts import Facts
from pinfold.card.picture import picture
from pinfold.card.sources import Sources
from pinfold.common.errors import UserError
from pinfold.folder.human_half import HumanHalf
from pinfold.folder.releases import lowest_version
from pinfold.folder.sentence import MODULES
from pinfold.staging.stage import Staged, write_manifest
from pinfold.verify.verify import Reference


def draw_architecture(staged: Staged, expected: Reference) -> str:
    """Add the picture of the architecture, unless the author has put one of that name beside card.md.

    Returns:
        What it shows; "" where none was drawn.
    """
    svg, png = (staged.directory / name for name in (picture.PICTURE, picture.FALLBACK))
    stages = expected.measured.get("stages")
    if not stages or svg.exists() or png.exists():
        return ""
    picture.draw(stages, svg)
    picture.png(stages, png)
    write_manifest(staged)
    return picture.sentence(stages)


def gather_facts(
    staged: Staged, expected: Reference, releases: list[str], findings: list[Finding], sources: Sources, shown: str
) -> Facts:
    """What goes into the card besides what the staged files say.

    Args:
        shown: what the picture of the architecture shows.
    """
    made_with = {"pinfold": __version__}
    made_with |= {name: version(name) for name in ("torch", "transformers", "huggingface_hub")}
    return Facts(
        expected.parameters,
        requirements(staged, releases),
        releases,
        findings,
        expected.vocabulary,
        measured=expected.measured,
        made_with=made_with,
        date=datetime.now(timezone.utc).date().isoformat(),
        sources=sources,
        picture=shown,
    )


def requirements(staged: Staged, releases: list[str]) -> str:
    """A quoted pip line: an unquoted >= is a redirection to a shell.

    Args:
        releases: those that gave the same numbers; the lowest of them is asked for, and no lower one.
    """
    lowest = lowest_version(staged.folder) if staged.code else "4.48"
    if releases:
        verified = min(map(Version, releases))
        lowest = str(max(Version(lowest), Version(f"{verified.major}.{verified.minor}")))
    asked = asked_of_transformers(staged.folder, staged.directory) if staged.code else SpecifierSet()
    if releases and not any(map(asked.contains, releases)):  # what was verified says more than what was not
        asked = SpecifierSet()
    names = {"transformers": f"transformers{_with_lowest(lowest, asked)}"}
    if not staged.tokenizer_only:
        names["torch"] = "torch"
    if snippet.parts(staged).get("processor") == "AutoImageProcessor":
        names["pillow"] = "pillow"
    if (staged.directory / MODULES).is_file():
        names["sentence-transformers"] = "sentence-transformers"
    # the name to install is the one that is installed here; a package of the module's own name may be another
    tops = {top for file in staged.code for top in card_facts.foreign(staged.folder.modules[file.removesuffix(".py")])}
    tops -= {"torch", "transformers", "numpy", "safetensors"}
    installed = packages_distributions() if tops else {}  # it reads the files of every package
    names |= {name: name for top in tops if top in installed for name in [installed[top][0].lower()]}
    for text in declared_requirements(staged.folder, staged.directory) if staged.code else ():
        with contextlib.suppress(InvalidRequirement):  # an address, or a word that pip would not take
            declared = Requirement(text)
            name = canonicalize_name(declared.name)
            if name != "transformers":
                names[name] = f"{name}{declared.specifier}"
    return " ".join(f'"{text}"' for text in sorted(names.values()))


def _with_lowest(lowest: str, asked: SpecifierSet) -> str:
    """What was verified, and what the folder's author asks for besides: ">=4.48,!=5.3.*"; a pin says it all."""
    if pins := [str(each) for each in asked if each.operator in ("==", "===", "~=")]:
        return ",".join(sorted(pins))
    floors = [Version(each.version) for each in asked if each.operator == ">="]
    highest = max([Version(lowest), *floors])
    others = sorted(str(each) for each in asked if each.operator != ">=")
    return ",".join([f">={lowest if highest == Version(lowest) else highest}", *others])


def make_card(
    staged: Staged, human: HumanHalf, repo: str, revision: str, facts: Facts, old: str | None
) -> tuple[str, list[str]]:
    """The card as it will be, and notes.

    Args:
        old: the README.md that the Hub has.

    Raises:
        UserError: something in it that the Hub would refuse, or a reader find broken.
    """
    own, problems = _rendered(staged, human, repo, revision, facts)
    problems += [f"card.md: {finding}" for finding in snippets(human.text)]
    problems += _license_of_the_source(human, facts.sources)
    if problems:
        raise UserError(f"card: {problems[0]}" + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""))
    merged, notes = card.merge(own, old, human)
    if on_the_hub := card_check.metadata_problems(merged):
        raise UserError(f"README.md on the Hub: {on_the_hub[0]}; correct it there")
    notes += [f"README.md on the Hub: {finding}" for finding in snippets(merged)]
    return merged, notes


def _rendered(staged: Staged, human: HumanHalf, repo: str, revision: str, facts: Facts) -> tuple[str, list[str]]:
    """The card and its problems; without the example where that is what makes the problems."""
    sums = card_facts.sums(staged)
    for used in (facts, replace(facts, example={})):
        text = card.render(staged, human, repo, revision, used)
        problems = card_check.problems(text, card.generated_region(text), staged.directory, sums)
        if not problems:
            break
    return text, problems


def _license_of_the_source(human: HumanHalf, sources: Sources) -> list[str]:
    original = sources.conversion.licence if sources.conversion else ""
    if original in ("", "unknown", human.metadata["license"]):
        return []
    return [f"license={human.metadata['license']} in card.md, {original} in conversion.json; make them agree"]
