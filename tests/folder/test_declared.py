"""What the settings of a repository declare, and the order in which declared, registered and named entries count."""

import json

import pytest

from pinfold.audit.rules.settings import missing_entries
from pinfold.audit.run import audit
from pinfold.folder.data_files import vocabulary_files
from pinfold.folder.declared import declared_entries, declared_pipelines, is_declared, settings_file
from pinfold.folder.loaded_code import FilesOnDisk, find_loaded_code
from pinfold.folder.model_folder import read_modules

CONFIGURATION = """
from transformers import PretrainedConfig


class PartConfig(PretrainedConfig):
    model_type = "part-tiny"

    def __init__(self, width=8, **kwargs):
        super().__init__(**kwargs)
        self.width = width


class WholeConfig(PretrainedConfig):
    model_type = "whole-tiny"
    sub_configs = {"part_config": PartConfig}

    def __init__(self, part_config=None, **kwargs):
        self.part_config = PartConfig(**part_config) if isinstance(part_config, dict) else part_config or PartConfig()
        super().__init__(**kwargs)
"""
MODELING = """
from torch import nn
from transformers import PreTrainedModel

from .configuration_whole import PartConfig, WholeConfig


class Part(PreTrainedModel):
    config_class = PartConfig
    base_model_prefix = "part"

    def __init__(self, config):
        super().__init__(config)
        self.line = nn.Linear(config.width, config.width)
        self.post_init()

    def forward(self, inputs_embeds):
        return self.line(inputs_embeds)


class WholeForCausalLM(PreTrainedModel):
    config_class = WholeConfig
    base_model_prefix = "whole"

    def __init__(self, config):
        super().__init__(config)
        self.part = Part(config.part_config)
        self.post_init()

    def forward(self, input_ids):
        return self.part(input_ids)
"""
WHOLE = "modeling_whole.WholeForCausalLM"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "configuration_whole.py").write_text(CONFIGURATION)
    (tmp_path / "modeling_whole.py").write_text(MODELING)
    return tmp_path


def write(folder, name, content):
    (folder / name).write_text(json.dumps(content) if isinstance(content, dict) else content)


def test_a_part_with_a_configuration_of_its_own_is_not_offered(folder):
    """The whole, its head and its configuration are; the part is loaded with them."""
    read = read_modules(folder)
    assert read.auto_map() == {"AutoConfig": "configuration_whole.WholeConfig", "AutoModelForCausalLM": WHOLE}
    write(folder, "config.json", {"model_type": "whole-tiny", "architectures": ["WholeForCausalLM"]})
    codes = {f.code for f in audit(folder, read) if "Part" in f.sentence}
    assert not codes & {"P01", "P16"}


@pytest.mark.parametrize(
    "config",
    [
        "        self.part_config = PartConfig(width=4)\n        super().__init__(**kwargs)\n",
        "        parts = [PartConfig]\n        super().__init__(**kwargs)\n",
        "        super().__init__(**kwargs)\n        self.part_config = (part_config or PartConfig().to_dict())\n",
    ],
)
def test_a_part_is_one_by_whatever_way_the_whole_builds_its_configuration(folder, config):
    text = CONFIGURATION.split("    sub_configs")[0] + "    def __init__(self, part_config=None, **kwargs):\n" + config
    write(folder, "configuration_whole.py", text)
    assert read_modules(folder).auto_map()["AutoConfig"] == "configuration_whole.WholeConfig"
    assert "AutoModel" not in read_modules(folder).auto_map()


def test_a_part_that_is_registered_is_still_a_part(folder):
    more = (
        'Part.register_for_auto_class("AutoModel")\nWholeForCausalLM.register_for_auto_class("AutoModelForCausalLM")\n'
    )
    write(folder, "modeling_whole.py", MODELING + "\n\n" + more)
    write(folder, "configuration_whole.py", CONFIGURATION + "\n\nPartConfig.register_for_auto_class()\n")
    assert read_modules(folder).auto_map() == {
        "AutoConfig": "configuration_whole.WholeConfig",
        "AutoModelForCausalLM": WHOLE,
    }


