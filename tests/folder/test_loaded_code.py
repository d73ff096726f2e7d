"""All ways in which settings name code are found by the one function that push, check and the Hub ask."""

import json

import pytest

from pinfold.audit.examine import examine
from pinfold.folder.loaded_code import FilesOnDisk, find_loaded_code

CODE = "import os\n\n\nclass Part:\n    pass\n"
MODULES = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
# what names it -> (settings, files of code, those that a load runs, other repositories, base of an adapter)
SHAPES = {
    "a module of sentence-transformers": (
        {"modules.json": [*MODULES, {"idx": 1, "name": "1", "path": "1_Part", "type": "own_part.Part"}]},
        ["own_part.py", "unused.py"],
        ["own_part.py"],
    ),
    "a module in a folder of its own": (
        {"modules.json": [{"idx": 0, "name": "0", "path": "0_Part", "type": "parts.own_part.Part"}]},
        ["parts.py", "unused.py"],
        ["parts.py"],
    ),
    "a module of another repository": (
        {"modules.json": [{"idx": 0, "name": "0", "path": "", "type": "other/place--own_part.Part"}]},
        ["own_part.py"],
        [],
        ["other/place"],
    ),
    "the library's own modules": ({"modules.json": MODULES}, ["models.py", "sentence_transformers.py"], []),
    "a router of modules": (
        {"modules.json": MODULES, "router_config.json": {"types": {"query_0": "own_part.Part"}, "structure": {}}},
        ["own_part.py"],
        ["own_part.py"],
    ),
    "a router in a folder": (
        {"0_Router/router_config.json": {"types": {"query_0": "own_part.Part"}}},
        ["own_part.py", "0_Router/own_part.py"],
        ["own_part.py", "0_Router/own_part.py"],
    ),
    "an adapter": (
        {"adapter_config.json": {"peft_type": "LORA", "base_model_name_or_path": "someone/base"}},
        ["unused.py"],
        [],
        [],
        "someone/base",
    ),
    "an adapter that names code": (
        {"adapter_config.json": {"base_model_name_or_path": "someone/base", "auto_map": {"AutoModel": "own.Part"}}},
        ["own.py"],
        ["own.py"],
        [],
        "someone/base",
    ),
    "an adapter without a base": ({"adapter_config.json": {"base_model_name_or_path": None}}, ["own.py"], []),
    "a pipeline": (
        {"config.json": {"custom_pipelines": {"pair": {"impl": "pair_pipeline.Pair", "pt": ["AutoModel"]}}}},
        ["pair_pipeline.py", "unused.py"],
        ["pair_pipeline.py"],
    ),
    "two pipelines, one of them elsewhere": (
        {"config.json": {"custom_pipelines": {"a": {"impl": "pair.Pair"}, "b": {"impl": "other/place--pair.Pair"}}}},
        ["pair.py"],
        ["pair.py"],
        ["other/place"],
    ),
    "a pipeline without code": ({"config.json": {"custom_pipelines": {"a": {"pt": ["AutoModel"]}}}}, ["pair.py"], []),
    "generate": ({"config.json": {}}, ["custom_generate/generate.py"], ["custom_generate/generate.py"]),
    "another file of that folder": ({"config.json": {}}, ["custom_generate/other.py"], []),
    "generate in another folder": ({"config.json": {}}, ["inner/custom_generate/generate.py"], []),
    "a part of a processor": (
        {"processor_config.json": {"image_processor": {"auto_map": {"AutoImageProcessor": "images.Part"}}}},
        ["images.py", "unused.py"],
        ["images.py"],
    ),
    "a part of a part of a processor": (
        {"processor_config.json": {"video_processor": {"frames": {"auto_map": {"AutoVideoProcessor": "video.Part"}}}}},
        ["video.py"],
        ["video.py"],
    ),
    "parts in a list": (
        {"processor_config.json": {"parts": [{"auto_map": {"AutoFeatureExtractor": "sound.Part"}}, "AutoTokenizer"]}},
        ["sound.py"],
        ["sound.py"],
    ),
    "the older files of processors": (
        {
            "preprocessor_config.json": {
                "auto_map": {"AutoImageProcessor": "images.Part", "AutoProcessor": "all.Part"}
            },
            "video_preprocessor_config.json": {"auto_map": {"AutoVideoProcessor": "video.Part"}},
        },
        ["images.py", "all.py", "video.py", "unused.py"],
        ["images.py", "all.py", "video.py"],
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_what_settings_name_is_found(shape, tmp_path):
    settings, files, runs, foreign, base = (*SHAPES[shape], *([], "")[len(SHAPES[shape]) - 3 :])
    write(tmp_path, {**{name: json.dumps(value) for name, value in settings.items()}, **dict.fromkeys(files, CODE)})
    code = find_loaded_code(FilesOnDisk(tmp_path))
    assert (set(code.files), list(code.foreign), code.base) == (set(runs), foreign, base)
    assert set(code.others) == set(files) - set(runs)


@pytest.mark.parametrize(
    "shape",
    ["a module of sentence-transformers", "a pipeline", "generate", "a part of a processor", "a router of modules"],
)
def test_what_is_found_is_read_by_the_audit(shape, tmp_path):
    settings, files, runs = SHAPES[shape][:3]
    acts = CODE.replace("    pass", "    os.system('touch mark')")
    write(tmp_path, {**{name: json.dumps(value) for name, value in settings.items()}, **dict.fromkeys(files, acts)})
    report = examine(tmp_path, shape)
    severe = {finding.file for finding in report.findings if finding.severity == "error" and finding.code[0] == "S"}
    assert {file for file in severe if file.endswith(".py")} == set(runs)
    assert any(line.startswith("runs on your machine") and runs[0] in line for line in report.facts)


def test_what_such_a_file_imports_is_found_too(tmp_path):
    write(
        tmp_path,
        {
            "custom_generate/generate.py": "from .steps import step\n\n\ndef generate(model):\n    return step\n",
            "custom_generate/steps.py": "step = 1\n",
            "steps.py": "step = 2\n",
            "config.json": "{}",
        },
    )
    code = find_loaded_code(FilesOnDisk(tmp_path))
    assert set(code.files) == {"custom_generate/generate.py", "custom_generate/steps.py"}


def write(directory, files):
    for name, text in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
