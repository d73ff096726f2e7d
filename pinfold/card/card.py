"""The model card: front matter, a region generated from facts, and the human half from the folder's card.md.

On a second push only the generated region and the computed keys are written anew. Text that was edited on
the Hub stays: the end marker records what was pushed, which shows whether the Hub's text or card.md has changed.
"""

import hashlib
import json
import re
from pathlib import Path

import yaml
from jinja2 import Environment, StrictUndefined

from pinfold.audit.security.run import UNSEEN
from pinfold.card import facts as card_facts
from pinfold.card.check import PIPELINES
from pinfold.card.curve import PICTURE
from pinfold.card.facts import Facts, code_span, escape_markdown
from pinfold.card.picture import picture
from pinfold.card.snippet import main_auto_class, may_be_shown, printed, snippet
from pinfold.card.sources import Sources
from pinfold.common.errors import UserError
from pinfold.folder.contents import has_tokenizer
from pinfold.folder.human_half import HumanHalf, parse_card
from pinfold.folder.outputs import inputs_of, of_inputs, returns_states
from pinfold.folder.sentence import MODULES
from pinfold.staging.stage import Staged

BEGIN = "<!-- pinfold: generated from here; edits are lost at the next push -->"
# what a push wrote: hashes of card.md's text and of each key of the metadata, which show what people changed since
END = re.compile(r"<!-- pinfold: end, text=(\w+)(?:, keys=[\w:.,-]*)? -->")
KEYS = re.compile(r"<!-- pinfold: end, text=\w+, keys=([\w:.,-]*) -->")
# Keys that a push sets from facts: what the earlier region says where it was a push that had set them.
TRACES = {"model-index": "Measured by `pinfold train`", "base_model": "\n| Converted from |"}
PIN = re.compile(r'revision="([0-9a-f]{40})"')
# The pipelines that transformers names otherwise than the Auto class does.
TASKS = {
    "AutoModelForCausalLM": "text-generation",
    "AutoModelForMaskedLM": "fill-mask",
    "AutoModelForSequenceClassification": "text-classification",
    "AutoModelForTimeSeriesPrediction": "time-series-forecasting",
    "AutoModelForSemanticSegmentation": "image-segmentation",
    "AutoModelForSpeechSeq2Seq": "automatic-speech-recognition",
    "AutoModelForCTC": "automatic-speech-recognition",
    "AutoModelForVisualQuestionAnswering": "visual-question-answering",
}
# What a model without a head is for, by an argument of its forward; for other inputs the Hub has no word.
BASE_TASKS = {
    "edge_index": "graph-ml",
    "past_values": "time-series-forecasting",
    "pixel_values_videos": None,
    "pixel_values": "image-feature-extraction",
    "input_ids": "feature-extraction",
    "input_values": "feature-extraction",
    "input_features": "feature-extraction",
}
SENTENCES = "sentence-transformers"


def metadata(staged: Staged, human: HumanHalf, name: str, sources: Sources) -> dict:
    """Front matter: what people wrote, and what the files say of the model of this name."""
    if staged.tokenizer_only:
        tags = list(dict.fromkeys([*(human.metadata.get("tags") or []), "tokenizer"]))
        return {**human.metadata, "library_name": "transformers", "tags": tags}
    for_sentences = (staged.directory / MODULES).is_file()
    task = "sentence-similarity" if for_sentences else _task(staged)
    own = [SENTENCES, "custom_code"] if for_sentences else ["custom_code"]
    tags = list(dict.fromkeys([*(human.metadata.get("tags") or []), *own, staged.config["model_type"]]))
    computed: dict = {"pipeline_tag": task} if task in PIPELINES else {}  # the Hub refuses one that it does not know
    computed["library_name"] = SENTENCES if for_sentences else "transformers"
    if sources.conversion and sources.conversion.repo:
        computed["base_model"] = sources.conversion.repo
    if sources.evaluation:
        computed["model-index"] = sources.evaluation.model_index(name)
    return {**computed, **human.metadata, "tags": tags}


