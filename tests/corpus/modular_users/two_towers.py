"""Text from Llama, pictures from ViT: two parents of different architectures in one file."""

from torch import nn
from transformers import LlamaConfig, PreTrainedModel, ViTConfig
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaModel, LlamaPreTrainedModel
from transformers.models.vit.modeling_vit import ViTMLP, ViTModel


class TowersTextConfig(LlamaConfig):
    model_type = "towers_text"


class TowersVisionConfig(ViTConfig):
    model_type = "towers_vision"


class TowersConfig(PreTrainedConfig):
    model_type = "two_towers"
    sub_configs = {"text_config": TowersTextConfig, "vision_config": TowersVisionConfig}  # noqa: RUF012
    text_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None

    def __post_init__(self, **kwargs):
        if isinstance(self.text_config, dict) or self.text_config is None:
            self.text_config = TowersTextConfig(**(self.text_config or {}))
        if isinstance(self.vision_config, dict) or self.vision_config is None:
            self.vision_config = TowersVisionConfig(**(self.vision_config or {}))
        super().__post_init__(**kwargs)


class TowersTextMLP(LlamaMLP):
    def forward(self, x):
        return 2 * super().forward(x)


class TowersTextPreTrainedModel(LlamaPreTrainedModel):
    pass


class TowersTextModel(LlamaModel):
    pass


class TowersVisionMLP(ViTMLP):
    def forward(self, hidden_states):
        return 3 * super().forward(hidden_states)


class TowersVisionModel(ViTModel):
    pass


class TowersModel(PreTrainedModel):
    config: TowersConfig
    config_class = TowersConfig
    base_model_prefix = "model"
    _no_split_modules = ["TowersTextDecoderLayer"]  # noqa: RUF012

    def __init__(self, config: TowersConfig):
        super().__init__(config)
        self.text_model = TowersTextModel(config.text_config)
        self.vision_model = TowersVisionModel(config.vision_config)
        self.join = nn.Linear(config.vision_config.hidden_size, config.text_config.hidden_size)
        self.post_init()

    def forward(self, input_ids, pixel_values, **kwargs):
        text = self.text_model(input_ids=input_ids).last_hidden_state
        picture = self.vision_model(pixel_values).last_hidden_state
        return text + self.join(picture[:, :1])
