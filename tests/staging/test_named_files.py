"""Files that a folder's classes and settings name: they go up with the model, or the push says what fails without."""

import json

import pytest
from helpers import tiny

from pinfold.audit.run import audit
from pinfold.common.errors import UserError
from pinfold.folder.model_folder import read_folder
from pinfold.staging.stage import stage

TOKENIZER = """
from transformers import PreTrainedTokenizer


class TinyTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"units_file": "FILE"}

    def __init__(self, units_file, **kwargs):
        super().__init__(**kwargs)


TinyTokenizer.register_for_auto_class("AutoTokenizer")
"""
PIPELINE = """
from transformers import Pipeline


class TinyPipeline(Pipeline):
    def _sanitize_parameters(self, **kwargs):
        return {}, {}, {}
"""


@pytest.fixture
def push(tmp_path, tiny_checkpoint):
    """A folder and a checkpoint of the test's own, and staging of them."""
    import shutil

    folder = tiny.write_folder(tmp_path / "tiny_model")
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")

    def staged():
        directory = tmp_path / f"staged-{len(list(tmp_path.iterdir()))}"
        directory.mkdir()
        return stage(read_folder(folder), checkpoint, directory)

    return folder, checkpoint, staged


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content) if isinstance(content, dict) else content)


def test_the_vocabulary_of_a_tokenizer_goes_with_it(push):
    folder, checkpoint, staged = push
    write(folder / "tokenization_tiny.py", TOKENIZER.replace("FILE", "units.tsv"))
    write(checkpoint / "units.tsv", "a\tb\n")
    write(checkpoint / "other.tsv", "x\n")
    write(checkpoint / "tokenizer_config.json", {"tokenizer_class": "TinyTokenizer"})
    result = staged()
    assert (result.directory / "units.tsv").read_text() == "a\tb\n"
    assert "other.tsv" in dict(result.left_out) and "units.tsv" not in dict(result.left_out)
    settings = json.loads((result.directory / "tokenizer_config.json").read_text())
    assert settings["auto_map"] == {"AutoTokenizer": ["tokenization_tiny.TinyTokenizer", None]}