def _task(staged: Staged) -> str | None:
    """The Hub's word for what the published class does; None where it has none."""
    auto, folder, cls = main_auto_class(staged), staged.folder, staged.architecture
    inputs = inputs_of(folder, cls) if cls in folder.classes else None
    if auto != "AutoModel":
        auto = (of_inputs(auto, *inputs) if inputs else auto) or ""
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "-", auto.removeprefix("AutoModelFor")).lower()
        return TASKS.get(auto, words)
    if inputs is None:  # a class of transformers' own brings it
        bases = [base for owner in folder.lineage(cls) for base, _ in folder.bases(owner)] or [cls]
        if not any(base.endswith("Model") and base != "PreTrainedModel" for base in bases):
            return None
        return "image-feature-extraction" if "AutoImageProcessor" in staged.auto_map else "feature-extraction"
    known = [name for name in BASE_TASKS if name in inputs[0]]
    task = BASE_TASKS[known[0]] if known else None
    if task and "feature-extraction" in task and (len(known) > 1 or not returns_states(folder, cls)):
        return None  # it reads two kinds at once, or makes something else of what it reads
    return task


def render(staged: Staged, human: HumanHalf, repo: str, revision: str, facts: Facts) -> str:
    """A complete card that pins ``revision``."""
    template = Path(__file__).with_name("card_template.md").read_text(encoding="utf-8")
    sources = facts.sources
    front = metadata(staged, human, repo.split("/")[-1], sources)
    program, output = _example(staged, repo, revision, facts)
    drawn = (picture.PICTURE, picture.FALLBACK) if facts.picture else ()
    pictures = [name for name in drawn if (staged.directory / name).is_file()]
    region = (
        _environment()
        .from_string(template)
        .render(
            name=repo.split("/")[-1],
            summary=card_facts.summary(staged, facts),
            picture=facts.picture if pictures else "",
            picture_files=pictures,
            table=card_facts.table(staged, facts, str(front["license"])),
            tokenizer_only=staged.tokenizer_only,
            has_tokenizer=has_tokenizer(staged.directory),
            program=program,
            printed=output,
            requirements=facts.requirements,
            files=card_facts.files(staged),
            code_from=staged.code_from,
            looked_for=card_facts.LOOKED_FOR,
            unseen=UNSEEN,
            curve=sources.losses,
            curve_file=PICTURE,
            evaluation=sources.evaluation,
            training=sources.training,
            conversion=sources.conversion,
            versions=facts.versions,
            heads=[(auto, names) for auto, names in facts.heads if auto in staged.auto_map],
            unaligned=facts.unaligned,
            fails_in=facts.fails_in,
            not_finite=facts.not_finite,
            limit=facts.limit,
            pipeline=facts.pipeline,
            autos=sorted(auto for auto in staged.auto_map if auto.startswith("AutoModel")),
            findings=[
                (finding.code, escape_markdown(str(finding).removeprefix(finding.code))) for finding in facts.findings
            ],
            revision=revision,
            date=facts.date,
            made_with=", ".join(f"{name} {version}" for name, version in facts.made_with.items()),
        )
    )
    # whatever a fact says, only the marks around the region are marks
    region = re.sub(r"<!--(?=\s*pinfold:)", "< !--", re.sub(r"\n{3,}", "\n\n", region))
    return _join(front, region, human.text, _mark(human.text), pushed=front)


def _example(staged: Staged, repo: str, revision: str, facts: Facts) -> tuple[str, list[str]]:
    """The program that was seen to run, and what it printed; without one, the lines that load."""
    programs, number = facts.example.get("programs", []), facts.example.get("program")
    output = facts.example.get("output")
    if type(number) is int and 0 <= number < len(programs) and isinstance(output, str) and may_be_shown(output):
        return programs[number], printed(output)
    return snippet(staged, repo, revision), []


def _environment() -> Environment:
    environment = Environment(
        undefined=StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True
    )
    number = lambda value: f"{value:.3f}" if value < 100 else f"{value:.1f}"  # noqa: E731
    environment.filters |= {"plain": escape_markdown, "code": code_span, "number": number}
    return environment


def merge(card: str, remote: str | None, human: HumanHalf) -> tuple[str, list[str]]:
    """Keep what people wrote on the Hub: their metadata keys, and the text where it was edited there.

    Returns the card and what the user should know.

    Raises:
        UserError: the licence on the Hub is another one.
    """
    if remote is None:
        return card, []
    remote = _normal(remote)
    hub_metadata, hub_body = parse_card(remote, "README.md on the Hub")
    own, body = parse_card(card, "the new card")
    hub_license = hub_metadata.get("license", own["license"])
    if hub_license not in (own["license"], [own["license"]]):
        raise UserError(f"license={own['license']} in card.md, {hub_license} on the Hub; make them agree")
    written = _written_keys(hub_body)
    edited = {key: value for key, value in hub_metadata.items() if written.get(key) != _hash(value)}
    notes = [
        f"card: {key}={edited[key]!r} was edited on the Hub and is kept; card.md says {human.metadata[key]!r}"
        for key in human.metadata
        if key not in ("tags", "license") and edited.get(key, human.metadata[key]) != human.metadata[key]
    ]
    front = _merged_metadata(own, edited, hub_metadata, human, END.split(hub_body.partition(BEGIN)[2])[0])
    before, text, mark = _parts(hub_body)
    region = generated_region(body)
    # a README that holds nothing but a license, as the Hub makes one, was not edited by a person
    if text == human.text or mark == _mark(text) or (not text and mark in (None, "foreign")):
        return _join(front, region, human.text, _mark(human.text), before, pushed=own), notes
    notes.append("card: the text was edited on the Hub and is kept; the text of card.md is not used")
    # the old mark stays, so that the next push sees an edited text again
    return _join(front, region, text, mark or "foreign", before, pushed=own), notes


