"""What a card tells: every combination of facts gives a valid one, and nothing is told that nobody knows."""

import json
import re
import shutil
from dataclasses import replace

import pytest
from helpers.tiny import write_folder
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from pinfold.audit.finding import WARNING, Finding
from pinfold.card import card, provenance, snippet
from pinfold.card import check as card_check
from pinfold.card import facts as card_facts
from pinfold.card.evaluation import Evaluation, Metric
from pinfold.card.pipelines import Pipeline
from pinfold.card.sources import Sources
from pinfold.common.files import sha256_of_file
from pinfold.fenced.card import example
from pinfold.folder import human_half
from pinfold.folder.model_folder import read_folder
from pinfold.staging.checkpoint import CodeFrom
from pinfold.staging.stage import stage, stage_tokenizer

SHA = "a" * 40
MARKDOWN = "**bold** | <script>alert(1)</script> [x](javascript:1) `code` \n# Title\n---\n![](http://x/y.png) <!-- -->"
HEBREW = "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd"
MEASURED = {
    "inputs": {"input_ids": ["int64", [1, 12]], "attention_mask": ["int64", [1, 12]]},
    "outputs": {"logits": [1, 3]},
    "flops": 4_900_000_000,
    "unknown": [],
}


@pytest.fixture(scope="module")
def staged(tiny_folder, tiny_checkpoint, tmp_path_factory):
    return stage(read_folder(tiny_folder), tiny_checkpoint, tmp_path_factory.mktemp("staged"))


@pytest.fixture(scope="module")
def only_tokenizer(tmp_path_factory):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    directory, staged = tmp_path_factory.mktemp("words"), tmp_path_factory.mktemp("staged")
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "sea": 1}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]").save_pretrained(directory)
    return stage_tokenizer(staged, directory)


def facts(**changes):
    return card.Facts(
        **{
            "parameters": 410, "requirements": '"torch" "transformers>=4.48"', "versions": ["4.48.3", "5.0.0"],
            "measured": MEASURED, "made_with": {"torch": "2.14.1"}, "date": "2026-11-25", **changes,
        }
    )  # fmt: skip


def evaluation(text="reviews", classes=()):
    metrics = [Metric("accuracy", 0.9, (0.88, 0.92), 0.81), Metric("perplexity", 1234.5)]
    return Evaluation("text-classification", text, f"texts: {text}", text, 1200, metrics, list(classes), text, text)


def training(text="reviews"):
    values = {"learning_rate": 0.1, "optim": text[:40]}
    return provenance.Training(text, [("steps", "2,372"), ("hardware", text)], values, values | {"seed": 0})


CONVERSION = provenance.Conversion(
    "timm/resnet18", "b" * 40, "apache-2.0", 0.0, "float32", "1 x 3 x 224 x 224", "timm 1"
)
FINDINGS = [Finding("S07", f"modeling_x.py:3: {MARKDOWN}", "modeling_x.py", 3, severity=WARNING, reason=MARKDOWN)]
# what a folder's process may answer, however it was made
PRINTED = {
    "programs": ["print(1)"],
    "program": 0,
    "output": "```\n</code><script>\n\u202e\x1b[31m\ud800\n" + "x" * 3000,
}
COMBINATIONS = {
    "nothing": ({}, {"measured": {}, "made_with": {}, "date": ""}, {}),
    "measured": ({}, {}, {}),
    "no FLOPs": ({}, {"measured": MEASURED | {"flops": 0}}, {}),
    "operators that are not counted": ({}, {"measured": MEASURED | {"unknown": [MARKDOWN]}}, {}),
    "sizes that are none": ({}, {"measured": MEASURED | {"inputs": {MARKDOWN: ["int64", [1]]}}}, {}),
    "shapes that are none": ({}, {"measured": MEASURED | {"outputs": {"logits": [MARKDOWN]}}}, {}),
    "evaluation": ({"evaluation": evaluation()}, {}, {}),
    "evaluation in Markdown": ({"evaluation": evaluation(MARKDOWN, [(MARKDOWN, 0.5, 0.5, 0.5, 7)])}, {}, {}),
    "training": ({"training": training()}, {}, {}),
    "training in Markdown": ({"training": training(MARKDOWN)}, {}, {}),
    "training, evaluation": ({"training": training(HEBREW), "evaluation": evaluation(HEBREW)}, {}, {}),
    "conversion": ({"conversion": CONVERSION}, {}, {}),
    "conversion of a file": (
        {"conversion": replace(CONVERSION, source=MARKDOWN, revision="", difference=None)},
        {},
        {},
    ),
    "findings": ({}, {"findings": FINDINGS}, {}),
    "an example": ({}, {"example": PRINTED}, {}),
    "an example that failed": ({}, {"example": {"programs": ["x"], "failed": {"0": MARKDOWN}}}, {}),
    "an answer that makes no sense": ({}, {"example": {"programs": ["x"], "program": 7, "output": 3}}, {}),
    "labels in Markdown": ({"labels": {0: MARKDOWN, 1: HEBREW, 2: "long " * 500}}, {}, {}),
    "one number": ({"labels": {0: "score"}}, {}, {}),
    "many parameters": ({}, {"parameters": 8_030_261_248}, {}),
    "code elsewhere": ({"code_from": CodeFrom("o/code", "c" * 40)}, {}, {}),
    "right-to-left text": ({}, {}, {"text": f"## {HEBREW}\n\n{HEBREW} \u202b{HEBREW}\u202c"}),
    "another licence": ({}, {}, {"license": "other", "license_name": "mine", "license_link": "https://e.org/l"}),
    "several languages": ({}, {}, {"language": ["en", "de"], "datasets": ["a/b"], "base_model": "o/base"}),
    "no text": ({}, {}, {"text": ""}),
    "text with code": (
        {},
        {},
        {"text": "```python\nthis is no Python {{ x }}\n```\n\n`{{ y }}` <details>z</details>"},
    ),
}


