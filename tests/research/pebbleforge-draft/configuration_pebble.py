from transformers import Qwen2Config


class PebbleConfig(Qwen2Config):
    model_type = "pebble_draft"

    def __init__(self, draft_depth: int = 3, draft_residual: bool = True, draft_loss_weight: float = 0.2, **kwargs):
        self.draft_depth = draft_depth
        self.draft_residual = draft_residual
        self.draft_loss_weight = draft_loss_weight
        super().__init__(**kwargs)


__all__ = ["PebbleConfig"]
