"""Check a card without a Hub: what a Hub would refuse, and what a reader would find broken.

Sources: the Hub's documentation of model cards (https://huggingface.co/docs/hub/model-cards), and the words of
hub_words.json. The same rules hold for a card that people have edited on the Hub since.
"""

import difflib
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from pinfold.common.front_matter import FrontMatterError, read_front_matter, split_front_matter

WORDS = json.loads(Path(__file__).with_name("hub_words.json").read_text(encoding="utf-8"))
PIPELINES, LICENCES = frozenset(WORDS["pipeline_tags"]), frozenset(WORDS["licenses"])
RELATIONS = ("adapter", "finetune", "merge", "quantized")
ADDRESS = re.compile(r"\b(?:src|href|srcset)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s>\"']+))", re.IGNORECASE)
REVISION = re.compile(r"revision=[\"']([^\"']*)[\"']")
UNFINISHED = re.compile(r"More Information Needed|\bTODO:|\bFIXME\b|^TODO$|\{\{ \w[\w.]* \}\}", re.MULTILINE)
ROW = re.compile(r"^\| (`+ ?)(.+?)( ?`+) \| (\d+) \| `([0-9a-f]{64})` \|", re.MULTILINE)
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:|//|#|$", re.IGNORECASE)
HUB_PLACE = re.compile(r"(?:\./)?(?:discussions|commits?|tree|blob|raw|resolve)(?:/|$)")  # of a repository's own pages


def problems(card: str, generated: str, directory: Path, sums: dict[str, tuple[int, str]]) -> list[str]:
    """What is wrong with a card, a sentence each; empty where nothing is.

    Args:
        card: the whole README.md. generated: that part of it which the push makes.
        directory: what will be on the Hub beside it.
        sums: of each file there, its size in bytes and its sha256.
    """
    if not card.startswith("---\n"):
        return ["the card does not begin with ---"]
    front, why = _front(card)
    if why:
        return [why]
    body = split_front_matter(card)[1]
    link = front.get("license_link")
    links = [link] if isinstance(link, str) else []
    return [*_metadata(front), *_text(body, links, directory), *_code(generated), *_files(generated, sums)]


def metadata_problems(card: str) -> list[str]:
    """The same for the metadata alone: of a card whose text another author wrote."""
    front, why = _front(card)
    return [why] if why else list(_metadata(front))


def human_problems(metadata: dict) -> list[str]:
    """The same for what card.md says, before anything is computed."""
    return list(_metadata({"library_name": "transformers", **metadata}))


def _front(card: str) -> tuple[dict, str]:
    """The metadata, or why they cannot be used."""
    try:
        front = read_front_matter(card)
        same = yaml.safe_load(yaml.safe_dump(front, allow_unicode=True)) == front
    except FrontMatterError as error:
        return {}, f"the metadata is {error}"
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return {}, f"the metadata cannot be written again ({str(error).splitlines()[0]})"
    if not (same or "nan" in repr(front)):
        return {}, "the metadata changes when it is written again"
    return front, ""


def _metadata(front: dict) -> Iterator[str]:
    """A sentence for each field that the Hub would refuse or misread.

    None depends on another. The license comes first, since every card needs one; the results are a file's worth of
    their own, and come last.
    """
    licence = front.get("license")
    if not isinstance(licence, str) or licence not in LICENCES:
        near = _near(licence, LICENCES)
        cure = "use `other` with license_name and license_link"
        yield f"license={licence!r} is not a license the Hub knows{near}; {cure}"
    elif licence == "other":
        for name in ("license_name", "license_link"):
            if not isinstance(front.get(name), str):
                yield f"license: other needs {name}; add the line to card.md"
    task = front.get("pipeline_tag")
    if task is not None and not (isinstance(task, str) and task in PIPELINES):
        yield f"pipeline_tag={task!r} is not a task the Hub knows{_near(task, PIPELINES)}; correct it in card.md"
    for name in ("base_model", "datasets"):
        values = front.get(name)
        for value in values if isinstance(values, list) else [values] if values is not None else []:
            if not _is_repo(value):
                yield f"{name}={value!r} is not the name of a repository; write owner/name, or leave it out"
    relation = front.get("base_model_relation")
    if relation is not None and relation not in RELATIONS:
        yield f"base_model_relation={relation!r} is not a relation the Hub knows; use {', '.join(RELATIONS)}"
    for name in ("tags", "datasets", "metrics", "language"):
        value = front.get(name)
        whole = isinstance(value, str) and name != "tags"
        if (
            value is not None
            and not whole
            and not (isinstance(value, list) and all(isinstance(v, str) for v in value))
        ):
            yield f"{name}={value!r} is not a list of words; write {name}: [one, another]"
    library = front.get("library_name")
    if not isinstance(library, str) or not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,60}", library):
        yield f"library_name={library!r} is not the name of a library; write transformers, or leave it out"
    yield from _index(front.get("model-index"))