def made(staged, changes, more, human, name="tiny"):
    changes = dict(changes)
    config = dict(staged.config)
    if labels := changes.pop("labels", None):
        config["id2label"] = labels
    sources = {key: changes.pop(key) for key in ("evaluation", "training", "conversion") if key in changes}
    it = replace(staged, config=config, **changes)
    human = {"license": "mit", "text": "## Uses\n\nTests.", **human}
    half = human_half.HumanHalf({k: v for k, v in human.items() if k != "text"}, human["text"])
    return it, half, card.render(it, half, f"me/{name}", SHA, facts(sources=Sources(**sources), **more))


@pytest.mark.parametrize("combination", COMBINATIONS)
@pytest.mark.parametrize("name", ["tiny", "a" * 96])
def test_every_combination_of_facts_gives_a_valid_card(staged, combination, name):
    it, half, text = made(staged, *COMBINATIONS[combination], name=name)
    text.encode("utf-8")
    assert card_check.problems(text, card.generated_region(text), it.directory, card_facts.sums(it)) == []
    assert "\n\n\n" not in card.generated_region(text)
    tree = MarkdownIt("commonmark").enable("table").parse(text.split("\n---\n", 1)[1].split("<!-- pinfold: end")[0])
    raw = [t.content for token in tree for t in [token, *(token.children or [])] if t.type.startswith("html")]
    allowed = r"(<!--[^>]*-->|</?(details|summary|sub)>|All arguments of the training|\s)*"
    assert all(re.fullmatch(allowed, each) for each in raw), raw
    links = [t for token in tree for t in token.children or [] if t.type in ("link_open", "image")]
    assert links == [], "text of an author made a link"
    assert len([t for t in tree if t.type == "heading_open" and t.tag == "h1"]) == 1
    rows = [i for i, t in enumerate(tree) if t.type == "tr_open"]
    widths = [sum(t.type in ("th_open", "td_open") for t in tree[i : i + 30][: _end(tree[i:])]) for i in rows]
    assert set(widths) <= {2, 3, 4, 5}
    assert ModelCard(text).data.license == half.metadata["license"]
    merged, notes = card.merge(text, text, half)
    assert merged == text and notes == []


def _end(tokens):
    return next(i for i, t in enumerate(tokens) if t.type == "tr_close")


