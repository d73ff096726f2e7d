"""BERT written from the paper, with every head that has an Auto class.

- BERT: Pre-training of Deep Bidirectional Transformers, Devlin et al. 2018, https://arxiv.org/abs/1810.04805.
- Weight names are those of transformers' BERT, so a stock checkpoint loads without a conversion.
- Changed: a padded batch is computed on its real tokens only, and pads come back as zeros; the pooler reads the first
  real token, wherever padding is; attention can be sparse (attention_bert.py).
"""

import functools
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN
from transformers.modeling_outputs import (
    BaseModelOutput,
    BaseModelOutputWithPooling,
    MaskedLMOutput,
    MultipleChoiceModelOutput,
    NextSentencePredictorOutput,
    QuestionAnsweringModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.utils import ModelOutput

from .attention_bert import BERTAttention, Rows, additive, is_flash
from .configuration_bert import BERTConfig

IGNORED = -100  # the label of tokens that no loss counts


class BERTEmbeddings(nn.Module):
    """Sum of word, token type and position embeddings, normalised."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.config = config
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id)
        if config.position_embedding_type != "sinusoidal":
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(
        self,
        input_ids: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> Tensor:
        if inputs_embeds is None:
            if input_ids.dim() != 2:
                raise ValueError(f"input_ids has shape {tuple(input_ids.shape)}, should be (batch, tokens)")
            check_ids("input_ids", input_ids, self.word_embeddings.num_embeddings, "vocab_size")
            inputs_embeds = self.word_embeddings(input_ids)
        elif inputs_embeds.dim() != 3 or inputs_embeds.shape[2] != self.config.hidden_size:
            raise ValueError(
                f"inputs_embeds has shape {tuple(inputs_embeds.shape)}, should be (batch, tokens, "
                f"{self.config.hidden_size})"
            )
        tokens = inputs_embeds.shape[1]
        if tokens == 0:
            raise ValueError("a row has 0 tokens; give at least one, such as [CLS]")
        if token_type_ids is None:
            token_type_ids = torch.zeros(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device)
        check_places("token_type_ids", token_type_ids, inputs_embeds)
        check_ids(
            "token_type_ids", token_type_ids, self.config.type_vocab_size, "type_vocab_size",
            "leave them out for one kind of text",
        )  # fmt: skip
        embeddings = inputs_embeds + self.token_type_embeddings(token_type_ids)
        embeddings = embeddings + self.positions(position_ids, tokens, inputs_embeds)
        return self.dropout(self.LayerNorm(embeddings))  # (batch, tokens, hidden)

    def positions(self, position_ids: Tensor | None, tokens: int, like: Tensor) -> Tensor:
        longest, sinusoidal = self.config.max_position_embeddings, self.config.position_embedding_type == "sinusoidal"
        if position_ids is None:
            if tokens > longest and not sinusoidal:
                raise ValueError(
                    f"{tokens} tokens, but max_position_embeddings={longest}; tokenize with truncation=True, "
                    f"max_length={longest}, or use position_embedding_type='sinusoidal'"
                )
            position_ids = torch.arange(tokens, device=like.device)[None]
        check_places("position_ids", position_ids, like)
        if sinusoidal:
            return sinusoids(position_ids, like.shape[-1]).to(like.dtype)
        check_ids("position_ids", position_ids, longest, "max_position_embeddings", "count from 0 in each row")
        return self.position_embeddings(position_ids)


def sinusoids(position_ids: Tensor, width: int) -> Tensor:
    """Sines in the even places, cosines in the odd ones, wavelengths from 2 pi to 20,000 pi (Vaswani et al. 2017)."""
    even = torch.arange(0, width, 2, device=position_ids.device, dtype=torch.float32)
    angles = position_ids[..., None].float() * 10000.0 ** (-even / width)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)[..., :width]


def checkable(tensor: Tensor) -> bool:
    """Whether values may be looked at: not in a traced graph, and not where it would make a GPU wait."""
    return not (torch.compiler.is_compiling() or torch.jit.is_tracing()) and tensor.device.type == "cpu"


def check_places(name: str, ids: Tensor, hidden: Tensor) -> None:
    """Raise ValueError for ids that do not lie on the tokens: (batch, tokens), or one row for all."""
    if torch.compiler.is_compiling() or torch.jit.is_tracing():
        return  # where lengths are symbols, comparing would fix them
    batch, tokens = hidden.shape[:2]
    if tuple(ids.shape) not in ((batch, tokens), (1, tokens), (tokens,)):
        raise ValueError(f"{name} has shape {tuple(ids.shape)}, should be {(batch, tokens)}")


def check_ids(
    name: str, ids: Tensor, limit: int, field: str, cure: str = "use the tokenizer that this model was trained with"
) -> None:
    if ids.is_floating_point():
        raise ValueError(f"{name} are {ids.dtype}, but ids are integers; use {name}.long(), or inputs_embeds")
    if checkable(ids) and ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= limit):
        raise ValueError(
            f"{name} has values from {int(ids.min())} to {int(ids.max())}, but {field}={limit} allows 0 to "
            f"{limit - 1}; {cure}"
        )


def check_labels(labels: Tensor, shape: tuple[int, ...], classes: int, name: str = "labels") -> None:
    """Raise ValueError for class ids of another shape or range than the logits."""
    if tuple(labels.shape) != tuple(shape):
        raise ValueError(f"{name} has shape {tuple(labels.shape)}, should be {tuple(shape)}")
    if labels.is_floating_point():
        raise ValueError(f"{name} are {labels.dtype}, but classes are counted by integers; use labels.long()")
    if checkable(labels) and labels.numel():
        counted = labels[labels != IGNORED]
        if counted.numel() and (int(counted.min()) < 0 or int(counted.max()) >= classes):
            raise ValueError(
                f"{name} has values from {int(counted.min())} to {int(counted.max())}; the model has {classes} "
                f"classes, so use 0 to {classes - 1}, or {IGNORED} for what is not to be counted"
            )


def cross_entropy(logits: Tensor, labels: Tensor, kwargs: dict) -> Tensor:
    """Mean over the labels; over those of the whole optimiser step where Trainer gives num_items_in_batch."""
    items = kwargs.get("num_items_in_batch")
    logits, labels = logits.reshape(-1, logits.shape[-1]), labels.reshape(-1).long()  # not each integer is taken
    loss = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="mean" if items is None else "sum")
    return loss if items is None else loss / items


class BERTIntermediate(nn.Module):
    """First half of the feed-forward network."""

    def __init__(self, config: BERTConfig, activation: str):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[activation]

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.activation(self.dense(hidden_states))


class BERTOutput(nn.Module):
    """Second half of the feed-forward network, and the sum with what went in."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.dense = nn.Linear(config.intermediate_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + residual)


class BERTLayer(nn.Module):
    """Attention, then the feed-forward network."""

    def __init__(self, config: BERTConfig, layer_idx: int):
        super().__init__()
        self.attention = BERTAttention(config, layer_idx)
        self.intermediate = BERTIntermediate(config, config.per_layer("hidden_act")[layer_idx])
        self.output = BERTOutput(config)

    def forward(
        self,
        hidden_states: Tensor,
        bias: Tensor | None = None,
        keep: Tensor | None = None,
        rows: Rows | None = None,
        output_attentions: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        attended, weights = self.attention(
            hidden_states, bias=bias, keep=keep, rows=rows, output_attentions=output_attentions, **kwargs
        )
        return self.output(self.intermediate(attended), attended), weights


class BERTEncoder(nn.Module):
    """The stack of layers."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.layer = nn.ModuleList(BERTLayer(config, i) for i in range(config.num_hidden_layers))
        self.gradient_checkpointing = False

    def forward(
        self,
        hidden_states: Tensor,
        bias: Tensor | None = None,
        keep: Tensor | None = None,
        rows: Rows | None = None,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        **kwargs: Any,
    ) -> BaseModelOutput:
        states, attentions = [], []  # kept only when asked for: what is dropped at once is written again while warm
        for layer in self.layer:
            run = functools.partial(layer.__call__, **kwargs)
            # Below a trainable input there is nothing to save, and reentrant checkpointing would lose the gradient.
            if self.gradient_checkpointing and self.training and hidden_states.requires_grad:
                run = functools.partial(self._gradient_checkpointing_func, run)
            if output_hidden_states:
                states.append(hidden_states)
            hidden_states, weights = run(hidden_states, bias, keep, rows, output_attentions)
            attentions.append(weights)
        return BaseModelOutput(
            last_hidden_state=hidden_states,
            hidden_states=(*states, hidden_states) if output_hidden_states else None,
            attentions=tuple(attentions) if output_attentions else None,
        )


class BERTPooler(nn.Module):
    """One vector for a row: of its first real token, or of the mean of its real tokens."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.pooling = config.pooling
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states: Tensor, mask: Tensor | None = None) -> Tensor:
        """Pool (batch, tokens, hidden) to (batch, hidden); ``mask`` (batch, tokens) is true for real tokens."""
        if self.pooling == "mean":
            weights = hidden_states.new_ones(hidden_states.shape[:2]) if mask is None else mask.to(hidden_states.dtype)
            pooled = (hidden_states * weights[..., None]).sum(1) / weights.sum(1, keepdim=True).clamp(min=1)
        elif mask is None:
            pooled = hidden_states[:, 0]
        else:
            first = mask.int().argmax(1)[:, None, None].expand(-1, 1, hidden_states.shape[-1])
            pooled = hidden_states.gather(1, first)[:, 0]
        return torch.tanh(self.dense(pooled))


class Packing:
    """The real tokens of a padded batch in one line, rows of equal length together; and the way back."""

    def __init__(self, keep: Tensor):
        self.shape = keep.shape
        lengths = keep.sum(1)
        order = lengths.argsort(stable=True)
        rows, tokens = keep.shape
        places = torch.arange(rows * tokens, device=keep.device).view(rows, tokens)[order]
        self.places = places[keep[order]]  # (real tokens,) in the flat batch
        counts: dict[int, int] = {}
        for length in sorted(lengths.tolist()):
            counts[length] = counts.get(length, 0) + 1
        self.rows = Rows([(count, length) for length, count in counts.items() if length])

    def pack(self, x: Tensor) -> Tensor:
        return x.flatten(0, 1).index_select(0, self.places)[None]  # (1, real tokens, hidden)

    def unpack(self, x: Tensor) -> Tensor:
        flat = x.new_zeros(self.shape[0] * self.shape[1], x.shape[-1])
        return flat.index_copy(0, self.places, x[0]).view(*self.shape, -1)


class Compacting:
    """Rows with their real tokens first, which is where sparse attention looks for them; and the way back."""

    def __init__(self, keep: Tensor):
        self.keep, self.order = keep, (~keep).int().argsort(dim=1, stable=True)
        self.back = self.order.argsort(dim=1)

    def pack(self, x: Tensor) -> Tensor:
        return x.gather(1, self.order[..., None].expand_as(x))

    def unpack(self, x: Tensor) -> Tensor:
        return x.gather(1, self.back[..., None].expand_as(x)) * self.keep[..., None].to(x.dtype)

    def unpack_weights(self, x: Tensor) -> Tensor:  # (batch, heads, queries, keys)
        x = x.gather(2, self.back[:, None, :, None].expand_as(x))
        return x.gather(3, self.back[:, None, None, :].expand_as(x))


def check_spelling(use_flash_attention_2: bool) -> None:
    """Raise ValueError for what transformers called it up to 4.48."""
    if use_flash_attention_2:
        raise ValueError('use_flash_attention_2=True is now attn_implementation="flash_attention_2"')


class BERTPreTrainedModel(PreTrainedModel):
    """Initial weights and what the model and its heads support."""

    config_class = BERTConfig
    base_model_prefix = "bert"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _no_split_modules = ["BERTEmbeddings", "BERTLayer"]  # noqa: RUF012 (accelerate reads a list)
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flash_attn_2 = True  # the name up to transformers 4.52
    _supports_flex_attn = True
    _supports_attention_backend = True
    # what stock checkpoints hold beside the weights: a counter, and a second copy of a bias
    _keys_to_ignore_on_load_unexpected = [r"position_ids", r"predictions\.decoder\.bias"]  # noqa: RUF012

    @classmethod
    def from_pretrained(cls, *args: Any, use_flash_attention_2: bool = False, **kwargs: Any):
        check_spelling(use_flash_attention_2)
        return super().from_pretrained(*args, **kwargs)

    @classmethod
    def _from_config(cls, *args: Any, use_flash_attention_2: bool = False, **kwargs: Any):
        check_spelling(use_flash_attention_2)  # AutoModel.from_config comes here
        return super()._from_config(*args, **kwargs)

    def _init_weights(self, module: nn.Module) -> None:
        """Draw as BERT does: normal weights, zero biases, norms that do nothing, a padding embedding of zeros."""
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
            if module.padding_idx is not None and not getattr(module.weight, "_is_hf_initialized", False):
                nn.init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, BERTLMPredictionHead):
            nn.init.zeros_(module.bias)

    def wants_dict(self, return_dict: bool | None) -> bool:
        return getattr(self.config, "return_dict", True) if return_dict is None else return_dict