def _near(word: object, words: frozenset) -> str:
    near = difflib.get_close_matches(str(word).lower(), sorted(words), n=1)
    return f" (is it {near[0]}?)" if near else ""


def _is_repo(value: object) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(value)
    except HFValidationError:
        return False
    return isinstance(value, str) and not value.startswith((".", "/"))


def _index(index: Any) -> Iterator[str]:
    if index is None:
        return
    try:
        for model in index:
            if not isinstance(model["name"], str) or not model["results"]:
                raise ValueError("a model without a name or results")
            for result in model["results"]:
                if not isinstance(result["task"]["type"], str) or not isinstance(result["dataset"]["name"], str):
                    raise ValueError("a result without its task or data set")
                for metric in result["metrics"]:
                    if not isinstance(metric["type"], str) or not _finite(metric["value"]):
                        raise ValueError(f"a metric whose value is {metric['value']!r}")
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        yield f"model-index cannot be read: {what}; see https://huggingface.co/docs/hub/model-cards"


def _finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(_finite(each) for each in value.values())
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))


def _text(body: str, links: list[str], directory: Path) -> Iterator[str]:
    for token in _flat(MarkdownIt("commonmark").enable("table").parse(body)):
        if token.type == "text" and (found := UNFINISHED.search(token.content)):
            yield f"{found[0]!r} is in the text; finish it, or leave it out"
        if token.type in ("html_block", "html_inline"):
            shown = re.sub(r"<!--.*?-->", "", token.content, flags=re.DOTALL)
            links = [*links, *("".join(found).split(" ")[0] for found in ADDRESS.findall(shown))]
        for name in ("href", "src"):
            if isinstance(target := token.attrs.get(name), str):
                links = [*links, target]
    for target in dict.fromkeys(links):
        if not ELSEWHERE.match(target) and not _exists(directory, target):
            yield (
                f"{target} is linked but not published. Put it beside card.md (allowed: png, svg, jpg, jpeg, webp, "
                "gif, LICENSE, NOTICE, COPYING, CITATION), list it under include in card.md, or link to a URL"
            )


def _flat(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from token.children or []


def _exists(directory: Path, target: str) -> bool:
    name = unquote(target.split("#")[0].split("?")[0])
    if name.startswith("/") or HUB_PLACE.match(name):
        return True  # a page of the Hub's
    path = (directory / name).resolve()
    return path.is_relative_to(directory.resolve()) and (path.exists() or path.name == "README.md")


def _code(generated: str) -> Iterator[str]:
    fences = [token for token in MarkdownIt("commonmark").parse(generated) if token.type == "fence"]
    for number, token in enumerate(fences, 1):
        lines = [line for line in token.content.splitlines() if not line.startswith("#")]
        for revision in REVISION.findall("\n".join(lines)):
            if not re.fullmatch("[0-9a-f]{40}", revision):
                yield f"block {number} pins revision={revision!r}, which is not a commit"
        if token.info.strip() == "python":
            try:
                compile(token.content, "<card>", "exec")
            except (SyntaxError, ValueError) as error:
                yield f"block {number} is not Python: {error}"


def _files(generated: str, sums: dict[str, tuple[int, str]]) -> Iterator[str]:
    listed = {name.replace("\\|", "|"): (int(size), digest) for _, name, _, size, digest in ROW.findall(generated)}
    for name, entry in sums.items():
        if listed.get(name) != entry:
            yield f"the table of files does not list {name}, or has the wrong size or sha256 for it"