def _merged_metadata(own: dict, edited: dict, hub_metadata: dict, human: HumanHalf, earlier: str) -> dict:
    """The new card's keys, and those that people wrote on the Hub.

    Args:
        edited: what the Hub has and no push wrote. earlier: the generated region that the Hub has.
    """
    stays = {key: value for key, value in edited.items() if key in human.metadata or key not in own}
    for key, trace in TRACES.items():
        if trace in earlier and key not in human.metadata:
            stays.pop(key, None)  # set by an earlier push, of other weights than these
    hub_tags = hub_metadata.get("tags")
    tags = [tag for tag in hub_tags if isinstance(tag, str)] if isinstance(hub_tags, list) else []
    tags = list(dict.fromkeys([*tags, *own["tags"]]))
    return {**own, **stays, "license": own["license"], "tags": tags}


def pinned(card: str) -> set[str]:
    """The commits that the generated region pins; a person's own snippets do not count."""
    begin = card.find(BEGIN)
    end = END.search(card, begin) if begin >= 0 else None
    lines = card[begin : end.start()].splitlines() if end else []
    return {sha for line in lines if not line.startswith("#") for sha in PIN.findall(line)}


def verified_in(card: str) -> list[str]:
    """The releases that the generated region names."""
    row = re.search(r"^\| Same numbers in \| transformers ([\d., ]+) \|$", card, re.MULTILINE)
    return [release.strip() for release in row[1].split(",")] if row else []


def human_part(card: str) -> tuple[dict, str, str]:
    """Everything but the generated region: what "nothing changed" compares."""
    front, body = parse_card(_normal(card), "README.md")
    before, text, _ = _parts(body)
    return front, before, text


def _normal(card: str) -> str:
    """Without a byte order mark, and with the line ends that cards have here."""
    return card.removeprefix("\ufeff").replace("\r\n", "\n")


def _parts(body: str) -> tuple[str, str, str | None]:
    """Text above the generated region, text below it, and the mark of the text that was last pushed."""
    begin = body.find(BEGIN)
    end = END.search(body, begin) if begin >= 0 else None
    if end is None:
        return "", _unmarked(body), None
    return _unmarked(body[:begin]), _unmarked(body[end.end() :]), end[1]


def _unmarked(text: str) -> str:
    """Text without regions that were copied, and without marks that have lost their counterpart."""
    whole = re.compile(f"{re.escape(BEGIN)}.*?{END.pattern}", re.DOTALL)
    return END.sub("", whole.sub("", text)).replace(BEGIN, "").strip()


def generated_region(body: str) -> str:
    """The region that a push writes."""
    end = END.search(body)
    assert end, "a rendered card has both marks"
    return body[body.index(BEGIN) + len(BEGIN) : end.start()].strip("\n")


def _written_keys(body: str) -> dict[str, str]:
    """Key -> the hash of its value that the last push wrote; empty for a card of an older pinfold."""
    mark = KEYS.search(body)
    pairs = [pair.split(":") for pair in mark[1].split(",")] if mark else []
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _hash(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:8]


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _join(front: dict, region: str, text: str, mark: str, before: str = "", pushed: dict | None = None) -> str:
    """The whole card.

    Args:
        pushed: the metadata as this push has them, without what people wrote on the Hub.
    """
    plain = {key: value for key, value in (pushed or {}).items() if re.fullmatch(r"[\w.-]+", str(key))}
    keys = ",".join(f"{key}:{_hash(value)}" for key, value in plain.items())
    head = yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=1000)
    above = f"{before}\n\n" if before else ""
    end = f"<!-- pinfold: end, text={mark}, keys={keys} -->" if keys else f"<!-- pinfold: end, text={mark} -->"
    return f"---\n{head}---\n{above}{BEGIN}\n{region.rstrip()}\n\n{end}\n\n{text}".rstrip() + "\n"