class BERTModel(BERTPreTrainedModel):
    """The encoder, with a pooler unless ``add_pooling_layer=False``."""

    def __init__(self, config: BERTConfig, add_pooling_layer: bool = True):
        super().__init__(config)
        config.check_architecture()
        self.embeddings = BERTEmbeddings(config)
        self.encoder = BERTEncoder(config)
        self.pooler = BERTPooler(config) if add_pooling_layer else None
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embeddings.word_embeddings = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling | tuple:
        """Encode tokens.

        Args:
            input_ids: (batch, tokens); or inputs_embeds (batch, tokens, hidden) in their place.
            attention_mask: (batch, tokens), 0 for padding; or (batch, 1 or heads, tokens, tokens), booleans that are
                true where a key is seen, or numbers to be added to the scores (floats are: 0 where a key is seen);
                or the same without the dimension of the heads.
            token_type_ids: (batch, tokens), which sentence a token is of.
            position_ids: (batch, tokens); counted from 0 at the row's left end by default.
            output_attentions: also return the weights of each layer, (batch, heads, tokens, tokens).
            output_hidden_states: also return the embeddings and each layer's output.
            return_dict: False for a plain tuple.
            kwargs: passed on to the attention function.

        Returns:
            last_hidden_state (batch, tokens, hidden), pooler_output (batch, hidden), hidden_states, attentions. Where
            padding was left out (unpad_inputs, sparse attention), states of padding are zeros.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds, and not both")
        if output_attentions is None:
            output_attentions = bool(getattr(self.config, "output_attentions", False))
        if output_hidden_states is None:
            output_hidden_states = bool(getattr(self.config, "output_hidden_states", False))
        hidden = self.embeddings(input_ids, token_type_ids, position_ids, inputs_embeds)
        keep, bias = self.read_mask(attention_mask, hidden)
        layout = self.layout(keep, output_attentions)
        if isinstance(layout, Packing):
            packed = {"rows": layout.rows}
        elif layout is not None:
            compact = torch.arange(keep.shape[1], device=keep.device) < keep.sum(1, keepdim=True)
            packed = {"keep": compact, "bias": additive(compact, hidden.dtype)[:, None, None]}
        else:
            packed = {"keep": keep, "bias": bias}
        encoded = self.encoder(
            hidden if layout is None else layout.pack(hidden),
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            **packed,
            **kwargs,
        )
        last, states, attentions = encoded.last_hidden_state, encoded.hidden_states, encoded.attentions
        if isinstance(layout, Compacting) and attentions:
            attentions = tuple(layout.unpack_weights(weights) for weights in attentions)
        if layout is not None:
            last = layout.unpack(last)
            states = tuple(layout.unpack(state) for state in states) if states else None
        output = BaseModelOutputWithPooling(
            last_hidden_state=last,
            pooler_output=None if self.pooler is None else self.pooler(last, keep),
            hidden_states=states,
            attentions=attentions,
        )
        return output if self.wants_dict(return_dict) else output.to_tuple()

    def read_mask(self, mask: Tensor | None, hidden: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """The real tokens (batch, tokens), where they are known and not all, and what is added to the scores."""
        batch, tokens = hidden.shape[:2]
        if mask is None:
            return None, None
        if mask.dim() == 2:
            if tuple(mask.shape) != (batch, tokens):
                raise ValueError(f"attention_mask has shape {tuple(mask.shape)}, should be {(batch, tokens)}")
            keep = mask != 0
            if not (torch.compiler.is_compiling() or torch.jit.is_tracing() or keep.is_meta) and bool(keep.all()):
                return None, None
            return keep, additive(keep, hidden.dtype)[:, None, None]  # (batch, 1, 1, keys)
        mask = mask[:, None] if mask.dim() == 3 else mask
        if mask.dim() != 4:
            raise ValueError(f"attention_mask has {mask.dim()} dimensions; use (batch, tokens), or 4 dimensions")
        fits = (batch, self.config.num_attention_heads, tokens, tokens)
        if not (torch.compiler.is_compiling() or torch.jit.is_tracing()) and any(
            size not in (1, wanted) for size, wanted in zip(mask.shape, fits, strict=True)
        ):
            raise ValueError(f"attention_mask has shape {tuple(mask.shape)}, should be {fits}, or 1 for a size")
        return None, mask.to(hidden.dtype) if mask.is_floating_point() else additive(mask != 0, hidden.dtype)

    def layout(self, keep: Tensor | None, output_attentions: bool) -> Packing | Compacting | None:
        """How the rows are laid out inside the encoder."""
        if keep is None:
            return None
        kinds, implementation = set(self.config.per_layer("attention_type")), self.config._attn_implementation
        compiling = torch.compiler.is_compiling() or torch.jit.is_tracing() or keep.is_meta
        known = implementation in (None, "eager", "sdpa") or is_flash(implementation)
        if self.config.unpad_inputs and known and not compiling and not output_attentions:
            return Packing(keep) if bool(keep.any()) else Compacting(keep)  # no real token: all states are zeros
        return Compacting(keep) if kinds != {"full"} else None


@dataclass
class BERTForPreTrainingOutput(ModelOutput):
    """loss (), prediction_logits (batch, tokens, vocabulary), seq_relationship_logits (batch, 2)."""

    loss: Tensor | None = None
    prediction_logits: Tensor | None = None
    seq_relationship_logits: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class BERTPredictionHeadTransform(nn.Module):
    """What a token's state goes through before the vocabulary."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.activation = ACT2FN[config.per_layer("hidden_act")[-1]]
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: Tensor) -> Tensor:
        return self.LayerNorm(self.activation(self.dense(hidden_states)))


