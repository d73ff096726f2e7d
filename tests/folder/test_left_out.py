"""What a search for code does not look into, or cannot, is said; only an environment of this machine is left out."""

import json
import os
from pathlib import Path

import pytest

from pinfold.audit.examine import examine
from pinfold.audit.finding import ERROR, WARNING, errors
from pinfold.folder.filenames import GENERATE
from pinfold.folder.loaded_code import MAX_CODE_FILES, FilesOnDisk, find_loaded_code

ACT = "import os\nos.system('id')\n"


def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def environment(place, program="bin/python", packages="lib/python3.11/site-packages"):
    write(place / "pyvenv.cfg", "home = /usr/bin\n")
    write(place / program)
    (place / program).chmod(0o755)
    write(place / packages / "other.py", ACT)


def acts(folder):
    return {(f.code, f.file, f.severity) for f in examine(folder, "it").findings if f.code in ("S02", "S15")}


def facts(folder):
    return "\n".join(examine(folder, "it").facts)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "it" / "config.json", json.dumps({"model_type": "llama"}))
    return tmp_path / "it"


@pytest.mark.parametrize("beside", ["pyvenv.cfg", "pyvenv.cfg bin/python", "pyvenv.cfg lib/python3/site-packages/a"])
@pytest.mark.parametrize("place", ["custom_generate", "deep/er"])
def test_a_file_that_environments_have_too_hides_no_code(folder, place, beside):
    for name in beside.split():
        write(folder / place / name)
    write(folder / place / "generate.py", ACT)
    severity = ERROR if place == "custom_generate" else WARNING
    assert ("S02", f"{place}/generate.py", severity) in acts(folder)
    assert "no Python code" not in facts(folder)


def test_the_place_of_a_generate_function_is_read_even_where_it_is_an_environment(folder):
    environment(folder / "custom_generate")
    write(folder / GENERATE, "from .lib.python3.helper import x\n")
    write(folder / "custom_generate/lib/python3/helper.py", ACT)
    assert ("S02", "custom_generate/lib/python3/helper.py", ERROR) in acts(folder)


@pytest.mark.parametrize(
    ("program", "packages"),
    [
        ("bin/python", "lib/python3.11/site-packages"),
        ("bin/python", "lib/python3.14/site-packages"),
        ("Scripts/python.exe", "Lib/site-packages"),
    ],
)
def test_an_environment_is_left_out_and_the_report_says_so(folder, program, packages):
    environment(folder / ".venv", program, packages)
    write(folder / ".git/hooks/a.py", ACT)
    assert acts(folder) == set()
    assert "left out, as environments that no push uploads: .venv" in facts(folder)
    assert FilesOnDisk(folder).paths == ["config.json"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", '{"auto_map": {"AutoModel": "apart/lib/python3/code.A"}}'),
        ("modeling_a.py", "from .apart.lib.python3 import code\n"),
        (GENERATE, "from ..apart.lib.python3.code import x\n"),
    ],
)
def test_an_environment_into_which_a_load_leads_is_read(folder, name, content):
    write(folder / name, content)
    if name == "modeling_a.py":
        write(folder / "config.json", '{"auto_map": {"AutoModel": "modeling_a.A"}}')
    environment(folder / "apart")
    write(folder / "apart/lib/python3/code.py", ACT)
    assert ("S02", "apart/lib/python3/code.py", ERROR) in acts(folder)
    assert "left out" not in facts(folder)


@pytest.mark.parametrize(
    ("link", "target", "path", "reason"),
    [
        ("custom_generate", "../elsewhere", "custom_generate", "links out of the folder"),
        (GENERATE, "../../elsewhere/generate.py", GENERATE, "links out of the folder"),
        ("custom_generate", ".", "custom_generate", "a link to a folder that it lies in"),
        ("part/config.json", "../../elsewhere/config.json", "part/config.json", "links out of the folder"),
        (GENERATE, "generate.py", GENERATE, "links out of the folder"),  # in a circle
    ],
)
def test_a_link_that_a_load_follows_and_the_audit_does_not_is_an_error(folder, link, target, path, reason):
    for place in (folder / "real", folder.parent / "elsewhere"):
        write(place / "generate.py", ACT)
        write(place / "config.json", "{}")
    (folder / link).parent.mkdir(exist_ok=True)
    (folder / link).symlink_to(target)
    assert ("S15", path, ERROR) in acts(folder)
    assert reason in next(f.sentence for f in errors(examine(folder, "it").findings) if f.code == "S15")
    assert ("S02", "real/generate.py", ERROR) in acts(folder), "what is behind the link may load this file"
    assert "no Python code" not in facts(folder)
    assert "or remove the link." in str(examine(folder, "it").findings)


def test_a_link_to_an_environment_is_left_out_as_the_environment_is(folder):
    environment(folder / ".venv")
    (folder / "env").symlink_to(".venv")
    assert acts(folder) == set()
    assert ".venv, env" in facts(folder)


def links_as_in_a_log(folder):
    write(folder / "logs/run-1/output.log", "x")
    (folder / "logs/latest-run").symlink_to("run-1")


LEFT_ALONE = {
    "a link to a folder of logs": links_as_in_a_log,
    "settings of another program": lambda folder: write(folder / "demo/tsconfig.json", "{ // comment\n}"),
    "an empty file": lambda folder: write(folder / "empty_config.json"),
    "lines of JSON": lambda folder: write(folder / "log_config.json", '{"a": 1}\n{"a": 2}\n'),
    "a byte order mark": lambda folder: write(folder / "train_config.json", '\ufeff{"a": 1}'),
    "the same in a settings file": lambda folder: write(folder / "part/tokenizer_config.json", '\ufeff{"a": 1}'),
}


