"""A sentiment analyzer: word embeddings, a bidirectional LSTM, and a linear classifier.

- Papers: Hochreiter and Schmidhuber 1997 (LSTM, https://doi.org/10.1162/neco.1997.9.8.1735), Graves and
  Schmidhuber 2005 (both directions, https://doi.org/10.1016/j.neunet.2005.06.042); the learned mixture is that of
  Yang et al. 2016 (https://aclanthology.org/N16-1174).
- Padding is never read: a row gives the same logits alone, padded left or right, or with holes in its mask, but for
  rounding. A row without a token gives those of features that are zero.
- A direction that starts at a row's own first token, or last, has read all of it before it meets padding. Where most
  of a batch is padding, and on GPUs, the real steps are packed. torch.export (strict=False) gives a graph for any
  number of rows and one number of tokens, torch.jit.trace one for any; torch.compile leaves the LSTMs as they are, so
  fullgraph=True is refused.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPooling, SequenceClassifierOutput

from .configuration_sentiment import SentimentConfig

IGNORED = -100  # the label of rows that no loss counts
PACKED_BELOW = 0.25  # part of a batch on a CPU that is not padding: benchmarks/sentiment.py


class SentimentLayer(nn.Module):
    """An LSTM in each direction, side by side."""

    def __init__(self, inputs: int, hidden_dim: int):
        super().__init__()
        self.forwards = nn.LSTM(inputs, hidden_dim, batch_first=True)
        self.backwards = nn.LSTM(inputs, hidden_dim, batch_first=True)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Read the rows' tokens, which come first in (batch, tokens, inputs); lengths (batch,) says how many.

        Returns:
            (batch, tokens, 2 * hidden_dim), forwards then backwards; what lies behind a row's tokens has no meaning.
        """
        backwards = run(self.backwards, turned(x, lengths), lengths)
        return torch.cat([run(self.forwards, x, lengths), turned(backwards, lengths)], dim=-1)


def run(lstm: nn.LSTM, x: Tensor, lengths: Tensor) -> Tensor:
    """One direction, from each row's first step on: it has read all tokens before it comes to padding."""
    if not is_packed(x, lengths):
        return lstm(x)[0]
    # length 0 is refused: such a row is run on one step of padding, which nobody reads
    packed = pack_padded_sequence(x, lengths.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=x.shape[1])[0]


def is_packed(x: Tensor, lengths: Tensor) -> bool:
    """Whether to skip the padding: on GPUs, and where it pays on a CPU (benchmarks/sentiment.py).

    There torch takes a packed batch apart step by step, in training at a cost that grows with their square.
    """
    if is_exported():
        return False
    return x.device.type != "cpu" or (
        not torch.is_grad_enabled() and bool(lengths.sum() < PACKED_BELOW * lengths.numel() * x.shape[1])
    )


def is_exported() -> bool:
    """Whether a graph is made that lengths must not be fixed in; torch.compile leaves the LSTMs out of its graphs."""
    exporting = torch.compiler.is_compiling() and not torch.compiler.is_dynamo_compiling()
    return exporting or torch.jit.is_tracing()