class BERTWordDecoder(nn.Linear):
    """A layer that is handed its bias: added in one operation, as BERT does, and kept by the head."""

    def forward(self, hidden_states: Tensor, bias: Tensor | None = None) -> Tensor:
        return F.linear(hidden_states, self.weight, bias)


class BERTLMPredictionHead(nn.Module):
    """Scores for each word of the vocabulary; the decoder is tied to the word embeddings, the bias is its own."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.transform = BERTPredictionHeadTransform(config)
        self.decoder = BERTWordDecoder(config.hidden_size, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden_states: Tensor) -> Tensor:
        hidden_states = self.transform(hidden_states)
        if isinstance(self.decoder, BERTWordDecoder):
            return self.decoder(hidden_states, self.bias)  # called: that is when device_map brings a layer's weights
        return self.decoder(hidden_states) + self.bias  # somebody's own layer, quantized or with an adapter


class BERTHeads(nn.Module):
    """The heads of pre-training under BERT's names: predictions, seq_relationship, or both."""

    def __init__(self, config: BERTConfig, words: bool, sentences: bool):
        super().__init__()
        if words:
            self.predictions = BERTLMPredictionHead(config)
        if sentences:
            self.seq_relationship = nn.Linear(config.hidden_size, 2)


class BERTWithVocabulary(BERTPreTrainedModel):
    """What the two models with a vocabulary head share."""

    _no_split_modules = ["BERTEmbeddings", "BERTLayer", "BERTLMPredictionHead"]  # noqa: RUF012
    _tied_weights_keys = {"cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight"}  # noqa: RUF012

    def mark_tied_weights_as_initialized(self, *args: Any) -> None:
        """Part of loading in transformers 5; 5.3 takes tied weights of remote code for loaded, and forgets them."""
        super().mark_tied_weights_as_initialized(*args)
        for missing in (getattr(info, "missing_keys", None) for info in args):
            if isinstance(missing, set) and self.cls.predictions.decoder.weight.is_meta:
                missing.add("cls.predictions.decoder.weight")

    def get_output_embeddings(self) -> nn.Module:
        return self.cls.predictions.decoder

    def set_output_embeddings(self, value: nn.Module) -> None:
        if type(value) is nn.Linear and value.bias is None:  # what resize_token_embeddings makes
            decoder = BERTWordDecoder(value.in_features, value.out_features, bias=False, device="meta")
            decoder.weight = value.weight
            value = decoder
        self.cls.predictions.decoder = value

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Module:
        """Resize the embeddings, the tied decoder, and the bias, which gets zeros for new words."""
        embeddings = super().resize_token_embeddings(*args, **kwargs)
        head, words = self.cls.predictions, embeddings.weight.shape[0]
        if len(head.bias) != words:
            bias = F.pad(head.bias.detach(), (0, words - len(head.bias)))
            head.bias = nn.Parameter(bias, requires_grad=head.bias.requires_grad)
        return embeddings


