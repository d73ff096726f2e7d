from transformers import ViTConfig


class SedgeConfig(ViTConfig):
    model_type = "sedge_vit"

    def __init__(
        self,
        num_registers: int = 4,
        adapter_width: int = 64,
        adapter_scale: float = 0.5,
        sincos_temperature: float = 1000.0,
        return_layers=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_registers = num_registers
        self.adapter_width = adapter_width
        self.adapter_scale = adapter_scale
        self.sincos_temperature = sincos_temperature
        self.return_layers = return_layers

    @property
    def prefix_tokens(self):
        return 1 + self.num_registers