def test_two_configurations_that_share_a_base_are_not_parts_of_each_other(folder):
    text = CONFIGURATION.replace("class WholeConfig(PretrainedConfig)", "class WholeConfig(PartConfig)")
    write(folder, "configuration_whole.py", text)
    assert "AutoModel" in read_modules(folder).auto_map()


def test_what_config_json_declares_comes_first_and_register_lines_fill_the_rest(folder):
    other = MODELING.replace("class WholeForCausalLM", "class WholeForMaskedLM").split("class WholeForMaskedLM")[1]
    more = 'WholeForMaskedLM.register_for_auto_class("AutoModelForMaskedLM")\n'
    more += 'WholeForMaskedLM.register_for_auto_class("AutoModelForCausalLM")\n'
    write(folder, "modeling_whole.py", f"{MODELING}\n\nclass WholeForMaskedLM{other}\n\n{more}")
    write(folder, "config.json", {"auto_map": {"AutoModelForCausalLM": WHOLE, "AutoModel": "gone.Gone"}})
    auto_map = read_modules(folder).auto_map()
    assert auto_map["AutoModelForCausalLM"] == WHOLE  # declared, against the register line
    assert auto_map["AutoModelForMaskedLM"] == "modeling_whole.WholeForMaskedLM"
    assert "AutoModel" not in auto_map  # what is not here decides nothing


def test_entries_of_another_repository_count_by_the_class_that_is_here(folder):
    write(folder, "config.json", {"auto_map": {"AutoModelForCausalLM": f"someone/else--{WHOLE}"}})
    assert read_modules(folder).auto_map()["AutoModelForCausalLM"] == WHOLE


def test_the_configuration_of_the_whole_is_the_one_that_config_json_names(folder):
    write(folder, "config.json", {"auto_map": {"AutoConfig": "configuration_whole.PartConfig"}})
    assert read_modules(folder).auto_map()["AutoConfig"] == "configuration_whole.PartConfig"