class BERTForPreTraining(BERTWithVocabulary):
    """Both of BERT's pre-training tasks: masked words and next sentence."""

    accepts_loss_kwargs = False  # the mean of two losses over different numbers of labels

    def __init__(self, config: BERTConfig):
        super().__init__(config)
        self.bert = BERTModel(config)
        self.cls = BERTHeads(config, words=True, sentences=True)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        next_sentence_label: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BERTForPreTrainingOutput | tuple:
        """Score words and sentence pairs; arguments as in BERTModel.

        Args:
            labels: (batch, tokens) word ids, -100 where none is to be predicted.
            next_sentence_label: (batch,), 0 where the second sentence follows the first.
        """
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        words = self.cls.predictions(encoded.last_hidden_state)  # (batch, tokens, vocabulary)
        pairs = self.cls.seq_relationship(encoded.pooler_output)  # (batch, 2)
        loss = None
        if labels is not None and next_sentence_label is not None:
            check_labels(labels, words.shape[:2], words.shape[2])
            check_labels(next_sentence_label, pairs.shape[:1], 2, "next_sentence_label")
            loss = cross_entropy(words, labels, {}) + cross_entropy(pairs, next_sentence_label, {})
        output = BERTForPreTrainingOutput(loss, words, pairs, encoded.hidden_states, encoded.attentions)
        return output if self.wants_dict(return_dict) else output.to_tuple()


