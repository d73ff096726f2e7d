"""What a class of transformers is, by the end of its name, against the module in which transformers defines it."""

import pytest
import transformers

from pinfold.folder.kinds import stock_kind
from pinfold.folder.model_folder import read_modules

MODULES = {
    "configuration_": "config",
    "modeling_": "model",
    "tokenization_": "tokenizer",
    "image_processing_": "image_processor",
    "video_processing_": "video_processor",
    "feature_extraction_": "feature_extractor",
    "processing_": "processor",
}
# The processor of a model whose own name ends in Video or Image: its name does not say which of the two it is.
AMBIGUOUS = {
    "GlmImageProcessor",
    *("InstructBlipVideoProcessor", "LlavaNextVideoProcessor", "PeAudioVideoProcessor", "PeVideoProcessor"),
    *("Sam2VideoProcessor", "Sam3VideoProcessor", "Sam3TrackerVideoProcessor", "EdgeTamVideoProcessor"),
}


def test_every_class_of_transformers_is_what_its_module_says():
    wrong = {}
    for name, module in transformers._class_to_module.items():
        last = module.split(".")[-1]
        kind = next((kind for start, kind in MODULES.items() if last.startswith(start)), None)
        judged = stock_kind(name, "transformers")
        if judged and judged != kind:
            wrong[name] = (judged, module)
    assert wrong.keys() <= AMBIGUOUS, wrong
    assert sum(stock_kind(name, "transformers") is not None for name in transformers._class_to_module) > 1_500


@pytest.mark.parametrize(
    ("base", "kind", "auto"),
    [
        ("LogitsProcessor", None, {}),
        ("MinLengthLogitsProcessor", None, {}),
        ("AutoTokenizer", None, {}),
        ("BitsAndBytesConfig", None, {}),
        ("LlavaProcessor", "processor", {"AutoProcessor"}),
        ("T5ForConditionalGeneration", "model", {"AutoModel"}),
        ("Qwen2AudioForConditionalGeneration", "model", {"AutoModel"}),
        ("LayoutLMv2ForRelationExtraction", "model", {"AutoModel"}),
        ("BaseVideoProcessor", "video_processor", {"AutoVideoProcessor"}),
        ("Qwen2VLVideoProcessor", "video_processor", {"AutoVideoProcessor"}),
    ],
)
def test_a_class_of_a_folder_is_offered_only_where_its_base_is_loaded(tmp_path, base, kind, auto):
    (tmp_path / "modeling_x.py").write_text(f"from transformers import {base}\n\n\nclass Own({base}):\n    pass\n")
    folder = read_modules(tmp_path)
    assert folder.kind("Own") == kind
