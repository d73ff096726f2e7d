"""Which Auto class a model's output is for."""

import pytest

from pinfold.folder.model_folder import read_modules
from pinfold.folder.outputs import auto_of_outputs


@pytest.mark.parametrize(
    ("body", "auto"),
    [
        ("return SequenceClassifierOutput(logits=x)", "AutoModelForSequenceClassification"),
        ("return modeling_outputs.CausalLMOutputWithPast(logits=x)", "AutoModelForCausalLM"),
        ("return Seq2SeqLMOutput(x) if self.training else Seq2SeqLMOutput(x)", "AutoModelForSeq2SeqLM"),
        ("return SequenceClassifierOutput(x) if x else TokenClassifierOutput(x)", None),  # two kinds: neither is said
        ("return BaseModelOutput(x)", None),
        ("return x", None),
    ],
)
def test_the_auto_class_of_an_output(tmp_path, body, auto):
    head = "from transformers import PreTrainedModel\n\nclass AModel(PreTrainedModel):\n    def forward(self, x):\n"
    (tmp_path / "modeling_a.py").write_text(f"{head}        {body}\n\n\nclass BModel(AModel):\n    pass\n")
    folder = read_modules(tmp_path)
    assert auto_of_outputs(folder, "AModel") == auto_of_outputs(folder, "BModel") == auto