@pytest.mark.parametrize(
    ("saved", "takes", "names"),
    [
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, "input_ids", ["input_ids", "attention_mask"]),
        ({"tokenizer_class": "PreTrainedTokenizerFast"}, "input_ids, token_type_ids=None", None),
        ({"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["a"]}, "input_ids", ["a"]),
        ({"tokenizer_class": "TinyTokenizer"}, "input_ids", None),
    ],
)
def test_a_tokenizer_gives_in_every_release_what_the_model_takes(push, saved, takes, names):
    """transformers 4 adds token_type_ids to a PreTrainedTokenizerFast that does not say its inputs, 5 does not."""
    folder, checkpoint, staged = push
    source, begins = (folder / "modeling_tiny.py").read_text(), "def forward(self, input_ids"
    assert begins in source
    (folder / "modeling_tiny.py").write_text(source.replace(begins, f"def forward(self, {takes}"))
    write(folder / "tokenization_tiny.py", TOKENIZER.replace("FILE", "units.tsv"))
    write(checkpoint / "tokenizer_config.json", saved)
    settings = json.loads((staged().directory / "tokenizer_config.json").read_text())
    assert settings.get("model_input_names") == names


def test_a_vocabulary_that_is_a_pickle_stops_with_what_would_fail(push):
    folder, checkpoint, staged = push
    write(folder / "tokenization_tiny.py", TOKENIZER.replace("FILE", "units.pkl"))
    write(checkpoint / "units.pkl", "x")
    with pytest.raises(UserError, match=r"units\.pkl, which is not published as data, and AutoTokenizer would fail"):
        staged()


def test_the_code_of_a_pipeline_goes_with_it_and_is_part_of_the_digest(push):
    folder, checkpoint, staged = push
    write(folder / "pipeline_tiny.py", PIPELINE)
    config = json.loads((checkpoint / "config.json").read_text())
    config["custom_pipelines"] = {"tiny-task": {"impl": "pipeline_tiny.TinyPipeline", "pt": ["AutoModel"]}}
    write(checkpoint / "config.json", config)
    first = staged()
    assert "pipeline_tiny.py" in first.code and "pipeline_tiny.py" not in dict(first.left_out)
    write(folder / "pipeline_tiny.py", PIPELINE + "\nMORE = 1\n")
    second = staged()
    digests = [(each.directory / "configuration_tiny.py").read_text() for each in (first, second)]
    assert digests[0] != digests[1]
    config["custom_pipelines"]["tiny-task"]["impl"] = "pipeline_gone.Gone"
    write(checkpoint / "config.json", config)
    with pytest.raises(UserError, match=r"custom_pipelines names pipeline_gone\.Gone for tiny-task, which is not in"):
        staged()


@pytest.mark.parametrize("place", [0, 1])
def test_custom_generate_goes_up_with_what_it_imports_and_nothing_else(push, place):
    *places, staged = push
    directory = places[place] / "custom_generate"
    write(
        directory / "generate.py",
        "from .helper import pick\n\n\ndef generate(model, input_ids, **kwargs):\n    pass\n",
    )
    write(directory / "helper.py", "pick = max\n")
    write(directory / "notes.py", "x = 1\n")
    write(directory / "requirements.txt", "torch\n")
    result = staged()
    names = {name for name in result.files if name.startswith("custom_generate/")}
    assert names == {f"custom_generate/{name}" for name in ("generate.py", "helper.py", "requirements.txt")}


def test_a_processor_saved_into_one_file_is_split_for_4_and_left_for_a_folder_of_5(push):
    folder, checkpoint, staged = push
    extractor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": 8000}
    write(checkpoint / "processor_config.json", {"processor_class": "P", "feature_extractor": extractor})
    directory = staged().directory
    assert json.loads((directory / "preprocessor_config.json").read_text()) == extractor
    assert json.loads((directory / "processor_config.json").read_text()) == {"processor_class": "P"}
    configuration = folder / "configuration_tiny.py"
    configuration.write_text(configuration.read_text() + '\n\nMIN_TRANSFORMERS = "5.0"\n')
    directory = staged().directory
    assert not (directory / "preprocessor_config.json").exists()
    assert json.loads((directory / "processor_config.json").read_text())["feature_extractor"] == extractor


def test_files_that_were_read_are_not_said_to_be_left_out(push):
    folder, checkpoint, _ = push
    for path in checkpoint.iterdir():
        if path.suffix != ".py":
            (folder / path.name).write_bytes(path.read_bytes())
    directory = folder.parent / "staged-itself"
    directory.mkdir()
    assert dict(stage(read_folder(folder), folder, directory).left_out) == {}


def write_modules(directory, *kinds):
    entries = [{"idx": n, "name": str(n), "path": f"{n}_M" * (n > 0), "type": kind} for n, kind in enumerate(kinds)]
    (directory / "modules.json").write_text(json.dumps(entries))
    for entry in entries:
        (directory / entry["path"]).mkdir(exist_ok=True)


def test_a_module_of_sentence_transformers_that_the_folder_has_goes_up_with_what_it_imports(push):
    folder, checkpoint, staged = push
    text = "from sentence_transformers.models import Module\n\nfrom .turns import turn\n\n\n"
    (folder / "whiten.py").write_text(text + "class Whiten(Module):\n    pass\n")
    (folder / "turns.py").write_text("def turn(x):\n    return x\n")
    (folder / "unrelated.py").write_text("x = 1\n")
    write_modules(checkpoint, "sentence_transformers.models.Transformer", "whiten.Whiten")
    made = staged()
    assert {"whiten.py", "turns.py"} <= set(made.code) and {"whiten.py", "turns.py"} <= set(made.files)
    assert "unrelated.py" not in made.files
    assert [f.code for f in audit(made.directory, read_folder(made.directory)) if f.code in ("S14", "P08")] == []
    assert {m.file for m in read_folder(made.directory).loaded_modules()} == set(made.code)


def test_a_router_names_classes_of_the_folder_too(push):
    folder, checkpoint, staged = push
    (folder / "whiten.py").write_text("class Whiten:\n    pass\n")
    write_modules(checkpoint, "sentence_transformers.models.Transformer", "sentence_transformers.models.Router")
    types = {"query": "whiten.Whiten", "document": "sentence_transformers.models.Dense"}
    (checkpoint / "1_M" / "router_config.json").write_text(json.dumps({"types": types}))
    assert "whiten.py" in staged().code


@pytest.mark.parametrize("kind", ["other.Whiten", "package.whiten.Whiten", "owner/name--whiten.Whiten"])
def test_a_module_that_the_folder_does_not_have_is_refused_by_the_audit(push, kind):
    folder, checkpoint, staged = push
    (folder / "whiten.py").write_text("class Whiten:\n    pass\n")
    write_modules(checkpoint, "sentence_transformers.models.Transformer", kind)
    made = staged()
    sentences = [f.sentence for f in audit(made.directory, read_folder(made.directory)) if f.code == "S14"]
    assert [words for words in sentences if "[1].type" in words and "file.Class of a .py file beside" in words]
