from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput
from transformers.modeling_utils import PreTrainedModel

from .configuration_knell import KnellConfig
from .conformer import ConformerLayer, ConvSubsampling, RelPositionalEncoding, RelPositionAttention

try:
    import torchaudio
except Exception:
    torchaudio = None


class KnellFrontend:
    """Log-mel features for people without our toolkit. Not a module and not saved."""

    def __init__(self, num_mel_bins=80, sample_rate=16000):
        self.num_mel_bins = num_mel_bins
        self.sample_rate = sample_rate

    def __call__(self, wav: torch.Tensor) -> torch.Tensor:
        if torchaudio is None:
            raise ImportError("torchaudio is needed for the front end")
        feats = torchaudio.compliance.kaldi.fbank(
            wav.unsqueeze(0) * (1 << 15), num_mel_bins=self.num_mel_bins, sample_frequency=self.sample_rate, dither=0.0
        )
        return (feats - feats.mean(0)) / (feats.std(0) + 1e-5)


class KnellPreTrainedModel(PreTrainedModel):
    config_class = KnellConfig
    base_model_prefix = "encoder"
    main_input_name = "input_features"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ConformerLayer"]

    def _init_weights(self, module):
        std = self.config.initializer_range
        if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
            nn.init.normal_(module.weight, mean=0.0, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, (nn.LayerNorm, nn.BatchNorm1d)):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
            if isinstance(module, nn.BatchNorm1d):
                nn.init.zeros_(module.running_mean)
                nn.init.ones_(module.running_var)
        elif isinstance(module, RelPositionAttention):
            nn.init.xavier_uniform_(module.pos_bias_u)
            nn.init.xavier_uniform_(module.pos_bias_v)

    def _get_feat_extract_output_lengths(self, lengths):
        return ConvSubsampling.out_len(lengths)


class KnellModel(KnellPreTrainedModel):
    def __init__(self, config: KnellConfig):
        super().__init__(config)
        self.subsampling = ConvSubsampling(config.num_mel_bins, config.subsampling_channels, config.d_model)
        self.pos_enc = RelPositionalEncoding(config.d_model, config.xscale)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList([ConformerLayer(config) for _ in range(config.num_layers)])
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self):
        return None

    def freeze_subsampling(self):
        for p in self.subsampling.parameters():
            p.requires_grad = False

    def forward(
        self,
        input_features: torch.FloatTensor,
        attention_mask: Optional[torch.Tensor] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> Union[Tuple, BaseModelOutput]:
        if attention_mask is None:
            lengths = torch.full((input_features.shape[0],), input_features.shape[1], device=input_features.device)
        else:
            lengths = attention_mask.sum(-1)
            input_features = input_features * attention_mask.unsqueeze(-1).to(input_features.dtype)
        x, lengths = self.subsampling(input_features, lengths)
        mask = torch.arange(x.shape[1], device=x.device)[None, :] < lengths[:, None]
        x, pos_emb = self.pos_enc(x)
        x, pos_emb = self.dropout(x), self.dropout(pos_emb)

        hidden_states, attentions = [], []
        for layer in self.layers:
            if self.training and self.config.layerdrop > 0 and torch.rand(()) < self.config.layerdrop:
                continue
            hidden_states.append(x)
            if self.gradient_checkpointing and self.training:
                x, w = torch.utils.checkpoint.checkpoint(layer, x, pos_emb, mask, use_reentrant=False)
            else:
                x, w = layer(x, pos_emb, mask)
            attentions.append(w)
        hidden_states.append(x)
        out = BaseModelOutput(
            last_hidden_state=x,
            hidden_states=tuple(hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )
        return out.to_tuple() if return_dict is False else out


class KnellForCTC(KnellPreTrainedModel):
    def __init__(self, config: KnellConfig):
        super().__init__(config)
        self.encoder = KnellModel(config)
        self.ctc_head = nn.Linear(config.d_model, config.vocab_size)
        self.inter_heads = nn.ModuleDict(
            {str(i): nn.Linear(config.d_model, config.vocab_size) for i in config.intermediate_ctc_layers}
        )
        self.post_init()

    def _ctc(self, logits, labels, lengths):
        labels_mask = labels >= 0
        target_lengths = labels_mask.sum(-1)
        log_probs = F.log_softmax(logits, dim=-1, dtype=torch.float32).transpose(0, 1)
        with torch.backends.cudnn.flags(enabled=False):
            return F.ctc_loss(
                log_probs,
                labels.masked_select(labels_mask),
                lengths,
                target_lengths,
                blank=self.config.blank_token_id,
                reduction=self.config.ctc_loss_reduction,
                zero_infinity=self.config.ctc_zero_infinity,
            )

    def forward(
        self,
        input_features: torch.FloatTensor,
        attention_mask: Optional[torch.Tensor] = None,
        labels: Optional[torch.Tensor] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
        **kwargs,
    ) -> Union[Tuple, CausalLMOutput]:
        need_states = output_hidden_states or len(self.inter_heads) > 0
        outputs = self.encoder(
            input_features,
            attention_mask=attention_mask,
            output_attentions=output_attentions,
            output_hidden_states=need_states,
        )
        logits = self.ctc_head(outputs.last_hidden_state)
        loss = None
        if labels is not None:
            if attention_mask is None:
                attention_mask = torch.ones(input_features.shape[:2], dtype=torch.long, device=input_features.device)
            lengths = self._get_feat_extract_output_lengths(attention_mask.sum(-1))
            loss = self._ctc(logits, labels, lengths)
            for i, head in self.inter_heads.items():
                loss = loss + 0.3 * self._ctc(head(outputs.hidden_states[int(i)]), labels, lengths)
        if return_dict is False:
            return (loss, logits) if loss is not None else (logits,)
        return CausalLMOutput(
            loss=loss,
            logits=logits,
            hidden_states=outputs.hidden_states if output_hidden_states else None,
            attentions=outputs.attentions,
        )

    @torch.no_grad()
    def greedy_decode(self, input_features, attention_mask=None) -> List[List[int]]:
        self.eval()
        ids = self(input_features, attention_mask).logits.argmax(-1)
        hyps = []
        for i, row in enumerate(ids):
            n = len(row) if attention_mask is None else int(self._get_feat_extract_output_lengths(attention_mask[i].sum()))
            row = torch.unique_consecutive(row[:n]).tolist()
            hyps.append([t for t in row if t != self.config.blank_token_id])
        return hyps