def turned(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse the first `lengths` steps of each row of (batch, tokens, features); the rest stays in its place."""
    steps = torch.arange(x.shape[1], device=x.device)
    last = lengths[:, None] - 1 - steps
    return x.gather(1, torch.where(last >= 0, last, steps)[..., None].expand_as(x))


class SentimentEncoder(nn.Module):
    """Layers one upon another."""

    def __init__(self, config: SentimentConfig):
        super().__init__()
        widths = [config.embedding_dim, *[2 * config.hidden_dim] * (config.num_layers - 1)]
        self.layers = nn.ModuleList(SentimentLayer(width, config.hidden_dim) for width in widths)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, lengths: Tensor) -> list[Tensor]:
        """Return the output of each layer, (batch, tokens, 2 * hidden_dim), for (batch, tokens, embedding_dim)."""
        return self.stack(x, lengths) if is_exported() else self.untraced(x, lengths)

    def stack(self, x: Tensor, lengths: Tensor) -> list[Tensor]:
        states: list[Tensor] = []
        for layer in self.layers:
            states.append(layer(self.dropout(states[-1]) if states else x, lengths))
        return states

    @torch.compiler.disable
    def untraced(self, x: Tensor, lengths: Tensor) -> list[Tensor]:
        return self.stack(x, lengths)


class SentimentPooler(nn.Module):
    """One vector of features from the states of a row's tokens; zeros for a row that has none."""

    def __init__(self, config: SentimentConfig):
        super().__init__()
        self.pooling = config.pooling
        if self.pooling == "attention":
            self.score = nn.Linear(2 * config.hidden_dim, 1, bias=False)  # a bias would cancel in the softmax

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """
        Args:
            states: (batch, tokens, 2 * hidden_dim), each row's tokens first.
            lengths: tokens of each row, (batch,).

        Returns:
            (batch, 2 * hidden_dim)
        """
        keep = (torch.arange(states.shape[1], device=states.device) < lengths[:, None])[
            ..., None
        ]  # (batch, tokens, 1)
        match self.pooling:
            case "last":  # where each direction has read everything
                forwards, backwards = states.chunk(2, dim=-1)
                last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, 1, forwards.shape[-1])
                pooled = torch.cat([forwards.gather(1, last)[:, 0], backwards[:, 0]], dim=-1)
            case "mean":
                pooled = states.where(keep, 0).sum(1) / lengths.clamp(min=1)[:, None]
            case "max":
                pooled = states.masked_fill(~keep, torch.finfo(states.dtype).min).amax(1)
            case "attention":
                scores = self.score(states).masked_fill(~keep, torch.finfo(states.dtype).min)  # (batch, tokens, 1)
                pooled = (scores.softmax(1) * states.where(keep, 0)).sum(1)
        return pooled.where(lengths[:, None] > 0, 0)


class SentimentPreTrainedModel(PreTrainedModel):
    """Initial weights, and what both models support."""

    config_class = SentimentConfig
    base_model_prefix = "sentiment"
    main_input_name = "input_ids"
    _no_split_modules = ["SentimentEncoder"]  # noqa: RUF012 (accelerate reads a list)

    def _init_weights(self, module: nn.Module) -> None:
        """Uniform as torch draws them; embeddings of about length 1, which rare words keep, and padding at zero."""
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5)
            if module.padding_idx is not None and not getattr(module.weight, "_is_hf_initialized", False):
                nn.init.zeros_(module.weight[module.padding_idx])
        elif isinstance(module, (nn.LSTM, nn.Linear)):
            bound = (module.hidden_size if isinstance(module, nn.LSTM) else module.in_features) ** -0.5
            for parameter in module.parameters(recurse=False):
                nn.init.uniform_(parameter, -bound, bound)

    def wants_dict(self, return_dict: bool | None) -> bool:
        return getattr(self.config, "return_dict", True) if return_dict is None else return_dict


