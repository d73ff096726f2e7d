"""Staging: which files go up, and what is written into them."""

import json
import os
import shutil

import pytest
import torch
from helpers import tiny
from safetensors.torch import load_file, save_file

from pinfold.common.errors import UserError
from pinfold.common.files import sha256_of_file
from pinfold.common.safetensors import read_header
from pinfold.folder.filenames import MANIFEST
from pinfold.folder.model_folder import code_digest, read_folder
from pinfold.folder.tokenizer_files import portable_tokenizer
from pinfold.staging.checkpoint import parse_size
from pinfold.staging.stage import stage


@pytest.fixture
def copies(tiny_folder, tiny_checkpoint, tmp_path):
    """A folder and a checkpoint that the test may change."""
    folder = shutil.copytree(tiny_folder, tmp_path / "tiny_model")
    return folder, shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")


def staged(folder, checkpoint, size="5GB"):
    directory = checkpoint.parent / f"staged-{len(list(checkpoint.parent.iterdir()))}"
    directory.mkdir()
    return stage(read_folder(folder), checkpoint, directory, size)


def test_auto_map_names_every_registered_class_whatever_the_checkpoint_said(copies):
    folder, checkpoint = copies
    path = checkpoint / "config.json"
    config = json.loads(path.read_text()) | {"auto_map": {"AutoModel": "someone/else--other.Thing"}}
    path.write_text(json.dumps(config))
    result = json.loads((staged(folder, checkpoint).directory / "config.json").read_text())
    assert result["auto_map"] == {
        "AutoConfig": "configuration_tiny.TinyConfig",
        "AutoModel": "modeling_tiny.TinyModel",
        "AutoModelForSequenceClassification": "modeling_tiny.TinyForSequenceClassification",
    }
    assert result["torch_dtype"] == "float32" and "dtype" not in result
    assert result["architectures"] == ["TinyForSequenceClassification"]


def test_auto_map_of_a_folder_that_registers_nothing_comes_from_its_class_names(copies):
    folder, checkpoint = copies
    for file in folder.glob("*.py"):
        file.write_text("\n".join(t for t in file.read_text().splitlines() if "register_for_auto_class" not in t))
    assert set(staged(folder, checkpoint).auto_map) == {
        "AutoConfig",
        "AutoModel",
        "AutoModelForSequenceClassification",
    }


def test_path_of_the_training_machine_is_not_published(copies):
    folder, checkpoint = copies
    path = checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"_name_or_path": "/home/somebody/secret-project"}))
    result = staged(folder, checkpoint)
    assert all(b"secret-project" not in (result.directory / name).read_bytes() for name in result.files)


def test_only_recognised_files_are_staged_and_the_rest_is_listed(copies):
    folder, checkpoint = copies
    for name in ("optimizer.pt", "training_args.bin", "trainer_state.json", "notes.txt"):
        (checkpoint / name).write_text("x")
    (checkpoint / "checkpoint-10").mkdir()
    (folder / "convert_tiny.py").write_text("print('a script')\n")
    result = staged(folder, checkpoint)
    assert result.files == [
        "config.json",
        "configuration_tiny.py",
        "layers_tiny.py",
        "model.safetensors",
        "modeling_tiny.py",
        MANIFEST,
    ]
    left = {name for name, _ in result.left_out}
    assert left == {
        "optimizer.pt",
        "training_args.bin",
        "trainer_state.json",
        "notes.txt",
        "checkpoint-10/",
        "convert_tiny.py",
    }


def test_manifest_has_the_sha256_of_every_staged_file(copies):
    result = staged(*copies)
    sums = json.loads((result.directory / MANIFEST).read_text())["files"]
    assert sums == {name: sha256_of_file(result.directory / name) for name in result.files if name != MANIFEST}


def test_staging_twice_gives_the_same_bytes(copies):
    first, second = staged(*copies), staged(*copies)
    assert first.files == second.files
    assert all((first.directory / n).read_bytes() == (second.directory / n).read_bytes() for n in first.files)


