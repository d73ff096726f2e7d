from transformers import Qwen3Config


class EmberConfig(Qwen3Config):
    model_type = "ember_embed"

    nested_widths: list[int] | None = None
    pooling: str = "mean"
    output_width: int | None = None

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.output_width is None:
            self.output_width = self.hidden_size
        if self.nested_widths is None:
            self.nested_widths = [self.output_width]
        if self.pooling not in ("mean", "last", "weighted"):
            raise ValueError(f"pooling cannot be {self.pooling!r}: mean, last and weighted can be")
        self.use_cache = False


__all__ = ["EmberConfig"]
