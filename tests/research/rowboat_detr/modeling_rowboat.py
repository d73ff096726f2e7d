""" PyTorch Rowboat DETR model."""
import copy
import math
from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn
import torch.nn.functional as F

from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput, is_scipy_available, logging

from .box_ops import box_cxcywh_to_xyxy, generalized_box_iou, inverse_sigmoid
from .configuration_rowboat import RowboatConfig

if is_scipy_available():
    from scipy.optimize import linear_sum_assignment

logger = logging.get_logger(__name__)


@dataclass
class RowboatModelOutput(ModelOutput):
    intermediate_hidden_states: torch.FloatTensor = None
    init_reference_points: torch.FloatTensor = None
    encoder_last_hidden_state: Optional[torch.FloatTensor] = None


@dataclass
class RowboatObjectDetectionOutput(ModelOutput):
    loss: Optional[torch.FloatTensor] = None
    loss_dict: Optional[Dict] = None
    logits: torch.FloatTensor = None
    pred_boxes: torch.FloatTensor = None
    auxiliary_outputs: Optional[List[Dict]] = None


class FrozenBatchNorm2d(nn.Module):
    """BatchNorm2d where the batch statistics and the affine parameters are fixed."""

    def __init__(self, n):
        super().__init__()
        self.register_buffer("weight", torch.ones(n))
        self.register_buffer("bias", torch.zeros(n))
        self.register_buffer("running_mean", torch.zeros(n))
        self.register_buffer("running_var", torch.ones(n))

    def forward(self, x):
        scale = self.weight * (self.running_var + 1e-5).rsqrt()
        bias = self.bias - self.running_mean * scale
        return x * scale.view(1, -1, 1, 1) + bias.view(1, -1, 1, 1)


class Stem(nn.Module):
    def __init__(self, config):
        super().__init__()
        layers, cin = [], 3
        for c in config.stem_channels:
            layers += [nn.Conv2d(cin, c, 3, stride=2, padding=1, bias=False), FrozenBatchNorm2d(c), nn.ReLU()]
            cin = c
        self.body = nn.Sequential(*layers)
        self.proj = nn.Sequential(nn.Conv2d(cin, config.d_model, 3, stride=2, padding=1), nn.GroupNorm(4, config.d_model))

    def forward(self, x):
        return self.proj(self.body(x))


def sine_position(h, w, dim, device, temperature=10000, scale=2 * math.pi):
    y, x = torch.meshgrid(torch.arange(1, h + 1, device=device), torch.arange(1, w + 1, device=device), indexing="ij")
    y, x = y / h * scale, x / w * scale
    d = dim // 2
    t = torch.arange(d, dtype=torch.float32, device=device)
    t = temperature ** (2 * torch.div(t, 2, rounding_mode="floor") / d)

    def enc(p):
        p = p[..., None] / t
        return torch.stack((p[..., 0::2].sin(), p[..., 1::2].cos()), dim=-1).flatten(-2)

    return torch.cat((enc(y), enc(x)), dim=-1).flatten(0, 1)[None]


class EncoderLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(c.d_model, c.num_heads, dropout=c.dropout, batch_first=True)
        self.norm1, self.norm2 = nn.LayerNorm(c.d_model), nn.LayerNorm(c.d_model)
        self.fc1, self.fc2 = nn.Linear(c.d_model, c.ffn_dim), nn.Linear(c.ffn_dim, c.d_model)

    def forward(self, x, pos):
        q = x + pos
        x = self.norm1(x + self.self_attn(q, q, x, need_weights=False)[0])
        return self.norm2(x + self.fc2(F.relu(self.fc1(x))))


class DecoderLayer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(c.d_model, c.num_heads, dropout=c.dropout, batch_first=True)
        self.cross_attn = nn.MultiheadAttention(c.d_model, c.num_heads, dropout=c.dropout, batch_first=True)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(c.d_model), nn.LayerNorm(c.d_model), nn.LayerNorm(c.d_model)
        self.fc1, self.fc2 = nn.Linear(c.d_model, c.ffn_dim), nn.Linear(c.ffn_dim, c.d_model)
        self.ref_proj = nn.Linear(2, c.d_model)

    def forward(self, x, query_pos, ref, memory, pos):
        q = x + query_pos
        x = self.norm1(x + self.self_attn(q, q, x, need_weights=False)[0])
        q = x + query_pos + self.ref_proj(ref[..., :2])
        x = self.norm2(x + self.cross_attn(q, memory + pos, memory, need_weights=False)[0])
        return self.norm3(x + self.fc2(F.relu(self.fc1(x))))


class RowboatPreTrainedModel(PreTrainedModel):
    config_class = RowboatConfig
    base_model_prefix = "model"
    main_input_name = "pixel_values"
    _no_split_modules = ["EncoderLayer", "DecoderLayer"]

    def _init_weights(self, module):
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            module.weight.data.normal_(mean=0.0, std=0.02)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=0.02)