def test_tables_are_read_where_each_auto_class_looks(tmp_path):
    write(tmp_path, "config.json", {"auto_map": {"AutoConfig": "c.C"}, "part": {"auto_map": {"AutoModel": "p.P"}}})
    write(tmp_path, "tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["t.Slow", "t.Fast"]}})
    part = {"auto_map": {"AutoFeatureExtractor": "f.F", "AutoModel": "f.No"}}
    write(tmp_path, "processor_config.json", {"auto_map": {"AutoProcessor": "p.P"}, "feature_extractor": part})
    assert declared_entries(tmp_path) == {
        "AutoConfig": "c.C",
        "AutoTokenizer": "t.Fast",
        "AutoProcessor": "p.P",
        "AutoFeatureExtractor": "f.F",
    }


@pytest.mark.parametrize("text", ["", "[]", "{", '{"auto_map": 5}', '{"auto_map": {"AutoModel": "../x.Y"}}', "\xff"])
def test_settings_that_cannot_be_read_declare_nothing(tmp_path, text):
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    assert declared_entries(tmp_path) == {} and declared_pipelines(tmp_path) == {}


def test_a_missing_entry_is_named_in_the_file_where_its_auto_class_looks(folder):
    extractor = (
        "from transformers import SequenceFeatureExtractor\n\n\nclass Ear(SequenceFeatureExtractor):\n    pass\n"
    )
    write(folder, "feature_extraction_ear.py", extractor)
    entries = {"AutoConfig": "configuration_whole.WholeConfig", "AutoModelForCausalLM": WHOLE}
    config = {"auto_map": entries}
    for configs, file, words in (
        ({"config.json": config}, "config.json", 'Add "AutoFeatureExtractor"'),
        ({"config.json": config, "preprocessor_config.json": {}}, "preprocessor_config.json", "call Ear.register_for"),
        (
            {"config.json": config, "processor_config.json": {"feature_extractor": {}}},
            "processor_config.json",
            'processor_config.json: feature_extractor: auto_map has no "AutoFeatureExtractor"',
        ),
    ):
        (finding,) = missing_entries(configs, read_modules(folder), None)
        assert finding.file == file and words in finding.sentence, finding
    nested = {"feature_extractor": {"auto_map": {"AutoFeatureExtractor": "feature_extraction_ear.Ear"}}}
    assert (
        list(missing_entries({"config.json": config, "processor_config.json": nested}, read_modules(folder), None))
        == []
    )
    assert is_declared({"processor_config.json": nested}, "AutoFeatureExtractor")
    assert settings_file({"processor_config.json": {"image_processor": {}}}, "AutoImageProcessor") == (
        "processor_config.json",
        "image_processor",
    )


def test_a_processor_that_4_does_not_find_is_named(folder):
    write(folder, "config.json", {"auto_map": {"AutoModelForCausalLM": WHOLE}})
    write(folder, "processor_config.json", {"image_processor": {"size": 3}, "processor_class": "X"})
    (finding,) = [f for f in audit(folder, read_modules(folder)) if f.code == "P27"]
    assert "Move image_processor out of it into preprocessor_config.json" in str(finding)
    configuration = folder / "configuration_whole.py"
    configuration.write_text(configuration.read_text() + '\n\nMIN_TRANSFORMERS = "5.0"\n')
    assert [f for f in audit(folder, read_modules(folder)) if f.code == "P27"] == []


TOKENIZER = """
from transformers import {base}

{top}

class Units({base}):
    {line}
"""


@pytest.mark.parametrize(
    ("base", "top", "line", "files"),
    [
        ("PreTrainedTokenizer", "", 'vocab_files_names = {"units_file": "units.txt"}', ["units.txt"]),
        (
            "PreTrainedTokenizer",
            'FILES = {"a": "a.txt", "b": "b.json"}',
            "vocab_files_names = FILES",
            ["a.txt", "b.json"],
        ),
        ("PreTrainedTokenizer", 'NAME = "n.model"', 'vocab_files_names: dict = {"n": NAME}', ["n.model"]),
        ("PreTrainedTokenizer", "from .names import FILES", "vocab_files_names = FILES", ["there.txt"]),
        ("BertTokenizer", "", "x = 1", ["vocab.txt", "tokenizer.json"]),
        ("PreTrainedTokenizer", "", "x = 1", []),
        ("PreTrainedTokenizer", "", 'vocab_files_names = {"a": "../a.txt", "b": ".hidden", "c": 3}', []),
        ("NoSuchTokenizer", "", "x = 1", []),
    ],
)
def test_a_tokenizer_names_its_files(tmp_path, base, top, line, files):
    write(tmp_path, "tokenization_units.py", TOKENIZER.format(base=base, top=top, line=line))
    write(tmp_path, "names.py", 'FILES = {"t": "there.txt"}\n')
    found = vocabulary_files(read_modules(tmp_path), "Units")
    assert set(found) <= set(files) and bool(found) == bool(files)


def test_files_on_disk_are_followed_as_those_of_a_hub_are(folder):
    write(folder, "config.json", {"auto_map": {"AutoModelForCausalLM": WHOLE}})
    (folder / "custom_generate").mkdir()
    write(folder, "custom_generate/generate.py", "from .helper import pick\n")
    write(folder, "custom_generate/helper.py", "pick = max\n")
    write(folder, "unused.py", "x = 1\n")
    (folder / "link.py").symlink_to("/etc/hostname")
    files = FilesOnDisk(folder)
    assert "link.py" not in files
    runs = find_loaded_code(files)
    assert set(runs.files) == {
        "modeling_whole.py",
        "configuration_whole.py",
        "custom_generate/generate.py",
        "custom_generate/helper.py",
    }
    assert "unused.py" in find_loaded_code(FilesOnDisk(folder), ["unused.X"]).files


def test_code_in_custom_generate_is_read_by_the_security_rules(folder):
    write(folder, "config.json", {"auto_map": {"AutoModelForCausalLM": WHOLE}})
    (folder / "custom_generate").mkdir()
    write(folder, "custom_generate/generate.py", "import os\n\nfrom .helper import run\n\nrun(os)\n")
    write(folder, "custom_generate/helper.py", "def run(module):\n    module.system('true')\n")
    findings = [f for f in audit(folder, read_modules(folder)) if f.code.startswith("S") and f.severity == "error"]
    assert findings and {f.file.split("/")[0] for f in findings} == {"custom_generate"}
    assert all("custom_generate/" in f.sentence for f in findings)
