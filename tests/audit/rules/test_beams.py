"""P53: a state of the model's own, which beam search does not reorder."""

import importlib
import json

import pytest
import torch

from pinfold.audit.run import audit
from pinfold.folder.model_folder import read_modules

CONFIGURATION = """
from transformers import PretrainedConfig


class EchoConfig(PretrainedConfig):
    model_type = "echo-tiny"

    def __init__(self, vocab_size=23, width=8, num_hidden_layers=1, use_cache={use_cache}, **kwargs):
        self.vocab_size, self.width, self.num_hidden_layers, self.use_cache = (
            vocab_size, width, num_hidden_layers, use_cache
        )
        super().__init__(**kwargs)
"""
MODELING = """
from dataclasses import dataclass

import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.utils import ModelOutput

from .configuration_echo import EchoConfig


@dataclass
class EchoOutput(ModelOutput):
    logits: torch.Tensor = None
    {state}: torch.Tensor = None


class EchoForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = EchoConfig
    _is_stateful = True

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.reads = nn.GRU(config.width, config.width, batch_first=True)
        self.head = nn.Linear(config.width, config.vocab_size)
        self.post_init()

    def _init_weights(self, module):
        pass

    def prepare_inputs_for_generation(self, input_ids, {state}=None, use_cache=None, **kwargs):
{prepares}

    def _update_model_kwargs_for_generation(self, outputs, model_kwargs, **kwargs):
{hands_on}
        return model_kwargs
{more}
    def forward(self, input_ids, attention_mask=None, {state}=None, use_cache=None, return_dict=None, **kwargs):
        x, last = self.reads(self.words(input_ids), None if {state} is None else {state}.transpose(0, 1).contiguous())
        use_cache = self.config.use_cache if use_cache is None else use_cache
        return EchoOutput(logits=3 * self.head(x), {state}=last.transpose(0, 1) if use_cache else None)


EchoConfig.register_for_auto_class()
EchoForCausalLM.register_for_auto_class("AutoModelForCausalLM")
"""
CUT = """        if {state} is not None:
            input_ids = input_ids[:, -1:]
        return {{"input_ids": input_ids, "{state}": {state}, "use_cache": use_cache}}"""
CUT_IN_ONE = """        ids = input_ids if {state} is None else input_ids[:, -1].unsqueeze(-1)
        return dict(input_ids=ids, {state}={state}, use_cache=use_cache)"""
WHOLE = """        return {{"input_ids": input_ids, "use_cache": use_cache}}"""
STORED = """        model_kwargs["{state}"] = outputs.get("{state}")"""
UPDATED = """        model_kwargs.update({state}=outputs.{state})"""
GUARDED = """        if outputs.{state} is not None:
            model_kwargs = {{**model_kwargs}}
            model_kwargs["{state}"] = outputs.{state}"""
NOT_NONE = "only where it is not None"
# shape -> (the state's name, how inputs are prepared, how it is handed on, whether the cure has to say "not None")
SHAPES = {
    "a name that 5.13 knows": ("state", CUT, STORED, True),
    "a name that none knows": ("memory", CUT_IN_ONE, UPDATED, True),
    "on a condition": ("hidden", CUT, GUARDED, False),
}


def folder(tmp_path, state="state", prepares=CUT, hands_on=STORED, use_cache="True", more="", **files):
    directory = tmp_path / "echo"
    directory.mkdir()
    parts = {"prepares": prepares.format(state=state), "hands_on": hands_on.format(state=state)}
    (directory / "configuration_echo.py").write_text(CONFIGURATION.format(use_cache=use_cache))
    (directory / "modeling_echo.py").write_text(MODELING.format(state=state, more=more, **parts))
    for name, settings in files.items():
        (directory / f"{name}.json").write_text(json.dumps(settings))
    return directory


def findings(directory):
    return [f for f in audit(directory, read_modules(directory)) if f.code == "P53"]


@pytest.mark.parametrize("state, prepares, hands_on, unguarded", SHAPES.values(), ids=SHAPES)
def test_a_state_that_stays_with_another_text_is_named_with_its_cure(state, prepares, hands_on, unguarded, tmp_path):
    (found,) = findings(folder(tmp_path, state, prepares, hands_on))
    assert f"goes on from {state}," in found.sentence and found.severity == "warning"
    assert (NOT_NONE in found.fix) == unguarded and "use_cache=False" in found.fix


def test_the_cure_names_the_file_that_generate_reads(tmp_path):
    (found,) = findings(folder(tmp_path, config={"use_cache": True}))
    assert '"use_cache": false into config.json' in found.fix
    (tmp_path / "echo/generation_config.json").write_text("{}")
    (found,) = findings(tmp_path / "echo")
    assert '"use_cache": false into generation_config.json' in found.fix
    (tmp_path / "echo/generation_config.json").write_text('{"use_cache": false}')
    assert not findings(tmp_path / "echo")


HARMLESS = {
    "the whole text is read again": {"prepares": WHOLE},
    "a search of its own": {"more": "    def _beam_search(self, input_ids, **kwargs):\n        return input_ids\n"},
    "a generate of its own": {"more": "    def generate(self, input_ids, **kwargs):\n        return input_ids\n"},
    "a cache of transformers": {"state": "past_key_values"},
    "nothing is handed on": {"hands_on": "        model_kwargs.pop('state', None)"},
}


@pytest.mark.parametrize("edits", HARMLESS.values(), ids=HARMLESS)
def test_what_beams_do_not_lose_is_not_named(edits, tmp_path):
    assert not findings(folder(tmp_path, **edits))


def _best(tmp_path, monkeypatch, **generate):
    """The score of the best of four texts."""
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    for name in [name for name in importlib.sys.modules if name.split(".")[0] == "echo"]:
        monkeypatch.delitem(importlib.sys.modules, name)
    model = importlib.import_module("echo.modeling_echo").EchoForCausalLM
    torch.manual_seed(3)
    model = model(model.config_class()).eval()
    model.generation_config.update(num_beams=4, max_new_tokens=9, do_sample=False, pad_token_id=0)
    asked = {"return_dict_in_generate": True, "output_scores": True, **generate}
    return model.generate(torch.tensor([[1, 5, 9], [2, 7, 3]]), **asked).sequences_scores


def test_beams_do_write_other_text_and_the_cure_helps(tmp_path, monkeypatch):
    folder(tmp_path, "memory", CUT, STORED)
    with_state, without = (_best(tmp_path, monkeypatch, use_cache=use) for use in (True, False))
    assert not torch.allclose(with_state, without, atol=1e-3)
    (tmp_path / "cured").mkdir()
    folder(tmp_path / "cured", "state", CUT, GUARDED, use_cache="False", generation_config={"use_cache": False})
    assert torch.allclose(_best(tmp_path / "cured", monkeypatch, use_cache=False), without, atol=1e-5)