class RowboatModel(RowboatPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.backbone = Stem(config)
        self.encoder = nn.ModuleList([EncoderLayer(config) for _ in range(config.encoder_layers)])
        self.decoder = nn.ModuleList([DecoderLayer(config) for _ in range(config.decoder_layers)])
        self.query_position_embeddings = nn.Embedding(config.num_queries, config.d_model * 2)
        self.reference_points = nn.Linear(config.d_model, 2)
        self.bbox_embed = None  # hacky: set by the detection model for iterative refinement
        self.post_init()

    def get_encoder(self):
        return self.encoder

    def freeze_backbone(self):
        for p in self.backbone.parameters():
            p.requires_grad_(False)

    def forward(self, pixel_values):
        feat = self.backbone(pixel_values)
        b, d, h, w = feat.shape
        memory = feat.flatten(2).transpose(1, 2)
        pos = sine_position(h, w, d, feat.device).to(feat.dtype)
        for layer in self.encoder:
            memory = layer(memory, pos)
        query_pos, x = self.query_position_embeddings.weight.chunk(2, dim=1)
        query_pos = query_pos[None].expand(b, -1, -1)
        x = x[None].expand(b, -1, -1)
        ref = self.reference_points(query_pos).sigmoid()
        init_ref, inter = ref, []
        ref = torch.cat([ref, torch.full_like(ref, 0.1)], -1)
        refs = []
        for i, layer in enumerate(self.decoder):
            x = layer(x, query_pos, ref, memory, pos)
            refs.append(ref)
            if self.bbox_embed is not None and self.config.with_box_refine:
                ref = (self.bbox_embed[i](x) + inverse_sigmoid(ref)).sigmoid().detach()
            inter.append(x)
        return RowboatModelOutput(
            intermediate_hidden_states=torch.stack(inter, 1), init_reference_points=torch.stack(refs, 1), encoder_last_hidden_state=memory
        )


class MLPPredictionHead(nn.Module):
    """Very simple multi-layer perceptron (MLP, also called FFN)"""

    def __init__(self, input_dim, hidden_dim, output_dim, num_layers):
        super().__init__()
        self.num_layers = num_layers
        h = [hidden_dim] * (num_layers - 1)
        self.layers = nn.ModuleList(nn.Linear(n, k) for n, k in zip([input_dim] + h, h + [output_dim]))

    def forward(self, x):
        for i, layer in enumerate(self.layers):
            x = F.relu(layer(x)) if i < self.num_layers - 1 else layer(x)
        return x


def _get_clones(module, N):
    return nn.ModuleList([copy.deepcopy(module) for i in range(N)])


class RowboatForObjectDetection(RowboatPreTrainedModel):
    # When using clones, all layers > 0 will be clones, but layer 0 *is* required
    _tied_weights_keys = [r"bbox_embed\.[1-9]\d*", r"class_embed\.[1-9]\d*", r"model\.bbox_embed\.\d+"]

    def __init__(self, config):
        super().__init__(config)
        self.model = RowboatModel(config)
        self.class_embed = nn.Linear(config.d_model, config.num_labels)
        self.bbox_embed = MLPPredictionHead(config.d_model, config.d_model, 4, 3)
        n = config.decoder_layers
        if config.share_heads:
            self.class_embed = nn.ModuleList([self.class_embed for _ in range(n)])
            self.bbox_embed = nn.ModuleList([self.bbox_embed for _ in range(n)])
        else:
            self.class_embed = _get_clones(self.class_embed, n)
            self.bbox_embed = _get_clones(self.bbox_embed, n)
        if config.with_box_refine:
            self.model.bbox_embed = self.bbox_embed
        self.post_init()

    def forward(self, pixel_values, labels=None, return_dict=None):
        out = self.model(pixel_values)
        classes, boxes = [], []
        for i in range(self.config.decoder_layers):
            h, ref = out.intermediate_hidden_states[:, i], out.init_reference_points[:, i]
            classes.append(self.class_embed[i](h))
            boxes.append((self.bbox_embed[i](h) + inverse_sigmoid(ref)).sigmoid())
        loss = loss_dict = None
        if labels is not None:
            loss, loss_dict = self.set_loss(classes[-1], boxes[-1], labels)
        aux = [{"logits": c, "pred_boxes": b} for c, b in zip(classes[:-1], boxes[:-1])] if self.config.auxiliary_loss else None
        return RowboatObjectDetectionOutput(loss=loss, loss_dict=loss_dict, logits=classes[-1], pred_boxes=boxes[-1], auxiliary_outputs=aux)

    def set_loss(self, logits, boxes, targets):
        total_cls, total_l1, total_giou = 0.0, 0.0, 0.0
        for l, b, t in zip(logits, boxes, targets):
            p = l.sigmoid()
            cost = -p[:, t["class_labels"]] * self.config.class_cost
            cost = cost + self.config.bbox_cost * torch.cdist(b, t["boxes"], p=1)
            cost = cost - self.config.giou_cost * generalized_box_iou(box_cxcywh_to_xyxy(b), box_cxcywh_to_xyxy(t["boxes"]))
            i, j = linear_sum_assignment(cost.detach().cpu())
            i, j = torch.as_tensor(i), torch.as_tensor(j)
            onehot = torch.zeros_like(l)
            onehot[i, t["class_labels"][j]] = 1
            total_cls = total_cls + F.binary_cross_entropy_with_logits(l, onehot)
            total_l1 = total_l1 + F.l1_loss(b[i], t["boxes"][j])
            g = torch.diag(generalized_box_iou(box_cxcywh_to_xyxy(b[i]), box_cxcywh_to_xyxy(t["boxes"][j])))
            total_giou = total_giou + (1 - g).mean()
        d = {"loss_ce": total_cls, "loss_bbox": total_l1, "loss_giou": total_giou}
        return d["loss_ce"] + 5 * d["loss_bbox"] + 2 * d["loss_giou"], d
