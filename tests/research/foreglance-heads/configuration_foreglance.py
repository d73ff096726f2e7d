from transformers import LlamaConfig

# a sparse tree for three heads, found on a held-out set of chats
DEFAULT_CHOICES = [[0], [1], [2], [0, 0], [0, 1], [1, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0]]


class ForeglanceConfig(LlamaConfig):
    """A LlamaConfig, and what the draft heads need."""

    model_type = "foreglance_llama"

    def __init__(
        self,
        draft_num_heads=3,
        draft_num_layers=1,
        draft_choices=None,
        draft_loss_decay=0.8,
        freeze_base=True,
        base_model_name_or_path=None,
        **kwargs,
    ):
        self.draft_num_heads = draft_num_heads
        self.draft_num_layers = draft_num_layers
        self.draft_choices = draft_choices if draft_choices is not None else DEFAULT_CHOICES
        self.draft_loss_decay = draft_loss_decay
        self.freeze_base = freeze_base
        self.base_model_name_or_path = base_model_name_or_path
        super().__init__(**kwargs)
