""" PyTorch MolGraph model: local messages + global attention, as GPS layers."""
import math
from typing import Iterable, Iterator, List, Optional, Tuple, Union

import torch
import torch.nn as nn
from torch.nn import BCEWithLogitsLoss, L1Loss, MSELoss
from transformers.activations import ACT2FN
from transformers.modeling_utils import PreTrainedModel

from .algos import adjacency, floyd_warshall
from .configuration_molgraph import MolGraphConfig

try:
    import torch_scatter
except ImportError:
    torch_scatter = None


def scatter_sum(src, index, n):
    # src: (B, E, D); index: (B, E)
    if torch_scatter is not None:
        return torch_scatter.scatter_add(src, index, dim=1, dim_size=n)
    out = src.new_zeros(src.shape[0], n, src.shape[-1])
    return out.scatter_add(1, index.unsqueeze(-1).expand_as(src), src)


class NodeFeature(nn.Module):
    """Compute node features for each node in the graph."""

    def __init__(self, c):
        super().__init__()
        self.atom_encoder = nn.Embedding(c.num_atoms + 1, c.hidden_size, padding_idx=c.pad_token_id)
        self.in_degree_encoder = nn.Embedding(c.max_degree, c.hidden_size)
        self.out_degree_encoder = nn.Embedding(c.max_degree, c.hidden_size)
        self.graph_token = nn.Embedding(1, c.hidden_size)
        self.max_degree = c.max_degree

    def forward(self, node_feat, adj):
        x = self.atom_encoder(node_feat)
        x = x + self.in_degree_encoder(adj.long().sum(1).clamp(max=self.max_degree - 1))
        x = x + self.out_degree_encoder(adj.long().sum(2).clamp(max=self.max_degree - 1))
        token = self.graph_token.weight.unsqueeze(0).repeat(x.shape[0], 1, 1)
        return torch.cat([token, x], dim=1)


class AttnBias(nn.Module):
    """Compute attention bias for each head from the distances."""

    def __init__(self, c):
        super().__init__()
        self.max_dist = c.max_dist
        self.num_heads = c.num_attention_heads
        self.spatial_pos_encoder = nn.Embedding(c.max_dist + 2, c.num_attention_heads)
        self.graph_token_virtual_distance = nn.Embedding(1, c.num_attention_heads)

    def forward(self, dist, valid):
        b, n, _ = dist.shape
        bias = dist.new_zeros((b, self.num_heads, n + 1, n + 1), dtype=self.spatial_pos_encoder.weight.dtype)
        d = torch.where(dist > self.max_dist, torch.full_like(dist, self.max_dist + 1), dist)
        bias[:, :, 1:, 1:] = self.spatial_pos_encoder(d).permute(0, 3, 1, 2)
        t = self.graph_token_virtual_distance.weight.view(1, self.num_heads, 1)
        bias[:, :, 1:, 0] = bias[:, :, 1:, 0] + t
        bias[:, :, 0, :] = bias[:, :, 0, :] + t
        keep = torch.cat([valid.new_ones(b, 1), valid], 1)
        return bias.masked_fill(~keep[:, None, None, :], -1e9)


class GINEMessages(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.edge_encoder = nn.Embedding(c.num_edges + 1, c.hidden_size, padding_idx=0)
        self.eps = nn.Parameter(torch.zeros(1))
        self.mlp = nn.Sequential(nn.Linear(c.hidden_size, 2 * c.hidden_size), nn.ReLU(), nn.Linear(2 * c.hidden_size, c.hidden_size))

    def forward(self, x, edge_index, edge_attr):
        src, dst = edge_index[:, 0], edge_index[:, 1]
        msg = torch.gather(x, 1, src.unsqueeze(-1).expand(-1, -1, x.shape[-1])) + self.edge_encoder(edge_attr)
        msg = torch.relu(msg) * (edge_attr > 0).unsqueeze(-1).to(x.dtype)
        return self.mlp((1 + self.eps) * x + scatter_sum(msg, dst, x.shape[1]))


class GPSLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.local = GINEMessages(c)
        self.h, self.d = c.num_attention_heads, c.hidden_size // c.num_attention_heads
        self.qkv = nn.Linear(c.hidden_size, 3 * c.hidden_size)
        self.out = nn.Linear(c.hidden_size, c.hidden_size)
        self.norm1, self.norm2 = nn.LayerNorm(c.hidden_size), nn.LayerNorm(c.hidden_size)
        self.ffn = nn.Sequential(nn.Linear(c.hidden_size, 2 * c.hidden_size), nn.GELU(), nn.Dropout(c.dropout), nn.Linear(2 * c.hidden_size, c.hidden_size))
        self.drop = nn.Dropout(c.dropout)

    def forward(self, x, bias, edge_index, edge_attr):
        b, n, w = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.h, self.d).permute(2, 0, 3, 1, 4)
        p = (q @ k.transpose(-1, -2) / math.sqrt(self.d) + bias).softmax(-1)
        glob = self.out((p @ v).transpose(1, 2).reshape(b, n, w))
        loc = self.local(x[:, 1:], edge_index, edge_attr)
        loc = torch.cat([torch.zeros_like(x[:, :1]), loc], 1)
        x = self.norm1(x + self.drop(glob) + self.drop(loc))
        return self.norm2(x + self.drop(self.ffn(x)))


class MolGraphPreTrainedModel(PreTrainedModel):
    config_class = MolGraphConfig
    base_model_prefix = "molgraph"
    main_input_name = "node_feat"

    def normal_(self, data):
        # with FSDP, module params will be on CUDA, so we cast them back to CPU so that the RNG is consistent with and without FSDP
        data.copy_(data.cpu().normal_(mean=0.0, std=0.02).to(data.device))

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            self.normal_(module.weight.data)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            self.normal_(module.weight.data)
            if module.padding_idx is not None:
                module.weight.data[module.padding_idx].zero_()


class MolGraphForGraphRegression(MolGraphPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.nodes = NodeFeature(config)
        self.bias = AttnBias(config)
        self.layers = nn.ModuleList([GPSLayer(config) for _ in range(config.num_hidden_layers)])
        self.head = nn.Sequential(nn.LayerNorm(config.hidden_size), nn.Linear(config.hidden_size, config.num_targets))
        self.is_encoder_decoder = False
        self.post_init()

    def max_nodes(self):
        return 512

    def forward(self, node_feat, edge_index, edge_attr=None, labels=None, return_dict: Optional[bool] = None, **unused):
        n = node_feat.shape[1]
        if edge_attr is None:
            edge_attr = torch.ones_like(edge_index[:, 0])
        adj = adjacency(edge_index, n)
        dist = floyd_warshall(adj)
        bias = self.bias(dist, node_feat != self.config.pad_token_id)
        x = self.nodes(node_feat, adj)
        for layer in self.layers:
            x = layer(x, bias, edge_index, edge_attr)
        out = self.head(x[:, 0])
        if labels is not None:
            mask = ~torch.isnan(labels)
            return L1Loss()(out[mask], labels[mask]), out
        return (out, x)
