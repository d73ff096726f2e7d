"""Which Auto class a model's output is for."""

import pytest

from pinfold.folder.model_folder import read_modules
from pinfold.folder.outputs import auto_of_outputs, auto_of_pipelines, returns_states


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
        ("pixel_values", "return ImageClassifierOutput(logits=x)", "AutoModelForImageClassification"),
        ("points, labels", "return ImageClassifierOutput(logits=x)", None),  # the pipeline passes pixel_values
        ("images", "return SemanticSegmenterOutput(logits=x)", None),
        ("latents, **kwargs", "return DepthEstimatorOutput(predicted_depth=x)", None),
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
    ("takes", "output", "auto"),
    [
        ("input_ids, labels", "SequenceClassifierOutput", "AutoModelForSequenceClassification"),
        ("**inputs", "SequenceClassifierOutput", "AutoModelForSequenceClassification"),
        ("points, **kwargs", "TokenClassifierOutput", None),  # points would be missing
        ("word_ids, char_ids", "CausalLMOutputWithPast", None),
        ("inputs_embeds, labels", "MaskedLMOutput", None),
        ("pixel_values, labels", "ImageClassifierOutput", "AutoModelForImageClassification"),
        ("points, labels", "ImageClassifierOutput", None),
        ("input_features", "Seq2SeqLMOutput", "AutoModelForSpeechSeq2Seq"),
        ("waves", "CausalLMOutput", None),
    ],
)
def test_pipelines_are_named_where_forward_takes_what_they_pass(tmp_path, takes, output, auto):
    head = "from transformers import PreTrainedModel\n\nclass AModel(PreTrainedModel):\n"
    (tmp_path / "modeling_a.py").write_text(
        f"{head}    def forward(self, {takes}):\n        return {output}(logits=x)\n"
    )
    assert auto_of_pipelines(read_modules(tmp_path), "AModel") == auto


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
