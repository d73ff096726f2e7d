"""RankFold: query/document cross encoder with two-way relative attention."""
import math
from typing import List, Optional, Tuple, Union

import torch
from torch import nn
from torch.nn import BCEWithLogitsLoss, CrossEntropyLoss, MSELoss

from transformers.activations import ACT2FN
from transformers.modeling_outputs import MultipleChoiceModelOutput, SequenceClassifierOutput
from transformers.modeling_utils import PreTrainedModel, SequenceSummary
from transformers.utils import ModelOutput, logging

from .configuration_rankfold import RankFoldConfig

logger = logging.get_logger(__name__)


class RelativeAttention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.n_head = config.n_head
        self.d_head = config.d_head
        self.d_model = config.d_model
        self.scale = 1 / (config.d_head**0.5)

        self.q = nn.Parameter(torch.FloatTensor(config.d_model, self.n_head, self.d_head))
        self.k = nn.Parameter(torch.FloatTensor(config.d_model, self.n_head, self.d_head))
        self.v = nn.Parameter(torch.FloatTensor(config.d_model, self.n_head, self.d_head))
        self.o = nn.Parameter(torch.FloatTensor(config.d_model, self.n_head, self.d_head))
        self.r = nn.Parameter(torch.FloatTensor(config.d_model, self.n_head, self.d_head))
        self.r_r_bias = nn.Parameter(torch.FloatTensor(self.n_head, self.d_head))
        self.r_w_bias = nn.Parameter(torch.FloatTensor(self.n_head, self.d_head))
        self.layer_norm = nn.LayerNorm(config.d_model, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    @staticmethod
    def rel_shift(x, klen=-1):
        """perform relative shift to form the relative attention score."""
        x_size = x.shape
        x = x.reshape(x_size[0], x_size[1], x_size[3], x_size[2])
        x = x[:, :, 1:, :]
        x = x.reshape(x_size[0], x_size[1], x_size[2], x_size[3] - 1)
        return torch.index_select(x, 3, torch.arange(klen, device=x.device, dtype=torch.long))

    def forward(self, h, r, attn_mask=None):
        q = torch.einsum("bih,hnd->bnid", h, self.q)
        k = torch.einsum("bih,hnd->bnid", h, self.k)
        v = torch.einsum("bih,hnd->bnid", h, self.v)
        k_r = torch.einsum("ih,hnd->nid", r, self.r)
        ac = torch.einsum("bnid,bnjd->bnij", q + self.r_w_bias[:, None], k)
        bd = torch.einsum("bnid,njd->bnij", q + self.r_r_bias[:, None], k_r)
        bd = self.rel_shift(bd, klen=ac.shape[3])
        score = (ac + bd) * self.scale
        if attn_mask is not None:
            score = score - 1e30 * attn_mask
        prob = self.dropout(nn.functional.softmax(score, dim=3))
        vec = torch.einsum("bnij,bnjd->bnid", prob, v)
        out = torch.einsum("bnid,hnd->bih", vec, self.o)
        return self.layer_norm(self.dropout(out) + h), prob


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer_norm = nn.LayerNorm(config.d_model, eps=config.layer_norm_eps)
        self.layer_1 = nn.Linear(config.d_model, config.d_inner)
        self.layer_2 = nn.Linear(config.d_inner, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.act = ACT2FN[config.ff_activation]

    def forward(self, inp):
        out = self.dropout(self.act(self.layer_1(inp)))
        return self.layer_norm(self.dropout(self.layer_2(out)) + inp)


class RankFoldLayer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.rel_attn = RelativeAttention(config)
        self.ff = FeedForward(config)

    def forward(self, h, r, mask):
        h, p = self.rel_attn(h, r, mask)
        return self.ff(h), p


class RankFoldPreTrainedModel(PreTrainedModel):
    config_class = RankFoldConfig
    base_model_prefix = "transformer"

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=self.config.initializer_range)
        elif isinstance(module, nn.LayerNorm):
            module.bias.data.zero_()
            module.weight.data.fill_(1.0)
        elif isinstance(module, RelativeAttention):
            for param in [module.q, module.k, module.v, module.o, module.r, module.r_r_bias, module.r_w_bias]:
                param.data.normal_(mean=0.0, std=self.config.initializer_range)


class RankFoldModel(RankFoldPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.d_model = config.d_model
        self.clamp_len = config.clamp_len
        self.word_embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.segment_embedding = nn.Embedding(3, config.d_model)
        self.layer = nn.ModuleList([RankFoldLayer(config) for _ in range(config.n_layer)])
        self.dropout = nn.Dropout(config.dropout)
        self.post_init()

    def get_input_embeddings(self):
        return self.word_embedding

    def set_input_embeddings(self, new_embeddings):
        self.word_embedding = new_embeddings

    @staticmethod
    def positional_embedding(pos_seq, inv_freq):
        sinusoid_inp = torch.einsum("i,d->id", pos_seq, inv_freq)
        return torch.cat([torch.sin(sinusoid_inp), torch.cos(sinusoid_inp)], dim=-1)

    def relative_positional_encoding(self, n, device):
        freq_seq = torch.arange(0, self.d_model, 2.0, dtype=torch.float, device=device)
        inv_freq = 1 / torch.pow(10000, (freq_seq / self.d_model))
        pos = torch.arange(n, -n, -1.0, dtype=torch.float, device=device)
        if self.clamp_len > 0:
            pos = pos.clamp(-self.clamp_len, self.clamp_len)
        return self.positional_embedding(pos, inv_freq)

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None, inputs_embeds=None, return_dict=None):
        h = self.word_embedding(input_ids) if inputs_embeds is None else inputs_embeds
        if token_type_ids is not None:
            h = h + self.segment_embedding(token_type_ids)
        n = h.shape[1]
        mask = None
        if attention_mask is not None:
            mask = (1.0 - attention_mask.to(h.dtype))[:, None, None, :]
            # a padded query may at least see itself
            eye = torch.eye(n, dtype=h.dtype, device=h.device)
            mask = ((mask - eye) > 0).to(h.dtype)
        r = self.dropout(self.relative_positional_encoding(n, h.device).to(h.dtype))
        h = self.dropout(h)
        hidden, attn = [], []
        for layer in self.layer:
            hidden.append(h)
            h, p = layer(h, r, mask)
            attn.append(p)
        return ModelOutput(last_hidden_state=self.dropout(h), hidden_states=tuple(hidden), attentions=tuple(attn))


class RankFoldForSequenceClassification(RankFoldPreTrainedModel):
    """score of a (query, document) pair; left padded inputs, the summary is the last token"""

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.transformer = RankFoldModel(config)
        self.sequence_summary = SequenceSummary(config)
        self.logits_proj = nn.Linear(config.d_model, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Optional[torch.Tensor] = None,
        attention_mask: Optional[torch.Tensor] = None,
        token_type_ids: Optional[torch.Tensor] = None,
        inputs_embeds: Optional[torch.Tensor] = None,
        labels: Optional[torch.Tensor] = None,
        return_dict: Optional[bool] = None,
    ) -> Union[Tuple, SequenceClassifierOutput]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        out = self.transformer(input_ids, attention_mask, token_type_ids, inputs_embeds)
        pooled = self.sequence_summary(out["last_hidden_state"])
        logits = self.logits_proj(pooled) * self.config.score_scale
        loss = None
        if labels is not None:
            if self.config.problem_type is None:
                if self.num_labels == 1:
                    self.config.problem_type = "regression"
                elif labels.dtype in (torch.long, torch.int):
                    self.config.problem_type = "single_label_classification"
                else:
                    self.config.problem_type = "multi_label_classification"
            if self.config.problem_type == "regression":
                loss = MSELoss()(logits.squeeze(), labels.squeeze())
            elif self.config.problem_type == "single_label_classification":
                loss = CrossEntropyLoss()(logits.view(-1, self.num_labels), labels.view(-1))
            else:
                loss = BCEWithLogitsLoss()(logits, labels)
        if not return_dict:
            return ((loss,) if loss is not None else ()) + (logits,)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    @torch.no_grad()
    def compute_score(self, sentence_pairs, tokenizer=None, batch_size=32, max_length=512, normalize=False):
        assert tokenizer is not None, "pass the tokenizer"
        if isinstance(sentence_pairs[0], str):
            sentence_pairs = [sentence_pairs]
        scores: List[float] = []
        self.eval()
        for i in range(0, len(sentence_pairs), batch_size):
            batch = sentence_pairs[i : i + batch_size]
            enc = tokenizer(batch, padding=True, truncation="only_second", max_length=max_length, return_tensors="pt")
            enc = {k: v.to(self.device) for k, v in enc.items()}
            s = self(**enc).logits.view(-1).float()
            if normalize:
                s = torch.sigmoid(s)
            scores.extend(s.cpu().tolist())
        return scores if len(scores) > 1 else scores[0]

    def rerank(self, query, docs, tokenizer, top_k=None):
        s = self.compute_score([[query, d] for d in docs], tokenizer)
        order = sorted(range(len(docs)), key=lambda i: -s[i])
        return [(docs[i], s[i]) for i in order[:top_k]]


class RankFoldForMultipleChoice(RankFoldPreTrainedModel):
    def __init__(self, config):
        super().__init__(config)
        self.transformer = RankFoldModel(config)
        self.sequence_summary = SequenceSummary(config)
        self.logits_proj = nn.Linear(config.d_model, 1)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, labels=None, **kwargs):
        num_choices = input_ids.shape[1]
        flat = input_ids.view(-1, input_ids.size(-1))
        flat_mask = attention_mask.view(-1, attention_mask.size(-1)) if attention_mask is not None else None
        out = self.transformer(flat, flat_mask)
        logits = self.logits_proj(self.sequence_summary(out[0])).view(-1, num_choices)
        loss = CrossEntropyLoss()(logits, labels.view(-1)) if labels is not None else None
        return MultipleChoiceModelOutput(loss=loss, logits=logits)
