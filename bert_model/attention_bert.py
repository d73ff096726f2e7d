"""Self-attention of BERT: full, or sparse in one of three ways whose cost is sparse and not only their mask.

- Full: Attention Is All You Need, Vaswani et al. 2017, https://arxiv.org/abs/1706.03762.
- Local windows and global tokens: Longformer, Beltagy et al. 2020, https://arxiv.org/abs/2004.05150.
- Strided: Generating Long Sequences with Sparse Transformers, Child et al. 2019, https://arxiv.org/abs/1904.10509.
- Random: Big Bird, Zaheer et al. 2020, https://arxiv.org/abs/2007.14062.

`attention_mask` is the definition of every kind; the classes compute the same numbers without making that mask.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .configuration_bert import BERTConfig

try:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
except ImportError:
    ALL_ATTENTION_FUNCTIONS = {}

RANDOM_BLOCK = 64  # queries that share their random keys


class Rows:
    """Where the rows of a packed batch lie: all tokens in one line, rows of one length next to each other.

    Only whole numbers, so that it needs no device: (how many rows, of how many tokens), in order.
    """

    def __init__(self, groups: list[tuple[int, int]]):
        self.groups = groups

    def lengths(self) -> list[int]:
        return [length for count, length in self.groups for _ in range(count)]


def is_flash(implementation: str | None) -> bool:
    """Whether it is flash attention, of the package or of a kernel on the Hub: it takes padding in other forms."""
    return "flash" in (implementation or "")


def additive(keep: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a key is seen and the lowest finite number elsewhere: a row that sees nothing stays finite."""
    seen, unseen = (torch.tensor(x, dtype=dtype, device=keep.device) for x in (0.0, torch.finfo(dtype).min))
    return torch.where(keep, seen, unseen)


def block_mask(keep: Tensor, tokens: int) -> Any:
    """Padding (batch, keys) as flex attention takes it.

    Its CPU kernel of torch 2.15 corrupts memory with a mask that is added to scores, and transformers' wrapper would
    read the first head's only.
    """
    from torch.nn.attention.flex_attention import create_block_mask

    return create_block_mask(
        lambda row, head, query, key: keep[row, key], len(keep), None, tokens, keep.shape[1], device=keep.device
    )


def attention_mask(config: BERTConfig, layer: int, length: int, lengths: Tensor | None = None) -> Tensor:
    """The definition of a layer's attention: which query (row) sees which key (column).

    Args:
        length: number of tokens of the mask.
        lengths: (batch,) number of real tokens, which the random keys are drawn from; `length` for all by default.

    Returns:
        Booleans, (1 or batch, length, length); padding is not part of it.
    """
    kind, lengths = config.per_layer("attention_type")[layer], torch.tensor([length]) if lengths is None else lengths
    query = torch.arange(length, device=lengths.device)[:, None]
    key = torch.arange(length, device=lengths.device)[None, :]
    if kind == "full":
        return torch.ones(1, length, length, dtype=torch.bool, device=lengths.device)
    if kind == "local":
        seen = ((key >= query - config.attention_window) & (key <= query + config.attention_window))[None]
    elif kind == "strided":
        seen = ((query == key) | (key % config.attention_stride == 0))[None]
    else:
        drawn = random_keys(config, layer, length, lengths)  # (batch, blocks, keys)
        blocks = torch.zeros(*drawn.shape[:2], length, dtype=torch.bool, device=lengths.device).scatter(2, drawn, True)
        seen = (query == key) | blocks.repeat_interleave(RANDOM_BLOCK, dim=1)[:, :length]
    return seen | (query < config.num_global_tokens) | (key < config.num_global_tokens)


