"""Whether a pipeline of transformers runs with a repository: the Hub shows one for the task that the card names."""

import inspect
import re
import tempfile

from ..values import describe

CLIP = "video-classification"
LABELS = ["the sea", "the wind"]
# of one kind of input, although the registry counts several: what they write is of another
SEVERAL = (
    "automatic-speech-recognition", "image-segmentation", "object-detection", "mask-generation",
    "zero-shot-image-classification", "zero-shot-audio-classification", "zero-shot-object-detection",
)  # fmt: skip
OTHERWISE = ("table-question-answering", "keypoint-matching")  # tables, and pairs of pictures
WORDS = "The wind had fallen, and the sea was calm again."
SHORT = {"text-generation": {"max_new_tokens": 2}}  # what the others do by default takes one run of the model


def why_not(task: str, auto: str, arguments: dict) -> str:
    """What keeps the pipeline of a task from running with what it is made for; "" where it runs.

    One that takes inputs of several kinds together, a picture with a question for one, is made and not run.

    Pipelines of clips read files with PyAV or torchcodec, which need not be here: what they need of the model is
    looked at alone then.

    Args:
        auto: the Auto class of the main class. arguments: of from_pretrained.
    """
    import transformers

    if task not in transformers.pipelines.PIPELINE_REGISTRY.get_supported_tasks():
        return f"transformers {transformers.__version__} has no pipeline of this name"
    where = {key: value for key, value in arguments.items() if key != "pretrained_model_name_or_path"}
    try:
        pipe = transformers.pipeline(task, model=arguments["pretrained_model_name_or_path"], **where)
        if auto == "AutoModelForSpeechSeq2Seq" and "ctc" in str(getattr(pipe, "type", "")):
            name = type(pipe.model).__name__  # it might run, and would write what forward says of each frame
            return f"transformers knows models that generate by the names of its own classes, and takes {name} for CTC"
        if not _is_read(task):
            return ""
        more = {"candidate_labels": LABELS} if "candidate_labels" in _takes(pipe) else {}
        with tempfile.TemporaryDirectory() as directory:
            pipe(_read(task, pipe, directory), **SHORT.get(task, {}), **more)
        if why := _no_chat(task, pipe):
            return why
    except (Exception, SystemExit) as error:
        if task == CLIP and isinstance(error, ImportError):
            return _without_frames(transformers.AutoConfig.from_pretrained(**arguments))
        classes, _, reasons = str(error).partition("See the original errors")
        loads = [name for name in dict.fromkeys(re.findall(r"\bAutoModel\w*", classes)) if reasons]
        if loads and auto not in loads:
            return f"it loads {' or '.join(loads)}, which is not registered"
        return describe(error)
    return ""


def _is_read(task: str) -> bool:
    """Whether one sentence, picture, clip or tone is what the pipeline takes."""
    import transformers

    task, settings, _ = transformers.pipelines.PIPELINE_REGISTRY.check_task(task)
    return task not in OTHERWISE and (settings.get("type") in ("text", "image", "audio", "video") or task in SEVERAL)


def _takes(pipe) -> set[str]:
    """What else may be said when it is called."""
    try:
        return set(inspect.signature(pipe._sanitize_parameters).parameters)
    except (AttributeError, TypeError, ValueError):
        return set()


def _no_chat(task: str, pipe) -> str:
    """What keeps a chat from running, where there is a template for one: "Use this model" on a Hub shows that."""
    if task != "text-generation" or not getattr(pipe.tokenizer, "chat_template", None):
        return ""
    try:
        pipe([{"role": "user", "content": WORDS}], **SHORT[task])
    except (Exception, SystemExit) as error:
        return f"words alone run, but a chat does not: {describe(error)}"
    return ""


def _without_frames(config) -> str:
    return "" if hasattr(config, "num_frames") else "it reads config.num_frames, which is not there"


def _clip(config, directory: str) -> str:
    """A file with as many frames as the pipeline reads of it."""
    import av
    import numpy as np

    path = f"{directory}/clip.avi"
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for number in range(config.num_frames):
            shade: np.ndarray = np.full((64, 64, 3), 8 * number % 256, dtype="u1")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        container.mux(stream.encode())
    return path


def _read(task: str, pipe, directory: str):
    """A sentence, a drawn picture, a clip or a tone."""
    if task == CLIP:
        return _clip(pipe.model.config, directory)
    if task == "question-answering":
        return {"question": "What was calm?", "context": WORDS}
    if task == "fill-mask":
        return f"The sea was {pipe.tokenizer.mask_token} again."
    if pipe.image_processor is not None:
        from PIL import Image

        return Image.radial_gradient("L").convert("RGB")
    if pipe.feature_extractor is not None:
        import numpy as np

        rate = pipe.feature_extractor.sampling_rate
        return np.sin(2 * np.pi * 220 * np.arange(rate) / rate).astype("f4")
    return WORDS