def test_a_missing_fact_leaves_no_trace_and_is_said(staged):
    it, _, text = made(staged, {}, {"measured": {"why": "RuntimeError: no"}, "example": {}, "date": ""}, {})
    for word in (
        "## Evaluation",
        "## Training",
        "FLOPs",
        "Input",
        "Converted",
        "Trained",
        "None",
        "unknown",
        "<sub>",
        "# {",
    ):
        assert word not in text, word
    wanted = ["evaluation", "training data", "sizes of a forward pass", "picture"]
    assert card_facts.missing(it, facts(measured={})) == wanted
    assert card_facts.missing(it, facts(sources=Sources(conversion=CONVERSION))) == ["evaluation", "picture"]


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (
            {"not_finite": {"float16": "output `x` is not finite, in bfloat16 it is. Compute it in bfloat16"}},
            "but output \\`x\\` is not finite, in bfloat16 it is. Compute it in bfloat16.",
        ),
        ({"limit": "going on from a returned cache <b>fails"}, "going on from a returned cache \\<b\\>fails."),
        (
            {"pipeline": Pipeline("fill-mask", "AutoModelForMaskedLM", "TypeError: f() got *x*")},
            '`pipeline("fill-mask")` does not run with it: TypeError: f() got \\*x\\*. Use the lines above.',
        ),
        ({"pipeline": Pipeline("fill-mask", "AutoModelForMaskedLM", "")}, ""),
    ],
)
def test_what_does_not_work_is_on_the_card_in_one_line(staged, more, line):
    it, _, text = made(staged, {}, more, {})
    _, _, without = made(staged, {}, {}, {})
    lines = [each for each in text.splitlines() if each not in without.splitlines()]
    assert len(lines) == bool(line) and all(line in each for each in lines)
    assert card_check.problems(text, card.generated_region(text), it.directory, card_facts.sums(it)) == []


def test_a_tokenizer_alone_is_told_as_one(only_tokenizer):
    half = human_half.HumanHalf({"license": "mit"}, "Words.")
    text = card.render(only_tokenizer, half, "me/words", SHA, facts(vocabulary=2, measured={}))
    assert (
        card_check.problems(
            text, card.generated_region(text), only_tokenizer.directory, card_facts.sums(only_tokenizer)
        )
        == []
    )
    assert "A tokenizer with 2 tokens" in text and "trust_remote_code=True" not in text and "Nothing of this" in text
    assert card_facts.missing(only_tokenizer, facts()) == []


def test_the_table_of_a_converted_model(staged):
    it, _, text = made(staged, {"conversion": CONVERSION}, {}, {})
    rows = dict(card_facts.table(it, facts(sources=Sources(conversion=CONVERSION)), "mit"))
    assert rows["Converted from"] == f"timm/resnet18 at `{'b' * 40}`"
    assert rows["FLOPs of that"] == "4.9 G (a multiply-add is 2)"
    assert rows["Input → output"] == "`input_ids` int64 (1, 12), `attention_mask` int64 (1, 12) → `logits` (1, 3)"
    assert rows["Vocabulary"] == "40 tokens" and rows["Same numbers in"] == "transformers 4.48.3, 5.0.0"
    assert "base_model: timm/resnet18\n" in text
    assert "of timm/resnet18 is 0.0 in float32, on a probe of 1 x 3 x 224 x 224 (timm 1).\n" in text


def test_files_come_with_what_they_import_python_first(staged, tmp_path):
    rows = card_facts.files(staged)
    assert [row["name"] for row in rows][:3] == ["configuration_tiny.py", "layers_tiny.py", "modeling_tiny.py"]
    assert [row["imports"] for row in rows][:3] == ["transformers", "torch", "torch, transformers"]
    elsewhere = card_facts.files(replace(staged, code_from=CodeFrom("o/code", "c" * 40)))
    assert elsewhere[0]["name"] == "o/code: configuration_tiny.py"


# Training and conversion ----------------------------------------------------------------------