class SentimentModel(SentimentPreTrainedModel):
    """Embeddings, the LSTM and its pooled features."""

    def __init__(self, config: SentimentConfig):
        super().__init__(config)
        config.check_architecture()
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_dim, padding_idx=config.pad_token_id)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = SentimentEncoder(config)
        self.pooler = SentimentPooler(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.embedding = value

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> BaseModelOutputWithPooling | tuple:
        """Read each row in both directions.

        Args:
            input_ids: (batch, tokens).
            attention_mask: (batch, tokens), 0 where there is padding, on either side or between. Without it, what is
                config.pad_token_id in input_ids is padding, and nothing is in inputs_embeds.
            token_type_ids: taken as tokenizers make them, and not read.
            inputs_embeds: (batch, tokens, embedding_dim), instead of input_ids.
            output_hidden_states: also return the embeddings and each layer's output.
            return_dict: False for a plain tuple.

        Returns:
            last_hidden_state (batch, tokens, 2 * hidden_dim), zero at padding; pooler_output (batch, 2 * hidden_dim);
            hidden_states when asked for.

        Raises:
            ValueError: ids outside the vocabulary, or a mask of another shape.
        """
        keep = self.real(input_ids, attention_mask, inputs_embeds)  # (batch, tokens)
        lengths = keep.sum(1)
        # tokens first, in their order: no two places are equal, as ONNX has no stable sort
        places = torch.arange(keep.shape[1], device=keep.device)
        order = (places - keep.shape[1] * keep.long()).argsort(dim=1)
        if inputs_embeds is None:
            embedded = self.embedding(input_ids.gather(1, order))
        else:
            embedded = inputs_embeds.gather(1, order[..., None].expand_as(inputs_embeds))
        x = self.dropout(embedded)  # (batch, tokens, embedding_dim)
        if x.numel():
            states = self.encoder(x, lengths)
            pooled = self.pooler(states[-1], lengths)
        else:  # no row, or none with a token: LSTMs refuse both
            states = [x.new_zeros(*keep.shape, 2 * self.config.hidden_dim)] * self.config.num_layers
            pooled = x.new_zeros(len(keep), 2 * self.config.hidden_dim)
        back = order.argsort(dim=1)
        wanted = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        placed = [in_place(state, back, keep) for state in ([x, *states] if wanted else states[-1:])]
        output = BaseModelOutputWithPooling(
            last_hidden_state=placed[-1],
            pooler_output=pooled,
            hidden_states=tuple(placed) if wanted else None,
        )
        return output if self.wants_dict(return_dict) else output.to_tuple()

    def real(self, input_ids: Tensor | None, mask: Tensor | None, inputs_embeds: Tensor | None) -> Tensor:
        """Where the tokens are that count, (batch, tokens), checked."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give one of input_ids (batch, tokens) and inputs_embeds (batch, tokens, embedding_dim)")
        if inputs_embeds is None:
            check_ids(input_ids, self.config.vocab_size)
            shape, pad = input_ids.shape, self.config.pad_token_id
            default = torch.ones_like(input_ids, dtype=torch.bool) if pad is None else input_ids != pad
        else:
            if inputs_embeds.dim() != 3 or inputs_embeds.shape[2] != self.config.embedding_dim:
                told = f"inputs_embeds has shape {tuple(inputs_embeds.shape)}"
                raise ValueError(f"{told}, should be (batch, tokens, {self.config.embedding_dim})")
            shape, default = inputs_embeds.shape[:2], inputs_embeds.new_ones(inputs_embeds.shape[:2], dtype=torch.bool)
        if mask is None:
            return default
        if mask.shape != shape:
            raise ValueError(
                f"attention_mask has shape {tuple(mask.shape)}, should be {tuple(shape)}; 1 for a token, 0 for padding"
            )
        return mask > 0


def in_place(states: Tensor, back: Tensor, keep: Tensor) -> Tensor:
    """Undo the order of a row's tokens; zeros at padding."""
    return states.gather(1, back[..., None].expand_as(states)).where(keep[..., None], 0)


def checkable(tensor: Tensor) -> bool:
    """Whether values may be looked at: not in a traced graph, and not where it would make a GPU wait."""
    return not (torch.compiler.is_compiling() or torch.jit.is_tracing()) and tensor.device.type == "cpu"


def check_ids(ids: Tensor, limit: int) -> None:
    if ids.dtype not in (torch.int32, torch.int64) or ids.dim() != 2:
        raise ValueError(f"input_ids are {ids.dtype} of shape {tuple(ids.shape)}, should be int64 (batch, tokens)")
    if checkable(ids) and ids.numel() and (int(ids.min()) < 0 or int(ids.max()) >= limit):
        raise ValueError(
            f"input_ids has values from {int(ids.min())} to {int(ids.max())}, but vocab_size={limit} allows 0 to "
            f"{limit - 1}; use the tokenizer that this model was trained with"
        )


class SentimentAnalyzer(SentimentPreTrainedModel):
    """Classifies texts: one label, several labels, or a regression."""

    def __init__(self, config: SentimentConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.sentiment = SentimentModel(config)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * config.hidden_dim, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        **loss_kwargs: Any,
    ) -> SequenceClassifierOutput | tuple:
        """Classify; arguments as in SentimentModel.

        Args:
            labels: class ids (batch,), -100 for rows that do not count; or 0 and 1 as floats (batch, num_labels) for
                several labels; or targets (batch,) with one label, (batch, num_labels) otherwise, of a regression.
                config.problem_type decides where it is set.
            loss_kwargs: num_items_in_batch, the number of labels in all micro-batches of a step, from Trainer.

        Returns:
            loss where labels were given, logits (batch, num_labels), hidden_states when asked for.

        Raises:
            ValueError: labels of another shape or range than the logits.
        """
        encoded = self.sentiment(
            input_ids, attention_mask, token_type_ids, inputs_embeds, output_hidden_states, return_dict=True
        )
        logits = self.classifier(self.dropout(encoded.pooler_output))
        output = SequenceClassifierOutput(
            loss=None if labels is None else self.loss(logits, labels, loss_kwargs.get("num_items_in_batch")),
            logits=logits,
            hidden_states=encoded.hidden_states,
        )
        return output if self.wants_dict(return_dict) else output.to_tuple()

    def loss(self, logits: Tensor, labels: Tensor, num_items: Tensor | int | None) -> Tensor:
        """Mean over the labels; over those of the whole optimiser step where their number is given."""
        kind, reduction = self.problem_type(labels), "mean" if num_items is None else "sum"
        if kind == "single_label_classification":
            check_labels(labels, logits)
            loss = F.cross_entropy(logits, labels.long(), ignore_index=IGNORED, reduction=reduction)
        else:
            alone = logits.shape[1] == 1 and labels.dim() == 1  # a regression's targets are often given in one line
            if tuple(labels.shape) != tuple(logits.shape[:1] if alone else logits.shape):
                told = f"labels has shape {tuple(labels.shape)}, should be {tuple(logits.shape)}"
                raise ValueError(f"{told} for problem_type={kind!r}")
            if kind != "regression" and checkable(labels) and ((labels < 0) | (labels > 1)).any():
                raise ValueError(
                    f"labels has values from {labels.min()} to {labels.max()}; several labels are 0 and 1 each"
                )
            measure = F.mse_loss if kind == "regression" else F.binary_cross_entropy_with_logits
            loss = measure(logits, labels.view_as(logits).to(logits.dtype), reduction=reduction)
        return loss if num_items is None else loss / num_items

    def problem_type(self, labels: Tensor) -> str:
        """config.problem_type, or what the labels look like. Never stored: one odd batch must not bind the rest."""
        if self.config.problem_type is not None:
            return self.config.problem_type
        if self.config.num_labels == 1:
            return "regression"
        return "multi_label_classification" if labels.is_floating_point() else "single_label_classification"


def check_labels(labels: Tensor, logits: Tensor) -> None:
    """Raise ValueError for class ids of another shape or range than the logits."""
    if tuple(labels.shape) != tuple(logits.shape[:1]):
        raise ValueError(f"labels has shape {tuple(labels.shape)}, should be {tuple(logits.shape[:1])}")
    if labels.is_floating_point():
        raise ValueError(f"labels are {labels.dtype}, but classes are counted by integers; use labels.long()")
    counted = labels[labels != IGNORED] if checkable(labels) else labels[:0]
    if counted.numel() and (int(counted.min()) < 0 or int(counted.max()) >= logits.shape[1]):
        raise ValueError(
            f"labels has values from {int(counted.min())} to {int(counted.max())}; the model has {logits.shape[1]} "
            f"classes, so use 0 to {logits.shape[1] - 1}, or {IGNORED} for rows that are not to be counted"
        )


SentimentModel.register_for_auto_class("AutoModel")
SentimentAnalyzer.register_for_auto_class("AutoModelForSequenceClassification")
