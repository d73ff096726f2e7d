import torch
import torch.nn.functional as F
from torch import nn
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import PreTrainedModel

from .configuration_teasel import TeaselVisionConfig

try:
    from flash_attn import flash_attn_func

    has_flash_attn = True
except ImportError:
    has_flash_attn = False


class PatchEmbedding(nn.Module):
    def __init__(self, config: TeaselVisionConfig):
        super().__init__()
        self.grid = config.grid
        self.proj = nn.Conv2d(config.num_channels, config.hidden_size, config.patch_size, stride=config.patch_size)
        self.position = nn.Parameter(torch.randn(1, config.hidden_size, self.grid, self.grid) * 0.02)

    def forward(self, pixels):
        x = self.proj(pixels.to(self.proj.weight.dtype))
        position = self.position
        if x.shape[-2:] != position.shape[-2:]:
            position = F.interpolate(position.float(), size=x.shape[-2:], mode="bicubic").to(x.dtype)
        return (x + position).flatten(2).transpose(1, 2)


class VisionAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.num_attention_heads
        self.head_dim = config.hidden_size // self.heads
        self.dropout = config.attention_dropout
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x):
        b, n, c = x.shape
        qkv = self.qkv(x).view(b, n, 3, self.heads, self.head_dim)
        if has_flash_attn and x.is_cuda and x.dtype != torch.float32:
            y = flash_attn_func(*qkv.unbind(2), dropout_p=self.dropout if self.training else 0.0)
        else:
            q, k, v = qkv.permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout if self.training else 0.0)
            y = y.transpose(1, 2)
        return self.proj(y.reshape(b, n, c))


class VisionLayer(nn.Module):
    def __init__(self, config, drop_path=0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attn = VisionAttention(config)
        self.ls1 = nn.Parameter(config.layer_scale * torch.ones(config.hidden_size))
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)
        self.ls2 = nn.Parameter(config.layer_scale * torch.ones(config.hidden_size))
        self.drop_path = drop_path

    def keep(self, x):
        if not self.training or self.drop_path == 0.0:
            return x
        kept = torch.rand(x.shape[0], 1, 1, device=x.device) >= self.drop_path
        return x * kept / (1 - self.drop_path)

    def forward(self, x):
        x = x + self.keep(self.ls1 * self.attn(self.norm1(x)))
        return x + self.keep(self.ls2 * self.fc2(F.gelu(self.fc1(self.norm2(x)))))


class TeaselVisionModel(PreTrainedModel):
    config_class = TeaselVisionConfig
    main_input_name = "pixel_values"
    _no_split_modules = ["VisionLayer"]
    supports_gradient_checkpointing = True

    def __init__(self, config: TeaselVisionConfig):
        super().__init__(config)
        self.embeddings = PatchEmbedding(config)
        rates = [x.item() for x in torch.linspace(0, 0.1, config.num_hidden_layers)]
        self.layers = nn.ModuleList([VisionLayer(config, rates[i]) for i in range(config.num_hidden_layers)])
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, pixel_values, output_hidden_states=True):
        x = self.embeddings(pixel_values)
        states = (x,)
        for layer in self.layers:
            x = layer(x)
            states += (x,)
        return BaseModelOutput(last_hidden_state=self.norm(x), hidden_states=states if output_hidden_states else None)