def test_digest_changes_with_any_code_file_and_not_with_its_own_line(copies):
    folder, checkpoint = copies

    def digest():
        text = (staged(folder, checkpoint).directory / "configuration_tiny.py").read_text()
        return text.split('CODE_DIGEST = "')[1].split('"')[0]

    before = digest()
    (folder / "configuration_tiny.py").write_text((folder / "configuration_tiny.py").read_text() + "# more\n")
    assert digest() != before
    before = digest()
    (folder / "layers_tiny.py").write_text((folder / "layers_tiny.py").read_text() + "# changed\n")
    assert digest() != before
    sources = {"a.py": 'CODE_DIGEST = ""\nx = 1\n'}
    assert code_digest(sources) == code_digest({"a.py": 'CODE_DIGEST = "sha256:00"\nx = 1\n'})


def test_digest_replaces_a_blank_constant_where_the_folder_has_one(copies):
    folder, checkpoint = copies
    (folder / "configuration_tiny.py").write_text('CODE_DIGEST = ""\n' + tiny.CONFIGURATION)
    text = (staged(folder, checkpoint).directory / "configuration_tiny.py").read_text()
    assert text.count("CODE_DIGEST") == 1 and text.startswith('CODE_DIGEST = "sha256:')


def test_weights_without_format_metadata_are_written_anew_with_it(copies):
    folder, checkpoint = copies
    tensors = {k: v.clone() for k, v in load_file(checkpoint / "model.safetensors").items()}
    save_file(tensors, checkpoint / "model.safetensors")
    result = staged(folder, checkpoint)
    assert read_header(result.weights[0]).metadata["format"] == "pt"
    again = load_file(result.weights[0])
    assert set(again) == set(tensors) and all(torch.equal(again[k], tensors[k]) for k in tensors)


def test_matrices_lie_aligned_in_the_file_wherever_the_format_allows(copies):
    folder, checkpoint = copies
    tensors = {"odd": torch.ones(3), "small": torch.ones(3, 3), "a": torch.ones(64, 5), "b": torch.ones(4, 4)}
    save_file(tensors, checkpoint / "model.safetensors", {"format": "pt"})
    weights = staged(folder, checkpoint).weights[0]
    header = read_header(weights)
    assert header.data_start == 8 + int.from_bytes(weights.read_bytes()[:8], "little")
    starts = {tensor.name: tensor.start for tensor in header.tensors}
    assert [(header.data_start + starts[name]) % 64 for name in ("a", "b", "small")] == [0, 0, 0]
    again = load_file(weights)
    assert set(again) == set(tensors) and all(torch.equal(again[k], tensors[k]) for k in tensors)


def test_large_weights_are_split_with_an_index(copies):
    folder, checkpoint = copies
    tensors = load_file(checkpoint / "model.safetensors")
    result = staged(folder, checkpoint, "1KB")
    assert len(result.weights) > 1 and "model.safetensors.index.json" in result.files
    merged = {k: v for path in result.weights for k, v in load_file(path).items()}
    assert all(torch.equal(merged[k], tensors[k]) for k in tensors) and set(merged) == set(tensors)


@pytest.mark.parametrize("text", ["5", "GB", "0GB", "-1GB", "five GB", "5GiB"])
def test_a_size_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="is not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda c: (c / "config.json").unlink(), "has no config.json"),
        (lambda c: (c / "config.json").write_text("{"), "not JSON"),
        (lambda c: (c / "config.json").write_text("[]"), "holds list"),
        (lambda c: (c / "model.safetensors").unlink(), "has no model.safetensors"),
        (lambda c: (c / "model.safetensors").rename(c / "pytorch_model.bin"), "is a pickle"),
        (lambda c: (c / "model.safetensors").write_bytes(b"\0" * 5), "not a whole safetensors file"),
        (
            lambda c: (c / "model.safetensors").write_bytes((c / "model.safetensors").read_bytes()[:-8]),
            "not a whole safetensors file",
        ),
        (lambda c: (c / "model.safetensors").rename(c / "checkpoint-20"), "holds only checkpoint-20; choose one"),
        (
            lambda c: index(c, {"a": "../model.safetensors"}),
            r"\.\./model.safetensors is not the name of a file beside it",
        ),
        (lambda c: index(c, {"a": "parts/1.safetensors"}), "parts/1.safetensors is not the name of a file beside it"),
        (lambda c: index(c, {"a": "gone.safetensors"}), "names gone.safetensors, which the directory does not hold"),
        (lambda c: index(c, {}), "it names no files"),
    ],
)
def test_a_checkpoint_that_cannot_be_published_is_one_line(copies, spoil, words):
    folder, checkpoint = copies
    spoil(checkpoint)
    with pytest.raises(UserError, match=words) as caught:
        staged(folder, checkpoint)
    assert "\n" not in str(caught.value)