@pytest.mark.parametrize("shape", LEFT_ALONE)
def test_what_no_load_reads_raises_nothing_else(folder, shape):
    write(folder / "tool.py", ACT)
    LEFT_ALONE[shape](folder)
    assert acts(folder) == {("S02", "tool.py", WARNING)}


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "config.4.50.0.json", "x/adapter_config.json", "modules.json", "model_index.json"),
        *("preprocessor_config.json", "scheduler/scheduler_config.json", "sentence_bert_config.json"),
        *("generation_config.json", "open_clip_config.json", "modular_config.json"),
    ],
)
def test_settings_that_a_library_looks_for_have_to_be_readable(folder, name):
    write(folder / "tool.py", ACT)
    write(folder / "other" / name, "{ // comment\n}")
    assert acts(folder) == {("S15", f"other/{name}", ERROR), ("S02", "tool.py", ERROR)}
    assert "without comments, or remove it." in str(examine(folder, "it").findings)


def test_a_link_to_a_folder_inside_is_followed(folder):
    write(folder / "real/generate.py", "from .helper import x\n")
    write(folder / "real/helper.py", ACT)
    (folder / "custom_generate").symlink_to("real")
    assert ("S02", "custom_generate/helper.py", ERROR) in acts(folder)
    assert ("S02", "real/helper.py", WARNING) in acts(folder)


def test_settings_behind_a_link_are_read(folder):
    write(folder / "a/b/real/config.json", json.dumps({"auto_map": {"AutoModel": "code.A"}}))
    write(folder / "a/b/real/code.py", ACT)
    (folder / "part").symlink_to("a/b/real")
    assert ("S02", "part/code.py", ERROR) in acts(folder)


@pytest.mark.parametrize("count", [3, 40])
def test_links_cannot_make_a_folder_endless(folder, count):
    for number in range(count):
        write(folder / f"d{number}/a.py")
        for name in "xy":
            (folder / f"d{number}" / name).symlink_to(f"../d{(number + 1) % count}")
    files = FilesOnDisk(folder)
    assert len(files.paths) < 100 and files.unread


def test_links_of_a_cache_and_inside_the_folder_are_followed(tmp_path):
    blobs, snapshot = tmp_path / "models--a--b/blobs", tmp_path / "models--a--b/snapshots" / ("0" * 40)
    for name, text in {"config.json": "{}", GENERATE: ACT}.items():
        write(blobs / name.replace("/", "-"), text)
        (snapshot / name).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / name).symlink_to(os.path.relpath(blobs / name.replace("/", "-"), (snapshot / name).parent))
    assert acts(snapshot) == {("S02", GENERATE, ERROR)}
    write(tmp_path / "plain/real.py", ACT)
    write(tmp_path / "plain/custom_generate/other.py")
    (tmp_path / "plain" / GENERATE).symlink_to("../real.py")
    assert {file for _, file, severity in acts(tmp_path / "plain") if severity == ERROR} == {GENERATE}


@pytest.mark.parametrize("size", [1_000_001, 1_500_000, 5_000_000])
def test_a_file_in_a_folder_that_is_too_large_is_not_read_in_part(folder, size):
    write(folder / GENERATE, "from .large import x\n")
    write(folder / "custom_generate/large.py", "x = 1\n" + "#" * size + "\n" + ACT)
    assert acts(folder) == {("S15", "custom_generate/large.py", ERROR)}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("custom_generate/part.py", "x = (\n"),
        ("other/config.json", "{"),
        ("other/tokenizer_config.json", "[" * 100_000),
    ],
)
def test_what_cannot_be_read_is_an_error_and_lowers_nothing_else(folder, path, text):
    write(folder / GENERATE, "from .part import x\n")
    write(folder / "other/tool.py", ACT)
    write(folder / "custom_generate/part.py", "x = 1\n")
    assert acts(folder) == {("S02", "other/tool.py", WARNING)}
    write(folder / path, text)
    assert acts(folder) == {("S15", path, ERROR), ("S02", "other/tool.py", ERROR)}
    assert "a load may run these too: other/tool.py" in facts(folder)


@pytest.mark.parametrize("more", [0, 1, 40])
def test_more_files_than_are_followed_are_an_error_and_the_rest_is_not_said_to_be_unreached(folder, more):
    names = [f"part{number}" for number in range(MAX_CODE_FILES - 1 + more)]
    write(folder / GENERATE, "".join(f"from .{name} import x\n" for name in names))
    for name in names:
        write(folder / f"custom_generate/{name}.py", "x = 1\n")
    write(folder / f"custom_generate/{names[-1]}.py", ACT)
    expected = {("S02", f"custom_generate/{names[-1]}.py", ERROR)}
    assert acts(folder) == expected | ({("S15", "", ERROR)} if more else set())
    assert not any("No load reaches" in f.sentence for f in examine(folder, "it").findings)


def test_a_large_settings_file_is_looked_into(folder):
    write(folder / "part/tokenizer_config.json", json.dumps({"x": "y" * 2_000_000, "auto_map": {"A": ["code.A"]}}))
    write(folder / "part/code.py", ACT)
    assert ("S02", "part/code.py", ERROR) in acts(folder)
    runs = find_loaded_code(FilesOnDisk(Path(folder)))
    assert runs.files == () and "part/tokenizer_config.json" in dict(runs.unread)
