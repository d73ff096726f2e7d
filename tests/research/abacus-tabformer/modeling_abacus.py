"""PyTorch Abacus model."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput, logging

from .configuration_abacus import AbacusConfig
from .tokenizer_abacus import CategoricalTokenizer, NLinear, NumericTokenizer, PeriodicFeatures


logger = logging.get_logger(__name__)


@dataclass
class AbacusOutput(ModelOutput):
    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    row_embeddings: torch.FloatTensor | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


def reglu(x):
    a, b = x.chunk(2, dim=-1)
    return a * F.relu(b)


def geglu(x):
    a, b = x.chunk(2, dim=-1)
    return a * F.gelu(b)


ACTIVATIONS = {"reglu": reglu, "geglu": geglu}


class AbacusAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        d = config.d_token
        self.n_heads = config.n_heads
        self.head_dim = d // config.n_heads
        self.dropout_p = config.attention_dropout
        self.q_proj = nn.Linear(d, d)
        self.k_proj = nn.Linear(d, d)
        self.v_proj = nn.Linear(d, d)
        self.o_proj = nn.Linear(d, d)

    def forward(self, q_in, kv_in, output_attentions=False):
        B, N, D = kv_in.shape
        q = self.q_proj(q_in).view(B, -1, self.n_heads, self.head_dim).transpose(1, 2)
        k = self.k_proj(kv_in).view(B, N, self.n_heads, self.head_dim).transpose(1, 2)
        v = self.v_proj(kv_in).view(B, N, self.n_heads, self.head_dim).transpose(1, 2)
        if output_attentions:
            probs = (q @ k.transpose(-1, -2) * self.head_dim**-0.5).softmax(-1)
            out = probs @ v
        else:
            probs = None
            out = F.scaled_dot_product_attention(q, k, v, dropout_p=self.dropout_p if self.training else 0.0)
        return self.o_proj(out.transpose(1, 2).reshape(B, -1, D)), probs


class AbacusBlock(GradientCheckpointingLayer):
    def __init__(self, config, layer_idx):
        super().__init__()
        d = config.d_token
        inner = int(d * config.ffn_factor)
        # the first block has no norm in front of its attention
        self.attention_norm = nn.LayerNorm(d, eps=config.layer_norm_eps) if layer_idx else nn.Identity()
        self.attention = AbacusAttention(config)
        self.ffn_norm = nn.LayerNorm(d, eps=config.layer_norm_eps)
        self.up = nn.Linear(d, inner * 2)
        self.down = nn.Linear(inner, d)
        self.act = ACTIVATIONS[config.activation]
        self.dropout = nn.Dropout(config.ffn_dropout)
        # the last block only has to compute the [CLS] token
        self.last = layer_idx == config.n_layers - 1

    def forward(self, x, output_attentions=False):
        h = self.attention_norm(x)
        query = h[:, :1] if self.last else h
        out, probs = self.attention(query, h, output_attentions)
        x = (x[:, :1] if self.last else x) + out
        x = x + self.down(self.dropout(self.act(self.up(self.ffn_norm(x)))))
        return x, probs


class AbacusMessagePassing(nn.Module):
    """mean over the neighbours of a row, a matrix for each type of edge"""

    def __init__(self, config):
        super().__init__()
        d, graph = config.encoder_config.d_token, config.graph_config
        self.edge_types = graph.edge_types
        self.hops = graph.hops
        self.residual = graph.residual
        self.relations = nn.Parameter(torch.empty(graph.hops, graph.edge_types, d, d))
        self.norms = nn.ModuleList([nn.LayerNorm(d) for _ in range(graph.hops)])

    def forward(self, rows, edge_index, edge_type=None):
        src, dst = edge_index
        if edge_type is None:
            edge_type = torch.zeros_like(src)
        for hop in range(self.hops):
            total = torch.zeros_like(rows)
            for kind in range(self.edge_types):
                on = edge_type == kind
                if not on.any():
                    continue
                msg = rows[src[on]] @ self.relations[hop, kind]
                degree = torch.zeros(rows.shape[0], device=rows.device, dtype=rows.dtype)
                degree = degree.index_add(0, dst[on], torch.ones_like(dst[on], dtype=rows.dtype)).clamp_min(1)
                total = total + torch.zeros_like(rows).index_add(0, dst[on], msg) / degree[:, None]
            new = self.norms[hop](F.gelu(total))
            rows = rows + new if self.residual else new
        return rows


class AbacusPreTrainedModel(PreTrainedModel):
    config: AbacusConfig
    config_class = AbacusConfig
    base_model_prefix = "model"
    main_input_name = "numeric_features"
    supports_gradient_checkpointing = True
    _no_split_modules = ["AbacusBlock"]
    _supports_sdpa = True

    @torch.no_grad()
    def _init_weights(self, module):
        super()._init_weights(module)
        std = self.config.initializer_range
        if isinstance(module, NLinear):
            bound = module.weight.shape[1] ** -0.5
            init.uniform_(module.weight, -bound, bound)
            init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, PeriodicFeatures):
            init.normal_(module.frequencies, mean=0.0, std=module.sigma)
        elif isinstance(module, NumericTokenizer):
            init.normal_(module.missing, mean=0.0, std=std)
        elif isinstance(module, AbacusMessagePassing):
            init.normal_(module.relations, mean=0.0, std=std)
        elif isinstance(module, CategoricalTokenizer):
            offsets = torch.tensor([0] + [s + 1 for s in module.sizes[:-1]]).cumsum(0)
            init.copy_(module.offsets, offsets)
        elif isinstance(module, AbacusModel):
            init.normal_(module.cls_token, mean=0.0, std=std)


class AbacusModel(AbacusPreTrainedModel):
    def __init__(self, config: AbacusConfig):
        super().__init__(config)
        enc = config.encoder_config
        self.cls_token = nn.Parameter(torch.empty(1, 1, enc.d_token))
        self.numeric = NumericTokenizer(config) if config.num_numeric else None
        self.categorical = CategoricalTokenizer(config) if config.categorical_cardinalities else None
        self.blocks = nn.ModuleList([AbacusBlock(enc, i) for i in range(enc.n_layers)])
        self.norm = nn.LayerNorm(enc.d_token, eps=enc.layer_norm_eps)
        self.graph = AbacusMessagePassing(config) if config.graph_config.hops else None
        self.post_init()

    def get_input_embeddings(self):
        return self.categorical.table if self.categorical is not None else None

    def forward(
        self,
        numeric_features=None,
        categorical_features=None,
        edge_index=None,
        edge_type=None,
        output_attentions=False,
        **kwargs,
    ):
        given = numeric_features if numeric_features is not None else categorical_features
        tokens = [self.cls_token.expand(given.shape[0], -1, -1)]
        if self.numeric is not None:
            tokens.append(self.numeric(numeric_features.to(self.cls_token.dtype)))
        if self.categorical is not None:
            tokens.append(self.categorical(categorical_features))
        x = torch.cat(tokens, dim=1)
        attentions = []
        for block in self.blocks:
            x, probs = block(x, output_attentions)
            attentions.append(probs)
        rows = self.norm(x[:, 0])
        if self.graph is not None and edge_index is not None:
            rows = self.graph(rows, edge_index, edge_type)
        return AbacusOutput(row_embeddings=rows, attentions=tuple(attentions) if output_attentions else None)


class AbacusForTabularPrediction(AbacusPreTrainedModel):
    def __init__(self, config: AbacusConfig):
        super().__init__(config)
        self.model = AbacusModel(config)
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(config.encoder_config.d_token, config.num_labels))
        self.post_init()

    def forward(
        self,
        numeric_features: torch.FloatTensor | None = None,
        categorical_features: torch.LongTensor | None = None,
        edge_index: torch.LongTensor | None = None,
        edge_type: torch.LongTensor | None = None,
        labels: torch.Tensor | None = None,
        output_attentions: bool = False,
        **kwargs,
    ) -> AbacusOutput:
        out = self.model(numeric_features, categorical_features, edge_index, edge_type, output_attentions)
        logits = self.head(out.row_embeddings)
        loss = None
        if labels is not None:
            if self.config.num_labels == 1:
                loss = F.mse_loss(logits.squeeze(-1).float(), labels.float())
            else:
                loss = F.cross_entropy(logits.float(), labels)
        return AbacusOutput(loss=loss, logits=logits, row_embeddings=out.row_embeddings, attentions=out.attentions)

    @torch.no_grad()
    def predict_frame(self, frame, numeric_columns, categorical_columns, batch_size=256):
        """a pandas frame whose categories are already codes -> labels"""
        import numpy as np

        num = torch.from_numpy(frame[numeric_columns].to_numpy(dtype=np.float32))
        cat = torch.from_numpy(frame[categorical_columns].to_numpy(dtype=np.int64))
        out = []
        for i in range(0, len(frame), batch_size):
            logits = self(num[i : i + batch_size].to(self.device), cat[i : i + batch_size].to(self.device)).logits
            out += logits.argmax(-1).tolist()
        return [self.config.id2label[i] for i in out]


__all__ = ["AbacusPreTrainedModel", "AbacusModel", "AbacusForTabularPrediction"]