def random_keys(config: BERTConfig, layer: int, length: int, lengths: Tensor) -> Tensor:
    """Keys of each block of queries, (batch, blocks, num_random_keys): the same on every machine and in every run.

    Drawn by an integer hash (no product reaches 2**63) of seed, layer and place, then scaled to the row's real
    tokens, so that padding does not change them. A key can be drawn twice.
    """
    blocks, limit = -(-length // RANDOM_BLOCK), 2**31 - 1
    start = ((config.attention_seed * 1000003) ^ (layer * 7919)) & limit
    x = torch.arange(blocks * config.num_random_keys, device=lengths.device)
    x = (x * 40503 + start) & limit
    for factor, shift in ((0x2C1B3C6D, 15), (0x297A2D39, 12), (0x1B873593, 15)):
        x = ((x ^ (x >> shift)) * factor) & limit
    x = (x >> 11).view(1, blocks, -1)  # 20 bits
    return (x * lengths.clamp(min=1).view(-1, 1, 1)) >> 20


class BERTSelfAttention(nn.Module):
    """Multi-head attention in which every token sees all."""

    is_causal = False  # what flash attention and vLLM read

    def __init__(self, config: BERTConfig, layer_idx: int):
        super().__init__()
        self.config, self.layer_idx = config, layer_idx
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.query = nn.Linear(config.hidden_size, config.hidden_size)
        self.key = nn.Linear(config.hidden_size, config.hidden_size)
        self.value = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.attention_probs_dropout_prob)

    def forward(
        self,
        hidden_states: Tensor,
        bias: Tensor | None = None,
        keep: Tensor | None = None,
        rows: Rows | None = None,
        output_attentions: bool = False,
        **kwargs: Any,
    ) -> tuple[Tensor, Tensor | None]:
        """Mix the tokens.

        Args:
            hidden_states: (batch, tokens, hidden), or (1, all real tokens, hidden) with ``rows``.
            bias: additive, broadcast over (batch, heads, queries, keys); None where every key is real.
            keep: (batch, tokens), the real tokens; the sparse kinds expect them first in each row.
            rows: where the rows of a packed batch lie.
            kwargs: passed on to attention functions of transformers and vLLM.

        Returns:
            The mixture, shaped like hidden_states, and the weights (batch, heads, queries, keys) when asked for.
        """
        tokens = hidden_states.shape[1]
        # -1, as tensor parallelism leaves each rank a part of the heads
        query, key, value = (
            layer(hidden_states).unflatten(2, (-1, self.head_dim)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )  # (batch, heads, tokens, head_dim)
        weights = None
        if rows is not None:
            mixed = self.by_rows(query, key, value, rows, **kwargs)
        elif output_attentions:
            mixed, weights = self.eager(query, key, value, self.dense_bias(bias, keep, tokens, query))
        else:
            mixed = self.attend(query, key, value, bias, keep, **kwargs)
        return mixed.transpose(1, 2).flatten(2), weights

    def by_rows(self, query: Tensor, key: Tensor, value: Tensor, rows: Rows, **kwargs: Any) -> Tensor:
        """Attention in a packed batch: rows of one length at a time, none of them padded."""
        implementation = self.config._attn_implementation or "eager"
        if type(self) is BERTSelfAttention and implementation not in ("eager", "sdpa"):
            return self.variable_length(query, key, value, rows, **kwargs)
        # split, and not slices: the gradient of each slice would be as large as the whole batch
        sizes = [count * length for count, length in rows.groups]
        groups = (x.transpose(1, 2)[0].split(sizes) for x in (query, key, value))
        mixed = []
        for (count, length), *parts in zip(rows.groups, *groups, strict=True):
            parts = (x.unflatten(0, (count, length)).transpose(1, 2) for x in parts)  # (rows, heads, tokens, head_dim)
            mixed.append(self.attend(*parts, None, None).transpose(1, 2).flatten(0, 1))
        return torch.cat(mixed)[None].transpose(1, 2)  # (1, heads, all real tokens, head_dim)

    def variable_length(self, query: Tensor, key: Tensor, value: Tensor, rows: Rows, **kwargs: Any) -> Tensor:
        """Hand the packed batch to flash attention, with the rows' ends."""
        lengths = rows.lengths()
        ends = F.pad(torch.tensor(lengths, device=query.device).cumsum(0), (1, 0)).to(torch.int32)
        places = torch.cat([torch.arange(n, device=query.device) for n in lengths])[None]
        return self.dispatch(
            query, key, value, None, cu_seq_lens_q=ends, cu_seq_lens_k=ends, position_ids=places,
            max_length_q=max(lengths), max_length_k=max(lengths), **kwargs,
        )  # fmt: skip

    def dispatch(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, **kwargs: Any) -> Tensor:
        """An attention function that transformers, or who extends it, has under this name."""
        implementation = self.config._attn_implementation
        if implementation not in ALL_ATTENTION_FUNCTIONS:
            raise ValueError(f"attn_implementation={implementation!r} is not known here; use 'sdpa' or 'eager'")
        rate = self.dropout.p if self.training else 0.0
        mixed, _ = ALL_ATTENTION_FUNCTIONS[implementation](
            self, query, key, value, mask, dropout=rate, scaling=self.scaling, **kwargs
        )  # (batch, tokens, heads, head_dim)
        return mixed.transpose(1, 2)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, keep: Tensor | None, **kwargs: Any
    ) -> Tensor:
        """Full attention by the chosen implementation; (batch, heads, tokens, head_dim) in and out."""
        implementation = self.config._attn_implementation or "eager"
        flash, flex = is_flash(implementation), implementation == "flex_attention"
        if implementation == "eager":
            return self.eager(query, key, value, bias)[0]
        # flash and flex attention take no mask of the caller's own, which may be another one for each head
        if implementation == "sdpa" or ((flash or flex) and bias is not None and keep is None):
            return self.sdpa(query, key, value, bias)
        if flash:  # takes the padding as it was given
            mask = keep
        elif flex:
            mask = bias if bias is None else block_mask(keep, query.shape[2])
        else:
            mask = bias if bias is None else bias.expand(-1, -1, query.shape[2], -1)
        return self.dispatch(query, key, value, mask, **kwargs)

    def dense(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, keep: Tensor | None) -> Tensor:
        """A sparse kind by its mask: for short rows, and for masks of the caller's own."""
        return self.sdpa(query, key, value, self.dense_bias(bias, keep, query.shape[2], query))

    def dense_bias(self, bias: Tensor | None, keep: Tensor | None, tokens: int, like: Tensor) -> Tensor | None:
        if self.config.per_layer("attention_type")[self.layer_idx] == "full":
            return bias
        lengths = torch.full((1,), tokens, device=like.device) if keep is None else keep.sum(1)
        seen = attention_mask(self.config, self.layer_idx, tokens, lengths)[:, None]
        if bias is None:
            return additive(seen, like.dtype)
        return torch.where(seen, bias, torch.finfo(like.dtype).min)

    def eager(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        scores = torch.matmul(query, key.transpose(2, 3)) * self.scaling
        if bias is not None:
            scores = scores + bias
        weights = self.dropout(scores.softmax(dim=-1))
        return torch.matmul(weights, value), weights

    def sdpa(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        rate = self.dropout.p if self.training else 0.0
        return F.scaled_dot_product_attention(query, key, value, bias, dropout_p=rate, scale=self.scaling)


class SparseAttention(BERTSelfAttention):
    """What the sparse kinds share: global tokens, where the dense mask is cheaper, and how much is held at a time."""

    block = RANDOM_BLOCK  # queries that are computed together
    chunk = 512  # tokens of all rows whose scores are held at a time

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, keep: Tensor | None, **kwargs: Any
    ) -> Tensor:
        """Sparse attention; ``attn_implementation`` does not choose here, as it knows no such mask."""
        tokens, first = query.shape[2], min(self.config.num_global_tokens, query.shape[2])
        if (bias is not None and keep is None) or self.is_short(tokens):
            return self.dense(query, key, value, bias, keep)
        mixed = self.sparse(query, key, value, keep, first)
        if not first:
            return mixed
        return torch.cat([self.sdpa(query[:, :, :first], key, value, bias), mixed[:, :, first:]], dim=2)

    def is_short(self, tokens: int) -> bool:
        """Whether dense attention is as cheap for so many tokens: every kind has its own answer."""
        raise NotImplementedError  # each kind below has its own

    def sparse(self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None, first: int) -> Tensor:
        """A few blocks at a time, so that scores, masks and copies do not pile up; all at once in a traced graph."""
        shared = self.shared(query, key, value, keep, first)
        blocks = -(-query.shape[2] // self.block)
        chunk = self.chunk if query.device.type == "cpu" else 16 * self.chunk  # elsewhere a call costs more
        step = blocks if torch.compiler.is_compiling() else max(1, chunk // (query.shape[0] * self.block))
        rows = [(start, min(start + step, blocks)) for start in range(0, blocks, step)]
        if len(rows) == 1 or torch.is_grad_enabled():
            parts = [self.part(query, key, value, keep, first, shared, *row) for row in rows]
            return parts[0] if len(rows) == 1 else torch.cat(parts, dim=2)
        mixed = torch.empty_like(query)
        for start, stop in rows:  # each in its place: nothing of a part outlives it
            at = slice(start * self.block, stop * self.block)
            mixed[:, :, at] = self.part(query, key, value, keep, first, shared, start, stop)
        return mixed

    def shared(self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None, first: int) -> Any:
        """What every block needs, made once."""

    def part(
        self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None, first: int,
        shared: Any, start: int, stop: int,
    ) -> Tensor:  # fmt: skip
        """The mixture for the blocks start..stop of each row's queries: what makes a kind."""
        raise NotImplementedError  # each kind below has its own

    def columns(self, query: Tensor, scores: Tensor, key: Tensor, value: Tensor, mixer: Any) -> Tensor:
        """Softmax over scores of shared keys and, as one more column, each query's own key."""
        own = (query * key).sum(-1, keepdim=True) * self.scaling
        weights = self.dropout(torch.cat([scores, own], dim=-1).softmax(dim=-1))
        return mixer(weights[..., :-1]) + weights[..., -1:] * value


class LocalWindowAttention(SparseAttention):
    """Each token sees `attention_window` tokens on either side, in blocks: linear in the number of tokens."""

    @property
    def block(self) -> int:
        return max(self.config.attention_window, 32)  # smaller blocks cost more in calls than they save

    def is_short(self, tokens: int) -> bool:
        return tokens <= self.block + self.config.attention_window

    def part(
        self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None, first: int,
        shared: Any, start: int, stop: int,
    ) -> Tensor:  # fmt: skip
        """The blocks are folded into the batch, each with the keys around it."""
        batch, tokens = query.shape[0], query.shape[2]
        block, window, count = self.block, self.config.attention_window, stop - start
        reach = block + 2 * window
        low, high = start * block - window, stop * block + window  # the keys that these blocks see
        rest = max(stop * block - tokens, 0)

        def near_by(x: Tensor, dim: int) -> Tensor:  # each block's keys, with those of the window around it
            x = x.narrow(dim, max(low, 0), min(high, tokens) - max(low, 0))
            around = [0, 0] * (x.dim() - 1 - dim) + [max(-low, 0), max(high - tokens, 0)]
            return F.pad(x, around).unfold(dim, reach, block)

        def fold(x: Tensor) -> Tensor:
            return near_by(x, 2).permute(0, 2, 1, 4, 3).flatten(0, 1)  # (batch * blocks, heads, reach, width)

        def everywhere(x: Tensor) -> Tensor:  # the global tokens' keys, in front of every block's own
            return x[:, None, :, :first].expand(-1, count, -1, -1, -1).flatten(0, 1)

        place = torch.arange(start, stop, device=query.device)[:, None] * block
        at = place + torch.arange(block, device=query.device)  # (blocks, block): queries
        key_at = place - window + torch.arange(reach, device=query.device)  # (blocks, reach): keys
        near = (key_at[:, None, :] >= at[:, :, None] - window) & (key_at[:, None, :] <= at[:, :, None] + window)
        near = (near & ((key_at >= first) & (key_at < tokens))[:, None, :])[None]
        if keep is not None:
            near = near & near_by(keep, 1)[:, :, None, :]
        if first:
            early = near.new_ones(1, 1, 1, first) if keep is None else keep[:, None, None, :first]
            near = torch.cat([early.expand(near.shape[0], count, block, first), near], dim=-1)
        near = near.expand(batch, -1, -1, -1).reshape(batch * count, 1, block, -1)
        own = F.pad(query[:, :, start * block : stop * block], (0, 0, 0, rest))
        folded = own.unflatten(2, (count, block)).transpose(1, 2).flatten(0, 1)
        keys, values = fold(key), fold(value)
        if first:
            keys, values = torch.cat([everywhere(key), keys], dim=2), torch.cat([everywhere(value), values], dim=2)
        mixed = self.sdpa(folded, keys, values, additive(near, query.dtype))
        return mixed.unflatten(0, (batch, count)).transpose(1, 2).flatten(2, 3)[:, :, : tokens - start * block]


class StridedAttention(SparseAttention):
    """Each token sees itself and every `attention_stride`-th key: cost n * n / stride."""

    def is_short(self, tokens: int) -> bool:
        return tokens <= 2 * self.config.attention_stride

    def shared(self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None, first: int) -> Any:
        tokens, stride = query.shape[2], self.config.attention_stride
        later = torch.arange(0, tokens, stride)[-(-first // stride) :]  # global tokens are seen as such
        places = torch.cat([torch.arange(first), later]).to(query.device)
        return places, key[:, :, places], value[:, :, places]

    def part(
        self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None, first: int,
        shared: Any, start: int, stop: int,
    ) -> Tensor:  # fmt: skip
        (places, keys, values), rows = shared, slice(start * self.block, stop * self.block)
        query, key, value = query[:, :, rows], key[:, :, rows], value[:, :, rows]
        scores = torch.matmul(query, keys.transpose(2, 3)) * self.scaling
        at = torch.arange(query.shape[2], device=query.device)[:, None] + start * self.block
        unseen = at == places  # its own key has a column already
        if keep is not None:
            unseen = unseen | ~keep[:, None, None, places]
        scores = scores.masked_fill(unseen, torch.finfo(query.dtype).min)
        return self.columns(query, scores, key, value, lambda weights: torch.matmul(weights, values))


class RandomAttention(SparseAttention):
    """Each token sees itself and `num_random_keys` keys that its block of queries shares: cost n * k."""

    def is_short(self, tokens: int) -> bool:
        return tokens <= RANDOM_BLOCK

    def shared(self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None, first: int) -> Any:
        """Places of each block's keys, and which of them count already: (batch, blocks, keys) both."""
        batch, tokens = query.shape[0], query.shape[2]
        lengths = torch.full((1,), tokens, device=query.device) if keep is None else keep.sum(1)
        drawn = random_keys(self.config, self.layer_idx, tokens, lengths).sort(-1).values
        again = F.pad(drawn[..., 1:] == drawn[..., :-1], (1, 0)) | (drawn < first)  # counts once
        early = torch.arange(first, device=query.device).expand(*drawn.shape[:2], first)
        places = torch.cat([early, drawn], dim=-1).expand(batch, -1, -1)
        again = F.pad(again, (first, 0)).expand(batch, -1, -1)
        return places, again if keep is None else again | ~keep.gather(1, places.flatten(1)).view_as(places)

    def part(
        self, query: Tensor, key: Tensor, value: Tensor, keep: Tensor | None, first: int,
        shared: Any, start: int, stop: int,
    ) -> Tensor:  # fmt: skip
        places, again = (x[:, start:stop] for x in shared)
        index = places.flatten(1)[:, None, :, None].expand(-1, query.shape[1], -1, query.shape[3])
        keys, values = (x.gather(2, index).unflatten(2, (stop - start, -1)) for x in (key, value))
        rows, rest = slice(start * self.block, stop * self.block), max(stop * self.block - query.shape[2], 0)
        query, key, value = (
            F.pad(x[:, :, rows], (0, 0, 0, rest)).unflatten(2, (stop - start, self.block)) for x in (query, key, value)
        )  # (batch, heads, blocks, block, width)
        scores = torch.matmul(query, keys.transpose(3, 4)) * self.scaling
        at = torch.arange(start * self.block, stop * self.block, device=query.device).view(1, -1, self.block, 1)
        unseen = again[:, :, None] | (at == places[:, :, None])  # its own key has a column already
        scores = scores.masked_fill(unseen[:, None], torch.finfo(query.dtype).min)
        mixed = self.columns(query, scores, key, value, lambda weights: torch.matmul(weights, values))
        return mixed.flatten(2, 3)[:, :, : mixed.shape[2] * self.block - rest]


KINDS = {
    "full": BERTSelfAttention,
    "local": LocalWindowAttention,
    "strided": StridedAttention,
    "random": RandomAttention,
}


class BERTSelfOutput(nn.Module):
    """Projection, and the sum with what went in."""

    def __init__(self, config: BERTConfig):
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden_states: Tensor, residual: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(hidden_states)) + residual)


class BERTAttention(nn.Module):
    """One layer's attention, of the kind that the configuration names, with its projection and sum."""

    def __init__(self, config: BERTConfig, layer_idx: int):
        super().__init__()
        self.self = KINDS[config.per_layer("attention_type")[layer_idx]](config, layer_idx)
        self.output = BERTSelfOutput(config)

    def forward(self, hidden_states: Tensor, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        mixed, weights = self.self(hidden_states, **kwargs)
        return self.output(mixed, hidden_states), weights
