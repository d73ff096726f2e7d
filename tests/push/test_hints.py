"""What a push says of a class that pipelines do not find, or that peft or sentence-transformers cannot call."""

from types import SimpleNamespace

import peft
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import BaseModelOutput

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


OF_SENTENCES = {
    "words alone": ("input_ids", "BaseModelOutput", True),
    "words and a mask": ("input_ids, attention_mask=None, timesteps=None", "BaseModelOutput", True),
    "takes it": ("input_ids, return_dict=None", "BaseModelOutput", False),
    "takes all": ("input_ids, **kwargs", "BaseModelOutput", False),
    "of pictures": ("pixel_values", "BaseModelOutput", False),
    "no states": ("input_ids", "Scores", False),
}


@pytest.mark.parametrize("takes, returns, said", OF_SENTENCES.values(), ids=OF_SENTENCES)
def test_an_encoder_that_sentence_transformers_cannot_call_is_said(tmp_path, takes, returns, said):
    found = [line for line in lines(tmp_path, "AutoModel", takes, returns) if "SentenceTransformer" in line]
    assert found == ["SentenceTransformer passes return_dict=True to Net.forward: take return_dict=None there"] * said


@pytest.mark.parametrize("cured", [False, True])
def test_sentence_transformers_pass_what_the_hint_names(tmp_path, cured):
    sentences = pytest.importorskip("sentence_transformers")

    class Config(PretrainedConfig):
        model_type = f"sentence-tiny-{cured}"
        hidden_size = 2

    class Words(PreTrainedModel):
        config_class = Config

        def __init__(self, config):
            super().__init__(config)
            self.words = nn.Embedding(4, 2)
            self.post_init()

        def plain(self, input_ids, attention_mask=None):
            return BaseModelOutput(last_hidden_state=self.words(input_ids))

        def with_flag(self, input_ids, attention_mask=None, return_dict=None):
            return self.plain(input_ids)

        forward = with_flag if cured else plain

    AutoConfig.register(Config.model_type, Config)
    AutoModel.register(Config, Words)
    Words(Config()).save_pretrained(tmp_path)
    words = Tokenizer(models.WordLevel({"a": 0, "b": 1, "c": 2, "[PAD]": 3}, unk_token="a"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]").save_pretrained(tmp_path)
    model = sentences.SentenceTransformer(str(tmp_path), device="cpu")
    if cured:
        assert model.encode(["a b", "c"]).shape == (2, 2)
    else:
        with pytest.raises(TypeError, match="return_dict"):
            model.encode(["a b"])


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
