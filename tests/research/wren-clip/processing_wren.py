"""Processor of WrenCLIP."""
from transformers.processing_utils import ProcessorMixin
from transformers.tokenization_utils_base import BatchEncoding


class WrenCLIPProcessor(ProcessorMixin):
    attributes = ["image_processor", "tokenizer"]
    image_processor_class = "CLIPImageProcessor"
    tokenizer_class = ("XLMRobertaTokenizer", "XLMRobertaTokenizerFast")

    def __init__(self, image_processor=None, tokenizer=None, **kwargs):
        if "feature_extractor" in kwargs:
            image_processor = image_processor or kwargs.pop("feature_extractor")
        if image_processor is None:
            raise ValueError("You need to specify an `image_processor`.")
        if tokenizer is None:
            raise ValueError("You need to specify a `tokenizer`.")
        super().__init__(image_processor, tokenizer)
        self.prompts = {"de": "ein Bild von {}", "en": "a picture of {}", "fr": "une image de {}"}

    def __call__(self, text=None, images=None, return_tensors=None, **kwargs):
        if text is None and images is None:
            raise ValueError("You have to specify either text or images. Both cannot be none.")
        encoding, features = None, None
        if text is not None:
            encoding = self.tokenizer(text, return_tensors=return_tensors, **kwargs)
        if images is not None:
            features = self.image_processor(images, return_tensors=return_tensors)
        if encoding is not None and features is not None:
            encoding["pixel_values"] = features.pixel_values
            return encoding
        if encoding is not None:
            return encoding
        return BatchEncoding(data=dict(**features), tensor_type=return_tensors)

    def zero_shot(self, labels, language="en", **kwargs):
        template = self.prompts.get(language, "{}")
        return self.tokenizer([template.format(label) for label in labels], padding=True, **kwargs)

    def batch_decode(self, *args, **kwargs):
        return self.tokenizer.batch_decode(*args, **kwargs)

    def decode(self, *args, **kwargs):
        return self.tokenizer.decode(*args, **kwargs)

    @property
    def model_input_names(self):
        return list(dict.fromkeys(self.tokenizer.model_input_names + self.image_processor.model_input_names))
