"""The pipeline that a card's task promises: what is missing for it, and whether it runs."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from pinfold.card import snippet
from pinfold.card.pipelines import NEEDS, Registry, promised, read_registry
from pinfold.fenced.card import pipelines
from pinfold.folder.model_folder import read_modules

HEARS = '''"""A speech model, for tests."""

import torch
from torch import nn
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput, ImageClassifierOutput, Seq2SeqLMOutput


class ReelConfig(PretrainedConfig):
    model_type = "reel"
    num_frames = 4


class SensesConfig(PretrainedConfig):
    model_type = "senses"
    num_hidden_layers = 1  # for generate's cache


class Hears(PreTrainedModel, GenerationMixin):
    config_class = SensesConfig
    main_input_name = "input_values"

    def __init__(self, config):
        super().__init__(config)
        self.layer = nn.Linear(1, 8)
        self.post_init()

    def forward(self, input_values=None, attention_mask=None, decoder_input_ids=None, **kwargs):
        return Seq2SeqLMOutput(logits=self.layer(input_values[..., None]))


class Spells(Hears):
    def forward(self, input_values, attention_mask=None):
        return CausalLMOutput(logits=self.layer(input_values[:, ::400, None]))


class SpellsAlone(Spells):
    def forward(self, input_values):
        return super().forward(input_values)


class Sees(Hears):
    main_input_name = "pixel_values"

    def forward(self, pixel_values):
        return ImageClassifierOutput(logits=self.layer(pixel_values.mean((1, 2, 3))[:, None])[:, :2])


class Watches(Sees):
    config_class = ReelConfig

    def forward(self, pixel_values):
        assert pixel_values.ndim == 5, f"{pixel_values.ndim} axes"
        return super().forward(pixel_values.mean(1))


class WatchesSenses(Watches):
    config_class = SensesConfig


class Writes(Hears):
    main_input_name = "input_ids"

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(3, 3)

    def forward(self, input_ids, attention_mask=None, **kwargs):
        return CausalLMOutput(logits=self.words(input_ids))


SensesConfig.register_for_auto_class()
ReelConfig.register_for_auto_class()
Watches.register_for_auto_class("AutoModelForVideoClassification")
WatchesSenses.register_for_auto_class("AutoModelForVideoClassification")
Writes.register_for_auto_class("AutoModelForCausalLM")
Hears.register_for_auto_class("AutoModelForSpeechSeq2Seq")
Spells.register_for_auto_class("AutoModelForCTC")
SpellsAlone.register_for_auto_class("AutoModelForCTC")
Sees.register_for_auto_class("AutoModelForImageClassification")
'''


def tokenizer():
    words = Tokenizer(models.WordLevel({"[UNK]": 0, "sea": 1, "[PAD]": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", pad_token="[PAD]")


def saved(path, monkeypatch, cls, *parts):
    """A checkpoint of one of these classes, and what from_pretrained is called with."""
    monkeypatch.syspath_prepend(str(path))
    name = "modeling_senses_" + re.sub(r"\W", "_", path.name)
    (path / f"{name}.py").write_text(HEARS)
    module = __import__(name)
    kind = getattr(module, cls)
    model = kind(kind.config_class())
    for part in (model, *parts):
        part.save_pretrained(path / "saved")
    return {"pretrained_model_name_or_path": str(path / "saved"), "trust_remote_code": True}


EARS = transformers.Wav2Vec2FeatureExtractor
EYES = transformers.ViTImageProcessor
SPEECH = "automatic-speech-recognition"


@pytest.mark.parametrize(
    ("cls", "auto", "task", "words"),
    [
        ("Hears", "AutoModelForSpeechSeq2Seq", SPEECH, "the names of its own classes, and takes Hears for CTC"),
        ("Spells", "AutoModelForCTC", SPEECH, ""),
        ("SpellsAlone", "AutoModelForCTC", SPEECH, "TypeError: SpellsAlone.forward() got an unexpected keyword"),
    ],
)
def test_a_pipeline_of_sound_is_tried(tmp_path, monkeypatch, cls, auto, task, words):
    where = saved(tmp_path, monkeypatch, cls, tokenizer(), EARS())
    why = pipelines.why_not(task, auto, where)
    assert words in why and bool(why) == bool(words) and "\n" not in why


def test_a_pipeline_of_pictures_is_tried(tmp_path, monkeypatch):
    where = saved(tmp_path, monkeypatch, "Sees", EYES(size={"height": 8, "width": 8}))
    auto, task = "AutoModelForImageClassification", "image-classification"
    assert pipelines.why_not(task, auto, where) == ""
    (tmp_path / "saved" / "preprocessor_config.json").unlink()
    assert "image processor" in pipelines.why_not(task, auto, where)


FRAMES = transformers.VideoMAEImageProcessor(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})


def _no_reader(owner, names):
    raise ImportError(f"{names} are not here")


@pytest.mark.parametrize(("cls", "why"), [("Watches", ""), ("WatchesSenses", "it reads config.num_frames, which is")])
def test_what_a_pipeline_of_clips_reads_is_looked_at(tmp_path, monkeypatch, cls, why):
    monkeypatch.setattr("transformers.pipelines.video_classification.requires_backends", _no_reader)
    where = saved(tmp_path, monkeypatch, cls, FRAMES)
    said = pipelines.why_not("video-classification", "AutoModelForVideoClassification", where)
    assert said.startswith(why) and bool(said) == bool(why)


@pytest.mark.parametrize(("processor", "why"), [(FRAMES, ""), (EYES(size={"height": 8, "width": 8}), "4 axes")])
def test_a_pipeline_of_clips_is_tried(tmp_path, monkeypatch, processor, why):
    pytest.importorskip("av")
    where = saved(tmp_path, monkeypatch, "Watches", processor)
    said = pipelines.why_not("video-classification", "AutoModelForVideoClassification", where)
    assert why in said and bool(said) == bool(why)


TURNS = "{% for turn in messages %}{{ turn['content'] }} {% endfor %}"


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (None, ""),
        (TURNS, ""),
        ("{{ raise_exception('only the system speaks') }}", "words alone run, but a chat does not: "),
        ("{{ messages[0]['name'].upper() }}", "words alone run, but a chat does not: "),
    ],
)
def test_a_chat_is_tried_where_there_is_a_template(tmp_path, monkeypatch, template, why):
    words = tokenizer()
    words.chat_template = template
    said = pipelines.why_not("text-generation", "AutoModelForCausalLM", saved(tmp_path, monkeypatch, "Writes", words))
    assert said.startswith(why) and bool(said) == bool(why) and "\n" not in said


def test_a_pipeline_that_transformers_has_dropped(tmp_path):
    said = pipelines.why_not("no-such-task", "AutoModel", {"pretrained_model_name_or_path": str(tmp_path)})
    assert said == f"transformers {transformers.__version__} has no pipeline of this name"


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("text-classification", ""),
        ("fill-mask", "it loads AutoModelForMaskedLM, which is not registered"),
        ("text-generation", "it loads AutoModelForCausalLM, which is not registered"),
    ],
)
def test_a_pipeline_of_words_is_tried(tmp_path, tiny_folder, tiny_checkpoint, task, words):
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny_checkpoint, trust_remote_code=True)
    for part in (model, tokenizer()):
        part.save_pretrained(tmp_path)
    where = {"pretrained_model_name_or_path": str(tmp_path), "trust_remote_code": True}
    why = pipelines.why_not(task, "AutoModelForSequenceClassification", where)
    assert words in why and bool(why) == bool(words) and "\n" not in why


def of_files(path, auto, takes, *names, **more):
    (path / "modeling_net.py").write_text(
        f"from transformers import PreTrainedModel\n\nclass Net(PreTrainedModel):\n    def forward(self, {takes}):\n"
        "        return x\n"
    )
    for name in names:
        (path / name).write_text("{}")
    place = {"directory": path, "folder": read_modules(path), "architecture": "Net", "tokenizer_only": False}
    return SimpleNamespace(**{**place, "auto_map": {auto: "modeling_net.Net"}, **more})


@pytest.mark.parametrize(
    ("task", "takes", "files", "why"),
    [
        ("text-classification", "input_ids", ["tokenizer.json"], ""),
        ("text-classification", "input_ids", [], "tokenizer.json (a tokenizer) is missing"),
        ("text-classification", "**inputs", [], "tokenizer.json (a tokenizer) is missing"),
        ("image-classification", "pixel_values", [], "preprocessor_config.json (an image processor) is missing"),
        ("image-classification", "pixel_values", ["processor_config.json"], ""),
        ("image-classification", "points", [], "it passes pixel_values, and Net.forward takes no such argument"),
        ("video-classification", "pixel_values", ["video_preprocessor_config.json"], ""),
        ("video-classification", "pixel_values", [], "(an image processor that takes a list of frames) is missing"),
        ("question-answering", "input_ids", [], "tokenizer.json (a tokenizer) is missing"),
        (SPEECH, "input_values", ["preprocessor_config.json"], "tokenizer.json (a tokenizer) is missing"),
        (SPEECH, "input_features", [], "(a feature extractor) and tokenizer.json (a tokenizer) are missing"),
    ],
)
def test_what_is_missing_for_a_pipeline_is_named(tmp_path, task, takes, files, why):
    pipeline = promised(
        of_files(tmp_path, "AutoModelForX", takes, *files), task, {"5.0.0": Registry(frozenset(NEEDS))}
    )
    assert pipeline.task == task and bool(pipeline.why_not) == bool(why) and why in pipeline.why_not
    line = f'pipeline("{task}") does not run with it: {pipeline.why_not}; use AutoModelForX, as the card does'
    assert pipeline.line == (line if why else "")


def registries(*releases):
    return {"4.48.3": Registry(frozenset({"image-to-image", "fill-mask", "text2text-generation"}))} | {
        release: Registry(frozenset({"fill-mask", "mask-generation"}), frozenset({"image-to-image", "vqa"}))
        for release in releases
    }


@pytest.mark.parametrize("task", [None, "graph-ml", ["text-classification"], "tabular-regression"])
def test_other_tasks_promise_no_pipeline_that_could_be_tried(tmp_path, task):
    known = registries("5.24.0")
    assert promised(of_files(tmp_path, "AutoModelForX", "points"), task, known).task == ""
    alone = of_files(tmp_path, "AutoModelForX", "points", tokenizer_only=True)
    assert promised(alone, "fill-mask", known).task == ""


@pytest.mark.parametrize(
    ("task", "releases", "why"),
    [
        ("image-to-image", ("5.0.0", "5.24.0"), "transformers 5.24.0 has no pipeline of this name (4.48.3 has one)"),
        ("text2text-generation", ("5.24.0",), "transformers 5.24.0 has no pipeline of this name (4.48.3 has one)"),
        ("vqa", ("5.24.0",), "transformers 5.24.0 has no pipeline of this name"),
        ("image-to-image", (), ""),
        ("mask-generation", ("5.24.0",), ""),
    ],
)
def test_any_word_that_a_verified_release_knows_is_a_promise(tmp_path, task, releases, why):
    pipeline = promised(of_files(tmp_path, "AutoModelForX", "points"), task, registries(*releases))
    assert (pipeline.task, pipeline.auto, pipeline.why_not) == (task, "AutoModelForX", why)


def test_the_tasks_are_those_of_transformers():
    here = Path(transformers.pipelines.__file__)
    known = read_registry(here.read_text(encoding="utf-8"))
    listed = transformers.pipelines.PIPELINE_REGISTRY
    assert known.has == set(listed.supported_tasks) | set(listed.task_aliases)
    assert set(NEEDS) <= known.has | known.knew
    assert read_registry("SUPPORTED_TASKS = list_of_them()") == Registry()


EYES_OF_8 = {"height": 8, "width": 8}


@pytest.mark.parametrize(
    ("cls", "task", "why"),
    [
        ("Sees", "image-segmentation", "it loads "),
        ("Sees", "zero-shot-image-classification", "it loads "),
        ("Sees", "keypoint-matching", "it loads "),
        ("Sees", "image-to-image", "has no pipeline of this name"),
    ],
)
def test_words_of_the_registry_are_tried(tmp_path, monkeypatch, cls, task, why):
    where = saved(tmp_path, monkeypatch, cls, EYES(size=EYES_OF_8), tokenizer())
    assert why in pipelines.why_not(task, "AutoModelForImageClassification", where)


@pytest.mark.parametrize(
    ("file", "text", "shows"),
    [
        ("chat_template.jinja", TURNS, True),
        ("tokenizer_config.json", '{"chat_template": "{{ messages }}"}', True),
        ("tokenizer_config.json", '{"chat_template": null}', False),
        ("tokenizer_config.json", "[]", False),
    ],
)
@pytest.mark.parametrize("auto", ["AutoModelForCausalLM", "AutoModelForMaskedLM"])
def test_a_card_shows_a_chat_where_there_is_a_template(tmp_path, auto, file, text, shows):
    staged = of_files(tmp_path, auto, "input_ids", "tokenizer.json", code_from=None, config={})
    (tmp_path / file).write_text(text)
    first = snippet.examples(staged, "me/net", "0" * 40)[0]
    assert ("apply_chat_template" in first) == (shows and auto == "AutoModelForCausalLM")