def test_training_is_read_from_what_any_trainer_leaves(tmp_path):
    log = [
        {"step": 1, "loss": 2.0},
        {"step": 9, "loss": 0.5},
        {"step": 9, "eval_loss": 0.7},
        {"step": 9, "eval_loss": 0.6},
    ]
    state = {"global_step": 9, "epoch": 3.0, "log_history": [*log, {"step": 9, "train_runtime": 4000.0}]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    found = provenance.read_training(tmp_path)
    assert found.rows == [
        ("steps", "9 (3 epochs)"),
        ("training loss, first and last logged", "2.000, 0.500"),
        ("held-out loss, lowest and last", "0.700, 0.700"),
        ("wall time", "1 h 7 min"),
    ]
    assert found.data == "" and found.changed == found.arguments == {}
    assert [name for name, _ in provenance.read_training(tmp_path, drawn=True).rows] == ["steps", "wall time"]


def test_arguments_that_name_places_or_accounts_are_not_told(tmp_path):
    arguments = {
        "output_dir": "/home/me/x", "logging_dir": "x", "hub_token": "hf_x", "push_to_hub_token": "y", "run_name": "z",
        "resume_from_checkpoint": "/a", "report_to": ["wandb"], "optim": "adamw", "seed": 3, "other": "/etc/passwd",
        "bf16": False, "note": "a\nb", "lr_scheduler_kwargs": {"a": 1},
    }  # fmt: skip
    (tmp_path / "training.json").write_text(json.dumps({"arguments": arguments, "changed": arguments, "seconds": 5}))
    found = provenance.read_training(tmp_path)
    assert found.arguments == found.changed == {"optim": "adamw", "seed": 3, "bf16": False}


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"global_step": "x"}', '{"log_history": [3, {"loss": NaN}]}'])
def test_a_training_that_says_nothing_is_none(tmp_path, text):
    (tmp_path / "trainer_state.json").write_text(text)
    (tmp_path / "training.json").write_text(text)
    assert provenance.read_training(tmp_path) is None


def test_a_conversion_is_told_of_the_weights_that_it_made_only(tiny_checkpoint, tmp_path):
    directory = shutil.copytree(tiny_checkpoint, tmp_path / "x")
    weights = {path.name: sha256_of_file(path) for path in directory.glob("*.safetensors")}
    told = {"source": "o/base", "revision": "d" * 40, "max_abs_difference": 0.0, "weights": weights, "probe": [1, "x"]}
    (directory / "conversion.json").write_text(json.dumps(told))
    assert provenance.read_conversion(directory) == provenance.Conversion("o/base", "d" * 40, difference=0.0)
    (directory / "conversion.json").write_text(json.dumps(told | {"weights": {"model.safetensors": "0" * 64}}))
    assert provenance.read_conversion(directory) is None


# What was found to break a card ---------------------------------------------------------------


def test_only_the_marks_around_the_region_are_marks(staged):
    end = "<!-- pinfold: end, text=abc -->"
    values = {"optim": end}
    _, half, text = made(
        staged,
        {"training": provenance.Training(end, [("steps", end)], values, values), "evaluation": evaluation(end)},
        {"example": {"programs": ["x"], "program": 0, "output": end}},
        {},
    )
    body = human_half.parse_card(text, "card")[1]
    assert len(card.END.findall(body)) == 1 and body.count(card.BEGIN) == 1
    assert card.merge(text, text, half) == (text, [])


@pytest.mark.parametrize(
    "output", ['revision="main"', "model.from_pretrained(x)", __file__.replace("tests", "") + "/tmp/x"]
)
def test_an_output_that_speaks_of_the_machine_or_of_revisions_is_not_shown(staged, output):
    _, _, text = made(staged, {}, {"example": {"programs": ["print(1)"], "program": 0, "output": output}}, {})
    assert output not in text and "print(1)" not in text


def test_what_no_file_holds_is_said_to_be_random(staged):
    _, _, text = made(staged, {}, {"drawn": {"AutoModel": [], "AutoModelForSequenceClassification": ["a", "b"]}}, {})
    assert "random in what you load:\n\n- `AutoModelForSequenceClassification`: `a`, `b`\n\n" in text
    assert "once the tensors are copied" in made(staged, {}, {"unaligned": True}, {})[2]
    assert "random in what you load" not in made(staged, {}, {"drawn": {"AutoModel": []}}, {})[2]


@pytest.mark.parametrize("unknown", [3, {"a": 1}, None])
def test_an_answer_of_another_kind_is_no_answer(staged, unknown):
    _, _, text = made(staged, {}, {"measured": MEASURED | {"unknown": unknown}}, {})
    assert "FLOPs" not in text or unknown == {"a": 1}


def test_a_program_that_ends_the_process_is_no_example():
    assert example.run_first(["raise SystemExit", "print(2)"])["output"] == "2\n"