class BERTForMaskedLM(BERTWithVocabulary):
    """Predicts masked words."""

    def __init__(self, config: BERTConfig):
        super().__init__(config)
        self.bert = BERTModel(config, add_pooling_layer=False)
        self.cls = BERTHeads(config, words=True, sentences=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> MaskedLMOutput | tuple:
        """Score words, (batch, tokens, vocabulary); arguments as in BERTModel.

        Args:
            labels: (batch, tokens) word ids, -100 where none is to be predicted.
        """
        loss_kwargs = {"num_items_in_batch": kwargs.pop("num_items_in_batch", None)}
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        logits, loss = self.cls.predictions(encoded.last_hidden_state), None
        if labels is not None:
            check_labels(labels, logits.shape[:2], logits.shape[2])
            loss = cross_entropy(logits, labels, loss_kwargs)
        output = MaskedLMOutput(loss, logits, encoded.hidden_states, encoded.attentions)
        return output if self.wants_dict(return_dict) else output.to_tuple()


class BERTForNextSentencePrediction(BERTPreTrainedModel):
    """Says whether the second sentence follows the first."""

    def __init__(self, config: BERTConfig):
        super().__init__(config)
        self.bert = BERTModel(config)
        self.cls = BERTHeads(config, words=False, sentences=True)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> NextSentencePredictorOutput | tuple:
        """Score pairs, (batch, 2); arguments as in BERTModel.

        Args:
            labels: (batch,), 0 where the second sentence follows the first, 1 where it does not.
        """
        loss_kwargs = {"num_items_in_batch": kwargs.pop("num_items_in_batch", None)}
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        logits, loss = self.cls.seq_relationship(encoded.pooler_output), None
        if labels is not None:
            check_labels(labels, logits.shape[:1], 2)
            loss = cross_entropy(logits, labels, loss_kwargs)
        output = NextSentencePredictorOutput(loss, logits, encoded.hidden_states, encoded.attentions)
        return output if self.wants_dict(return_dict) else output.to_tuple()


class BERTClassifier(BERTPreTrainedModel):
    """What the models with a linear classifier share."""

    def build(self, config: BERTConfig, classes: int, pooled: bool) -> None:
        self.num_labels = config.num_labels
        rate = config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout
        self.bert = BERTModel(config, add_pooling_layer=pooled)
        self.dropout = nn.Dropout(rate)
        self.classifier = nn.Linear(config.hidden_size, classes)


class BERTForSequenceClassification(BERTClassifier):
    """Classifies a text or a pair: one label, several labels, or a regression."""

    def __init__(self, config: BERTConfig):
        super().__init__(config)
        self.build(config, config.num_labels, pooled=True)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> SequenceClassifierOutput | tuple:
        """Classify, logits (batch, num_labels); arguments as in BERTModel.

        Args:
            labels: class ids (batch,); or 0 and 1 as floats (batch, num_labels) for several labels; or targets
                (batch,) with one label, (batch, num_labels) otherwise, of a regression. config.problem_type decides
                where it is set.
        """
        items = kwargs.pop("num_items_in_batch", None)
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        logits = self.classifier(self.dropout(encoded.pooler_output))
        output = SequenceClassifierOutput(
            None if labels is None else self.loss(logits, labels, items),
            logits,
            encoded.hidden_states,
            encoded.attentions,
        )
        return output if self.wants_dict(return_dict) else output.to_tuple()

    def loss(self, logits: Tensor, labels: Tensor, items: Tensor | int | None) -> Tensor:
        kind = self.problem_type(labels)
        if kind == "single_label_classification":
            check_labels(labels, logits.shape[:1], logits.shape[1])
            return cross_entropy(logits, labels, {"num_items_in_batch": items})
        alone = logits.shape[1] == 1 and labels.dim() == 1  # a regression's targets are often given in one line
        if tuple(labels.shape) != tuple(logits.shape[:1] if alone else logits.shape):
            raise ValueError(
                f"labels has shape {tuple(labels.shape)}, should be {tuple(logits.shape)} for problem_type={kind!r}"
            )
        measure = F.mse_loss if kind == "regression" else F.binary_cross_entropy_with_logits
        targets = labels.view_as(logits).to(logits.dtype)
        loss = measure(logits, targets, reduction="mean" if items is None else "sum")
        return loss if items is None else loss / items

    def problem_type(self, labels: Tensor) -> str:
        """config.problem_type, or what the labels look like. Never stored: one odd batch must not bind the rest."""
        if self.config.problem_type is not None:
            return self.config.problem_type
        if self.config.num_labels == 1:
            return "regression"
        return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"


class BERTForMultipleChoice(BERTClassifier):
    """Chooses among several continuations."""

    def __init__(self, config: BERTConfig):
        super().__init__(config)
        self.build(config, 1, pooled=True)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> MultipleChoiceModelOutput | tuple:
        """Score choices, logits (batch, choices); inputs are BERTModel's, (batch, choices, tokens).

        Args:
            labels: (batch,), the right choice.
        """
        loss_kwargs = {"num_items_in_batch": kwargs.pop("num_items_in_batch", None)}
        given = input_ids if input_ids is not None else inputs_embeds
        if given is None or given.dim() < 3:
            raise ValueError("multiple choice takes inputs of shape (batch, choices, tokens); stack the choices")
        flat = [
            None if x is None else x.flatten(0, 1)
            for x in (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        ]
        encoded = self.bert(*flat, return_dict=True, **kwargs)
        logits = self.classifier(self.dropout(encoded.pooler_output)).view(*given.shape[:2])
        loss = None
        if labels is not None:
            check_labels(labels, logits.shape[:1], logits.shape[1])
            loss = cross_entropy(logits, labels, loss_kwargs)
        output = MultipleChoiceModelOutput(loss, logits, encoded.hidden_states, encoded.attentions)
        return output if self.wants_dict(return_dict) else output.to_tuple()


class BERTForTokenClassification(BERTClassifier):
    """Classifies each token."""

    def __init__(self, config: BERTConfig):
        super().__init__(config)
        self.build(config, config.num_labels, pooled=False)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> TokenClassifierOutput | tuple:
        """Classify tokens, logits (batch, tokens, num_labels); arguments as in BERTModel.

        Args:
            labels: (batch, tokens) class ids, -100 where a token is not to be counted.
        """
        loss_kwargs = {"num_items_in_batch": kwargs.pop("num_items_in_batch", None)}
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        logits, loss = self.classifier(self.dropout(encoded.last_hidden_state)), None
        if labels is not None:
            check_labels(labels, logits.shape[:2], logits.shape[2])
            loss = cross_entropy(logits, labels, loss_kwargs)
        output = TokenClassifierOutput(loss, logits, encoded.hidden_states, encoded.attentions)
        return output if self.wants_dict(return_dict) else output.to_tuple()


class BERTForQuestionAnswering(BERTPreTrainedModel):
    """Finds the first and the last token of an answer."""

    accepts_loss_kwargs = False  # the mean of two losses

    def __init__(self, config: BERTConfig):
        super().__init__(config)
        self.bert = BERTModel(config, add_pooling_layer=False)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        start_positions: Tensor | None = None,
        end_positions: Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> QuestionAnsweringModelOutput | tuple:
        """Score places, start_logits and end_logits (batch, tokens); arguments as in BERTModel.

        Args:
            start_positions: (batch,), the answer's first token; beyond the tokens where it was truncated away.
            end_positions: (batch,), its last token.
        """
        encoded = self.bert(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds, return_dict=True, **kwargs
        )
        start, end = (x.contiguous() for x in self.qa_outputs(encoded.last_hidden_state).unbind(-1))
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = (self.place_loss(start, start_positions) + self.place_loss(end, end_positions)) / 2
        output = QuestionAnsweringModelOutput(loss, start, end, encoded.hidden_states, encoded.attentions)
        return output if self.wants_dict(return_dict) else output.to_tuple()

    def place_loss(self, logits: Tensor, places: Tensor) -> Tensor:
        places = places.squeeze(-1) if places.dim() > 1 else places
        if tuple(places.shape) != (len(logits),):
            raise ValueError(f"positions have shape {tuple(places.shape)}, should be {(len(logits),)}")
        tokens = logits.shape[1]  # answers beyond it are not counted
        return F.cross_entropy(logits, places.long().clamp(0, tokens), ignore_index=tokens)


BERTModel.register_for_auto_class("AutoModel")
BERTForPreTraining.register_for_auto_class("AutoModelForPreTraining")
BERTForMaskedLM.register_for_auto_class("AutoModelForMaskedLM")
BERTForNextSentencePrediction.register_for_auto_class("AutoModelForNextSentencePrediction")
BERTForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
BERTForMultipleChoice.register_for_auto_class("AutoModelForMultipleChoice")
BERTForTokenClassification.register_for_auto_class("AutoModelForTokenClassification")
BERTForQuestionAnswering.register_for_auto_class("AutoModelForQuestionAnswering")
