from transformers import AutoConfig, PretrainedConfig
from transformers.models.auto import CONFIG_MAPPING


class WagtailConfig(PretrainedConfig):
    model_type = "wagtail"
    sub_configs = {"backbone_config": AutoConfig}

    def __init__(self, backbone_config=None, exit_layer=-1, probe_heads=4, dropout=0.0, yes_bias=0.0, **kwargs):
        if isinstance(backbone_config, dict):
            kind = backbone_config.get("model_type", "mistral")
            backbone_config = CONFIG_MAPPING[kind](**backbone_config)
        elif backbone_config is None:
            backbone_config = CONFIG_MAPPING["mistral"](num_hidden_layers=2, hidden_size=64, num_attention_heads=4,
                                                        num_key_value_heads=2, intermediate_size=128)
        self.backbone_config = backbone_config
        self.exit_layer = exit_layer if exit_layer >= 0 else backbone_config.num_hidden_layers + exit_layer
        self.probe_heads = probe_heads
        self.dropout = dropout
        self.yes_bias = yes_bias
        super().__init__(**kwargs)

    @property
    def hidden_size(self):
        return self.backbone_config.hidden_size

    @property
    def pad_token_id(self):
        return self.backbone_config.pad_token_id

    @pad_token_id.setter
    def pad_token_id(self, value):
        if value is not None:
            self.backbone_config.pad_token_id = value
