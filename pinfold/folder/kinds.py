"""What transformers takes a class for, by the classes that it derives from and by its name."""

import re

# The roots of what transformers loads as remote code, and what their bases are called in its releases.
KINDS = {
    "config": {"PretrainedConfig", "PreTrainedConfig"},
    "model": {"PreTrainedModel"},
    "image_processor": {"BaseImageProcessor", "BaseImageProcessorFast", "ImageProcessingMixin"},
    "video_processor": {"BaseVideoProcessor"},
    "feature_extractor": {"SequenceFeatureExtractor", "FeatureExtractionMixin"},
    "tokenizer": {"PreTrainedTokenizer", "PreTrainedTokenizerFast", "PreTrainedTokenizerBase"},
    "processor": {"ProcessorMixin"},
}
DEFAULT_AUTO = {
    "config": "AutoConfig",
    "model": "AutoModel",
    "image_processor": "AutoImageProcessor",
    "video_processor": "AutoVideoProcessor",
    "feature_extractor": "AutoFeatureExtractor",
    "tokenizer": "AutoTokenizer",
    "processor": "AutoProcessor",
}
# Heads whose Auto class has the name of the class's own ending (transformers.models.auto.modeling_auto).
HEADS = (  # noqa: SIM905
    "AudioClassification AudioFrameClassification AudioXVector CausalLM CTC DepthEstimation "
    "DocumentQuestionAnswering ImageClassification ImageSegmentation ImageTextToText ImageToImage "
    "InstanceSegmentation KeypointDetection MaskedImageModeling MaskedLM MaskGeneration MultipleChoice "
    "NextSentencePrediction ObjectDetection PreTraining QuestionAnswering SemanticSegmentation Seq2SeqLM "
    "SequenceClassification SpeechSeq2Seq TableQuestionAnswering TextToSpectrogram TextToWaveform "
    "TimeSeriesPrediction TokenClassification UniversalSegmentation VideoClassification VisualQuestionAnswering "
    "ZeroShotImageClassification ZeroShotObjectDetection"
).split()
# What classes of transformers' own models end in, for folders that derive from them.
STOCK = {
    "PreTrainedModel": "model",
    "Model": "model",
    "Config": "config",
    "Tokenizer": "tokenizer",
    "TokenizerFast": "tokenizer",
    "ImageProcessor": "image_processor",
    "ImageProcessorFast": "image_processor",
    "FeatureExtractor": "feature_extractor",
    "VideoProcessor": "video_processor",
    "Processor": "processor",
}
# Classes of transformers that end so and are something else: what generate changes scores with, settings of generate
# and of quantisation, what reads a data set, and the Auto classes, which only make objects of other classes.
# tests/folder/test_kinds.py holds every class of the installed release against the module that defines it.
OTHERS = re.compile(
    r"^Auto|LogitsProcessor$|^DataCollator|DataProcessor$|Squad\w*Processor$|ClassificationProcessor$|^BayesianDetector"
    r"|(?:Generation|Compile|Batching|Watermarking|Sampler|Distributed|Decision|Kernel|Quantization|Quant|FP8|Fp8)Config$"
    r"|^(?:Aqlm|Awq|BitsAndBytes|CompressedTensors|Eetq|FourOverSix|GPTQ|Gguf|Higgs|Hqq|Metal|Mxfp4|NVFP4|Quanto|Quark"
    r"|Sinq|SpQR|TorchAo|Vptq|VptqLayer)Config$"
)


# T5ForConditionalGeneration, whose Auto class has another name; PermuteForRope is a layer.
HEAD = re.compile(r"For(?!Rope$)[A-Z][A-Za-z0-9]*(?<!Output)$")


def head(cls: str) -> str | None:
    """The Auto class that a head's name asks for: ``XForMaskedLM`` -> ``AutoModelForMaskedLM``."""
    endings = [ending for ending in HEADS if cls.endswith(f"For{ending}")]
    return f"AutoModelFor{max(endings, key=len)}" if endings else None


def stock_kind(base: str, place: str) -> str | None:
    """What a class of transformers' own models is, going by the end of its name."""
    if place.split(".")[0] != "transformers" or OTHERS.search(base):
        return None
    if HEAD.search(base):
        return "model"
    endings = [ending for ending in STOCK if base.endswith(ending) and base != ending]
    return STOCK[max(endings, key=len)] if endings else None