def test_pictures_and_papers_that_the_card_names_are_published(tiny_checkpoint, tmp_path):
    folder = write_folder(tmp_path / "tiny_model")
    text = (folder / "card.md").read_text()
    named = "![a](images/a%20b.PNG) [l](LICENSE) ![c](demo.gif) ![own](architecture.png)"
    (folder / "card.md").write_text(text + named)
    (folder / "images").mkdir()
    for name in ("images/a b.PNG", "images/other.png", "LICENSE", "NOTICE", "demo.gif", "architecture.png"):
        (folder / name).write_bytes(b"x")
    (tmp_path / "staged").mkdir()
    found = stage(read_folder(folder), tiny_checkpoint, tmp_path / "staged").files
    assert {"images/a b.PNG", "LICENSE", "demo.gif", "architecture.png"} <= set(found)
    assert not {"images/other.png", "NOTICE"} & set(found)


# The example ----------------------------------------------------------------------------------


def test_the_first_example_that_runs_is_told_with_what_it_prints():
    programs = ["import nothing_of_that_name", "print('x' * 10**6)", "print('sea', 1)\nprint()", "print(2)"]
    found = example.run_first(programs)
    assert found["program"] == 2 and found["output"] == "sea 1\n\n"
    assert found["failed"]["0"].startswith("ModuleNotFoundError") and "1000001" in found["failed"]["1"]
    assert snippet.printed(found["output"]) == ["# sea 1"]
    assert "program" not in example.run_first(["1 / 0"])


def test_what_was_printed_stays_inside_of_its_block():
    lines = snippet.printed("```\n" + "a\u202eb\x1b\ud800\n" + "\n".join(map(str, range(40))))
    assert lines[0] == "# ```" and lines[1] == "# a b" and len(lines) == 12 and lines[-1] == "# …"
    assert all(line.startswith("# ") for line in lines)
    assert snippet.printed("x" * 500)[0] == "# " + "x" * 109 + "…"


def test_examples_are_programs_that_pin(staged):
    for each in (staged, replace(staged, code_from=CodeFrom("o/code", "c" * 40))):
        programs = snippet.examples(each, "me/tiny", SHA, {"input_ids": ("int64", [1, 12])})
        for program in programs:
            compile(program, "x", "exec")
            assert program.count(f'revision="{SHA}"') == program.count("from_pretrained")
        assert "torch.ones(1, 12, dtype=torch.long)" in programs[0] and programs[-1].endswith(
            "trust_remote_code=True)"
        )


def test_an_embedder_is_shown_with_its_library(staged):
    (staged.directory / "modules.json").write_text("[]")
    program = snippet.examples(staged, "me/tiny", SHA)[0]
    assert f'SentenceTransformer("me/tiny", revision="{SHA}", trust_remote_code=True)' in program
    compile(program, "x", "exec")
    # sentence-transformers drops code_revision: it would run the code of main
    elsewhere = snippet.examples(replace(staged, code_from=CodeFrom("o/code", "c" * 40)), "me/tiny", SHA)
    assert not any("SentenceTransformer" in each for each in elsewhere)


def test_what_sentence_transformers_cannot_use_is_said_where_modules_json_is_there(staged):
    (staged.directory / "modules.json").unlink(missing_ok=True)
    without = snippet.examples(staged, "me/tiny", SHA)
    (staged.directory / "modules.json").write_text("[]")
    programs = snippet.examples(staged, "me/tiny", SHA)
    failed = {"program": 1, "failed": {"0": "FileNotFoundError: 2_W/config.json"}}
    assert snippet.why_not_for_sentences(programs, failed) == "FileNotFoundError: 2_W/config.json"
    assert snippet.why_not_for_sentences(without, failed) == ""
    not_there = {"0": "ModuleNotFoundError: No module named 'sentence_transformers'"}
    for ran in ({}, {"program": 0, "failed": {}}, {"failed": not_there}, {"failed": ["0"]}, {"failed": {"0": 3}}):
        assert snippet.why_not_for_sentences(programs, ran) == "", ran


@pytest.mark.parametrize(
    ("settings", "auto"),
    [
        ({"feature_extractor_type": "Wav2Vec2FeatureExtractor"}, "AutoFeatureExtractor"),
        ({"image_processor_type": "ViTImageProcessor"}, "AutoImageProcessor"),
        ({"image_processor_type": "ViTImageProcessor", "feature_extractor_type": "X"}, "AutoImageProcessor"),
        ({}, "AutoImageProcessor"),
    ],
)
def test_a_processor_is_loaded_by_the_class_that_its_settings_name(staged, tmp_path, settings, auto):
    directory = shutil.copytree(staged.directory, tmp_path / "staged")
    (directory / "preprocessor_config.json").write_text(json.dumps(settings))
    assert snippet.parts(replace(staged, directory=directory))["processor"] == auto


