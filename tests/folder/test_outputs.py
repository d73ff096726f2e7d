"""Which Auto class a model's output is for."""

import pytest

from pinfold.folder.model_folder import read_modules
from pinfold.folder.outputs import auto_of_outputs, returns_states


@pytest.mark.parametrize(
    ("takes", "body", "auto"),
    [
        ("input_ids", "return SequenceClassifierOutput(logits=x)", "AutoModelForSequenceClassification"),
        ("**inputs", "return SequenceClassifierOutput(logits=x)", "AutoModelForSequenceClassification"),
        ("features", "return SequenceClassifierOutput(logits=x)", None),  # a table: no pipeline takes it
        ("input_ids_chosen", "return SequenceClassifierOutput(logits=x)", None),
        ("input_features", "return SequenceClassifierOutput(logits=x)", "AutoModelForAudioClassification"),
        ("pixel_values, labels", "return SequenceClassifierOutput(logits=x)", "AutoModelForImageClassification"),
        ("points, **kwargs", "return TokenClassifierOutput(logits=x)", "AutoModelForTokenClassification"),
        ("input_values", "return TokenClassifierOutput(logits=x)", None),
        ("x", "return modeling_outputs.CausalLMOutputWithPast(logits=x)", "AutoModelForCausalLM"),
        ("input_ids, pixel_values", "return CausalLMOutputWithPast(logits=x)", "AutoModelForImageTextToText"),
        ("pixel_values, labels", "return Seq2SeqLMOutput(logits=x)", "AutoModelForImageTextToText"),
        ("input_features", "return Seq2SeqLMOutput(logits=x)", "AutoModelForSpeechSeq2Seq"),
        ("input_values", "return CausalLMOutput(logits=x)", "AutoModelForCTC"),
        ("input_ids", "return CausalLMOutput(logits=x)", "AutoModelForCausalLM"),
        ("frames", "return CausalLMOutput(logits=x)", None),
        ("x", "return Seq2SeqLMOutput(x) if self.training else Seq2SeqLMOutput(x)", "AutoModelForSeq2SeqLM"),
        ("x", "return SequenceClassifierOutput(x) if x else TokenClassifierOutput(x)", None),  # two: neither is said
        ("x", "return BaseModelOutput(x)", None),
        ("x", "return x", None),
    ],
)
def test_the_auto_class_of_an_output(tmp_path, takes, body, auto):
    head = "from transformers import PreTrainedModel\n\nclass AModel(PreTrainedModel):\n"
    head += f"    def forward(self, {takes}):\n"
    (tmp_path / "modeling_a.py").write_text(f"{head}        {body}\n\n\nclass BModel(AModel):\n    pass\n")
    folder = read_modules(tmp_path)
    assert auto_of_outputs(folder, "AModel") == auto_of_outputs(folder, "BModel") == auto


@pytest.mark.parametrize(
    ("body", "states"),
    [
        ("return BaseModelOutputWithPooling(x, x)", True),
        ("return {'last_hidden_state': x}", True),
        ("return Own(x)", True),
        ("return dict(last_hidden_state=x)", True),
        ("return {'noise': x}", False),
        ("return Other(x)", False),
        ("return x", False),
    ],
)
def test_an_encoder_is_known_by_what_it_returns(tmp_path, body, states):
    outputs = "class Own(ModelOutput):\n    last_hidden_state: T = None\n\n\n"
    outputs += "class Other(ModelOutput):\n    boxes: T = None\n"
    head = f"from transformers import PreTrainedModel\n\n\n{outputs}\n\nclass AModel(PreTrainedModel):\n"
    (tmp_path / "modeling_a.py").write_text(f"{head}    def forward(self, x):\n        {body}\n")
    assert returns_states(read_modules(tmp_path), "AModel") is states
