"""What a push says of a class that pipelines do not find, or that an adapter of peft cannot call."""

from types import SimpleNamespace

import peft
import pytest
import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from pinfold.folder.model_folder import read_modules
from pinfold.push.hints import OF_PEFT, TASK_TYPES, hints

NET = """
from transformers import PreTrainedModel


class Net(PreTrainedModel):
{sets}
    def forward(self, {takes}):
        return {returns}(logits=x)
"""


def lines(path, auto, takes, returns="x", sets="", **more):
    (path / "modeling_net.py").write_text(NET.format(takes=takes, returns=returns, sets=sets))
    place = {"auto_map": {auto: "modeling_net.Net"}, "architecture": "Net", "folder": read_modules(path)}
    return list(hints(SimpleNamespace(**{**place, "tokenizer_only": False, "code_from": None, **more})))


@pytest.mark.parametrize(
    ("auto", "takes", "words"),
    [
        (
            "AutoModelForCausalLM",
            "input_ids, labels=None",
            "task_type=CAUSAL_LM passes inputs_embeds=None, output_att",
        ),
        (
            "AutoModelForSequenceClassification",
            "input_ids, return_dict=None",
            "output_hidden_states=None to Net.forwa",
        ),
        (
            "AutoModelForTokenClassification",
            "input_ids, inputs_embeds=None",
            "passes output_attentions=None, output_h",
        ),
        ("AutoModelForCausalLM", "input_ids, labels=None", "take **kwargs there (and set accepts_loss_kwargs = False"),
        ("AutoModelForCausalLM", "input_ids, **kwargs", None),
        ("AutoModelForCausalLM", f"input_ids, {', '.join(f'{name}=None' for name in OF_PEFT)}", None),
        ("AutoModelForTokenClassification", "word_ids, char_ids", None),  # peft passes input_ids by name
        ("AutoModelForImageClassification", "pixel_values", None),  # peft has no task type for it
    ],
)
def test_a_forward_that_peft_cannot_call_is_said(tmp_path, auto, takes, words):
    found = lines(tmp_path, auto, takes)
    assert len(found) == (words is not None) and all(words in line for line in found)


def test_a_class_that_says_it_takes_no_loss_arguments_is_not_asked_to(tmp_path):
    (line,) = lines(tmp_path, "AutoModelForCausalLM", "input_ids", sets="    accepts_loss_kwargs = False\n")
    assert line.endswith("to Net.forward: take **kwargs there")


@pytest.mark.parametrize("task", TASK_TYPES.values())
def test_peft_passes_what_the_hint_names(task):
    class Config(PretrainedConfig):
        model_type = "hint-tiny"

    class Records(PreTrainedModel):
        config_class = Config

        def __init__(self, config):
            super().__init__(config)
            self.layer, self.seen = nn.Linear(2, 2), set()
            self.post_init()

        def prepare_inputs_for_generation(self, *args, **kwargs):
            return kwargs

        def forward(self, input_ids, **kwargs):
            self.seen |= kwargs.keys()
            return (self.layer(torch.zeros(1, 2)),)

    model = Records(Config())
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type=task, target_modules=["layer"]))
    adapted(input_ids=torch.ones(1, 3, dtype=torch.long))
    assert set(OF_PEFT) <= model.seen


@pytest.mark.parametrize(
    ("takes", "returns", "auto"),
    [
        ("pixel_values", "ImageClassifierOutput", "AutoModelForImageClassification"),
        ("points, labels=None", "ImageClassifierOutput", None),
        ("input_ids, **kwargs", "TokenClassifierOutput", "AutoModelForTokenClassification"),
        ("word_ids, char_ids", "TokenClassifierOutput", None),
    ],
)
def test_pipelines_are_named_for_a_class_that_they_could_run(tmp_path, takes, returns, auto):
    found = lines(tmp_path, "AutoModel", takes, returns)
    assert len(found) == (auto is not None)
    assert all(f'Net.register_for_auto_class("{auto}")' in line for line in found)
    assert not lines(tmp_path, "AutoModel", takes, returns, code_from="me/code@1")
    assert not lines(tmp_path, "AutoModel", takes, returns, tokenizer_only=True)


@pytest.mark.parametrize("cured", [False, True])
def test_the_cure_of_embeddings_lets_tokens_be_added(cured):
    class Config(PretrainedConfig):
        model_type = "embeddings-tiny"
        vocab_size = 4

    class Words(PreTrainedModel):
        config_class = Config

        def __init__(self, config):
            super().__init__(config)
            self.wte = nn.Embedding(4, 2)
            self.post_init()

        def get_input_embeddings(self):
            return self.wte

        if cured:

            def set_input_embeddings(self, value):
                self.wte = value

    model = Words(Config())
    if cured:
        model.resize_token_embeddings(9, mean_resizing=False)
        assert model.wte.num_embeddings == 9
    else:
        with pytest.raises(NotImplementedError):
            model.resize_token_embeddings(9, mean_resizing=False)