CLIP = {"pixel_values": ("float32", [2, 8, 3, 32, 32])}
HEARD = {"input_features": ("float32", [2, 80, 300]), "decoder_input_ids": ("int64", [2, 5])}
SEEN = {"pixel_values": ("float32", [2, 3, 32, 32]), "input_ids": ("int64", [2, 5])}


@pytest.mark.parametrize(
    ("files", "auto", "inputs", "lines"),
    [
        ({"preprocessor_config": {"image_processor_type": "A"}}, "AutoModelForVideoClassification", CLIP,
         ["clip = [picture] * 8", "inputs = processor([clip], ", "model.config.id2label[best]"]),
        ({"video_preprocessor_config": {}}, "AutoModel", CLIP,
         ["AutoVideoProcessor.from_pretrained(", "inputs = processor(clip, ", "outputs.items()"]),
        ({"preprocessor_config": {"feature_extractor_type": "A"}}, "AutoModelForSpeechSeq2Seq", HEARD,
         ["rate = processor.sampling_rate", "tokens = model.generate(", "print(tokens[0].tolist())"]),
        ({"processor_config": {}}, "AutoModelForSpeechSeq2Seq", HEARD,
         ["rate = processor.feature_extractor.sampling_rate", "processor(audio=tone", "processor.decode(tokens[0]"]),
        ({"processor_config": {}}, "AutoModelForImageTextToText", SEEN,
         ["text=processor.image_token + ", "tokens = model.generate(", "processor.decode(tokens[0]"]),
    ],
)  # fmt: skip
def test_an_example_hands_its_processor_what_it_takes(staged, tmp_path, files, auto, inputs, lines):
    """One of the programs has all of these lines, and the processor loaded in it is used in it."""
    directory = shutil.copytree(staged.directory, tmp_path / "staged")
    for name, settings in files.items():
        (directory / f"{name}.json").write_text(json.dumps(settings))
    place = next(place for name, place in staged.auto_map.items() if place.endswith(staged.architecture))
    auto_map = {name: each for name, each in staged.auto_map.items() if each != place} | {auto: place}
    programs = snippet.examples(replace(staged, directory=directory, auto_map=auto_map), "me/tiny", SHA, inputs)
    for program in programs:
        compile(program, "x", "exec")
    assert any(all(line in program for line in lines) for program in programs), "\n\n".join(programs)


def test_what_a_model_writes_about_a_picture_is_shown_only_where_that_was_compared(staged, tmp_path):
    directory = shutil.copytree(staged.directory, tmp_path / "staged")
    (directory / "processor_config.json").write_text("{}")
    place = next(place for name, place in staged.auto_map.items() if place.endswith(staged.architecture))
    each = replace(staged, directory=directory, auto_map={"AutoModelForImageTextToText": place})
    programs = snippet.examples(each, "me/tiny", SHA, {"input_ids": ("int64", [1, 12])})
    assert not any("generate(" in program for program in programs)


def test_the_releases_that_a_card_names_are_read_again(staged):
    human = human_half.HumanHalf({"license": "mit"}, "Text.")
    for versions in ([], ["5.24.0"], ["4.48.3", "4.57.6", "5.24.0"]):
        assert card.verified_in(card.render(staged, human, "me/x", SHA, facts(versions=versions))) == versions


@pytest.mark.parametrize("combination", ["nothing", "findings", "code elsewhere"])
def test_what_the_audit_looked_for_and_found_has_a_line_each(staged, combination):
    _, _, text = made(staged, *COMBINATIONS[combination])
    section = text.split("**Audit.**")[1].split("**Verified.**")[0]
    lines = [line for line in section.splitlines() if line.startswith("- ")]
    found = FINDINGS if combination == "findings" else []
    assert lines[: len(card_facts.LOOKED_FOR)] == [f"- {what}" for what in card_facts.LOOKED_FOR]
    assert [line.split(":")[0] for line in lines[len(card_facts.LOOKED_FOR) :]] == [f"- {f.code}" for f in found]
    assert max(map(len, section.splitlines()), default=0) < 200 or found
    tree = MarkdownIt("commonmark").parse(section)
    assert sum(token.type == "list_item_open" for token in tree) == len(lines)
    assert "| License | mit |" in text and "Licence" not in text
