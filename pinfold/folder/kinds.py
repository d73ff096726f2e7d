"""What transformers takes a class for, by the classes that it derives from and by its name."""

# The roots of what transformers loads as remote code, and what their bases are called in its releases.
KINDS = {
    "config": {"PretrainedConfig", "PreTrainedConfig"},
    "model": {"PreTrainedModel"},
    "image_processor": {"BaseImageProcessor", "BaseImageProcessorFast", "ImageProcessingMixin"},
    "feature_extractor": {"SequenceFeatureExtractor", "FeatureExtractionMixin"},
    "tokenizer": {"PreTrainedTokenizer", "PreTrainedTokenizerFast", "PreTrainedTokenizerBase"},
    "processor": {"ProcessorMixin"},
}
DEFAULT_AUTO = {
    "config": "AutoConfig",
    "model": "AutoModel",
    "image_processor": "AutoImageProcessor",
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
    "Processor": "processor",
}


def head(cls: str) -> str | None:
    """The Auto class that a head's name asks for: ``XForMaskedLM`` -> ``AutoModelForMaskedLM``."""
    endings = [ending for ending in HEADS if cls.endswith(f"For{ending}")]
    return f"AutoModelFor{max(endings, key=len)}" if endings else None


def stock_kind(base: str, place: str) -> str | None:
    """What a class of transformers' own models is, going by the end of its name."""
    if place.split(".")[0] != "transformers":
        return None
    if head(base):
        return "model"
    return next((kind for ending, kind in STOCK.items() if base.endswith(ending) and base != ending), None)
