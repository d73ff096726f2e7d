from transformers import PretrainedConfig


class SnapStoryConfig(PretrainedConfig):
    model_type = "snapstory"

    def __init__(self, vocab_size=8192, width=512, depth=6, heads=8, max_tokens=64, bos_id=1, eos_id=2, vision=None, **kwargs):
        super().__init__(**kwargs)
        self.vocab_size = vocab_size
        self.width = width
        self.depth = depth
        self.heads = heads
        self.max_tokens = max_tokens
        self.bos_id = bos_id
        self.eos_id = eos_id
        self.vision = vision or {"width": 384, "depth": 12, "heads": 6, "image_size": 224, "patch_size": 16, "registers": 4}
