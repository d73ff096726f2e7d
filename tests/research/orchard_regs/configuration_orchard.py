from transformers import ViTConfig


class OrchardConfig(ViTConfig):
    model_type = "orchard_vit"

    def __init__(self, num_registers=4, layer_scale=1e-5, queue_size=1024, pool="mean", **kwargs):
        super().__init__(**kwargs)
        self.num_registers = num_registers
        self.layer_scale = layer_scale
        self.queue_size = queue_size
        if pool not in ("mean", "cls", "registers"):
            raise ValueError(f"pool is {pool}, expected mean, cls or registers")
        self.pool = pool
