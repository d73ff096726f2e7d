from transformers import AutoConfig, PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING


class HornbeamConfig(PretrainedConfig):
    """Wrapper configuration

    base_config: dict or config of the backbone
    adapters: name -> {"r": int, "alpha": float}
    """
    model_type = "hornbeam"
    is_composition = True

    def __init__(self, base_config=None, adapters=None, active=None, target_modules=("q_proj", "v_proj"),
                 lora_dropout=0.0, **kwargs):
        if base_config is None:
            base_config = {"model_type": "mistral"}
        if isinstance(base_config, dict):
            base_config = dict(base_config)
            kind = base_config.pop("model_type")
            base_config = CONFIG_MAPPING[kind](**base_config)
        self.base_config = base_config
        self.adapters = adapters or {}
        self.active = active
        self.target_modules = list(target_modules)
        self.lora_dropout = lora_dropout
        super().__init__(**kwargs)

    @property
    def vocab_size(self):
        return self.base_config.vocab_size

    @property
    def hidden_size(self):
        return self.base_config.hidden_size

    @property
    def num_hidden_layers(self):
        return self.base_config.num_hidden_layers

    def get_text_config(self, decoder=False, **kwargs):
        return self.base_config