def index(checkpoint, places):
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"model_type": None}, "model_type=None must be a name"),
        ({"model_type": "x` | <script>"}, "must be a name"),
        ({"model_type": "another"}, "model_type='another', but TinyConfig.model_type='outside-tiny'"),
        ({"architectures": [5]}, "must be a list of class names"),
        ({"architectures": "TinyModel"}, "must be a list of class names"),
        ({"architectures": ["SomebodyElsesModel"]}, "names no class of"),
    ],
)
def test_a_configuration_that_transformers_could_not_read_is_one_line(copies, keys, words):
    folder, checkpoint = copies
    path = checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))
    with pytest.raises(UserError, match=words):
        staged(folder, checkpoint)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"modeling_tiny": None}, "defines a PreTrainedModel"),
        ({"modeling_tiny": "def broken(:\n"}, "not valid Python"),
        ({"modeling_tiny": "x = '\0'\n"}, "Python"),
    ],
)
def test_a_folder_that_is_none_is_one_line(tmp_path, changes, words):
    with pytest.raises(UserError, match=words) as caught:
        read_folder(tiny.write_folder(tmp_path / "f", **changes))
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_folder(tmp_path / "nowhere")


def test_a_file_that_the_folders_code_changed_during_verification_is_not_published(copies):
    result = staged(*copies)
    result.check_unchanged()
    path = result.directory / "modeling_tiny.py"
    before = path.stat()
    path.write_text(path.read_text().replace("Mixer", "Fixer"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(UserError, match=r"changed while they were verified \(modeling_tiny.py\)"):
        result.check_unchanged()


def test_tokenizer_settings_are_written_as_transformers_4_reads_them():
    given = {"tokenizer_class": "TokenizersBackend", "backend": "tokenizers", "extra_special_tokens": ["<a>"], "x": 1}
    assert portable_tokenizer(given) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "additional_special_tokens": ["<a>"],
        "x": 1,
    }


@pytest.mark.parametrize(
    ("output", "auto"), [("MaskedLMOutput", "AutoModelForMaskedLM"), ("BaseModelOutput", "AutoModel")]
)
def test_weights_of_a_class_without_an_auto_class_are_not_published_as_another(copies, output, auto):
    folder, checkpoint = copies
    path = folder / "modeling_tiny.py"
    path.write_text(
        path.read_text()
        + f"\n\nfrom transformers.modeling_outputs import {output}\n\n\nclass TinyLM(TinyPreTrainedModel):\n"
        "    def __init__(self, config):\n        super().__init__(config)\n        self.tiny = TinyModel(config)\n\n"
        f"    def forward(self, input_ids):\n        return {output}(self.tiny(input_ids))\n"
    )
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"architectures": ["TinyLM"]}))
    with pytest.raises(UserError) as error:
        staged(folder, checkpoint)
    assert "the weights are of TinyLM" in str(error.value)
    assert str(error.value).endswith(f'end modeling_tiny.py with TinyLM.register_for_auto_class("{auto}")')
    path.write_text(path.read_text() + f'\n\nTinyLM.register_for_auto_class("{auto}")\n')
    assert staged(folder, checkpoint).architecture == "TinyLM"
