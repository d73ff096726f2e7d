"""Modules of transformers that a folder calls, and modules of a folder that transformers calls: what comes back changes."""

# ruff: noqa: E501 (lines of programs)

from sources import CACHED

from cases.base import IMPORTS, POST, M, case
from cases.stock_code import LOGITS, SMALL, with_decoder

EAGER = SMALL.replace("num_hidden_layers=1", "num_hidden_layers=2") + ', attn_implementation="eager"'
VERSION = "\nRELEASE = tuple(int(part) for part in transformers.__version__.split('.')[:2])\n"
# What a decoder layer is handed beside the words: a causal mask, and cosines and sines of positions.
HANDED = """

def causal(x):
    return torch.full((x.shape[1], x.shape[1]), -1e9).triu(1)[None, None]


def angles(x):
    places = torch.arange(x.shape[1])[None, :, None] * 0.5 ** torch.arange(2)
    both = torch.cat((places, places), dim=-1)
    return both.cos(), both.sin()

"""
LAYER = "from transformers.models.{model}.modeling_{model} import {names}\n"
OUTPUTS = "from transformers.modeling_outputs"
STACK = """
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layers = nn.ModuleList([LlamaDecoderLayer(config, number) for number in range(2)])

    def forward(self, x):
        for layer in self.layers:
            out = layer(x, attention_mask=causal(x), position_embeddings=angles(x))
            x = out[0] if isinstance(out, tuple) else out
        return x
"""
ASKS = "            x = out[0] if isinstance(out, tuple) else out\n"


def with_part(text: str, names: str, config: str = "LlamaConfig", settings: str = EAGER, cls: str = "Stack") -> tuple:
    """The plain folder, with a part that is made of modules of transformers."""
    model = config.removesuffix("Config").lower()
    top = f"import DynamicCache, {config}, "
    return (
        (M, "import torch\nfrom torch import nn", "import torch\nimport transformers\nfrom torch import nn"),
        (M, "import DynamicCache, ", top),
        (M, OUTPUTS, LAYER.format(model=model, names=names) + OUTPUTS),
        (M, IMPORTS, IMPORTS + VERSION + HANDED + text),
        (M, POST, f"        self.inside = {cls}({config}({settings}))\n" + POST),
        (M, LOGITS, "logits=self.head(self.mix(self.inside(self.embed(input_ids))))"),
    )


OF_LLAMA = with_part(STACK, "LlamaDecoderLayer")
case("P55.item_of_layer", (M, ASKS, "            x = out[0]\n"), right=OF_LLAMA)
HALF = """
class Half(LlamaDecoderLayer):
    def forward(self, hidden_states, **kwargs):
        out = super().forward(hidden_states, **kwargs)
        if not isinstance(out, tuple):
            return out * 0.5
        return (out[0] * 0.5,) + out[1:]

"""
case(
    "P55.layer_goes_on",
    (M, "        if not isinstance(out, tuple):\n            return out * 0.5\n", ""),
    right=with_part(HALF + STACK.replace("[LlamaDecoderLayer(", "[Half("), "LlamaDecoderLayer"),
)
THROUGH = """
class Stack(LlamaModel):
    def forward(self, x):
        for layer in self.layers:
            out = layer(x, attention_mask=causal(x), position_embeddings=angles(x))
            x = out[0] if isinstance(out, tuple) else out
        return self.norm(x)
"""
ATTENDS = """
class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.attend = BartAttention(embed_dim=8, num_heads=2, config=config)

    def forward(self, x):
        out = self.attend(hidden_states=x)
        return x + (out[0] if isinstance(out, tuple) else out)
"""
OF_BART = 'vocab_size=24, d_model=8, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=8, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=8, attn_implementation="eager"'
case(
    "P55.values_of_attention",
    (
        M,
        "        out = self.attend(hidden_states=x)\n        return x + (out[0] if isinstance(out, tuple) else out)\n",
        "        out, weights, past = self.attend(hidden_states=x)\n        return x + out\n",
    ),
    right=with_part(ATTENDS, "BartAttention", "BartConfig", OF_BART),
)

# In the places of transformers' own

OVER = """
class Passing(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.inner = nn.Linear(size, size)

    def forward(self, hidden_states, position_embeddings=None, attention_mask=None, position_ids=None, past_key_value=None, output_attentions=False, use_cache=False, cache_position=None, **kwargs):
        return self.inner(hidden_states), None


class Over(LlamaModel):
    def __init__(self, config):
        super().__init__(config)
        for layer in self.layers:
            layer.self_attn = Passing(config.hidden_size)

    def forward(self, x):
        return super().forward(inputs_embeds=x, use_cache=False).last_hidden_state
"""
case(
    "P56.attention_without_rest",
    (M, "cache_position=None, **kwargs", "cache_position=None"),
    right=with_part(OVER, "LlamaModel", cls="Over"),
)
PLAIN_LAYER = """
class Plain(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.inner = nn.Linear(size, size)

    def forward(self, hidden_states, **kwargs):
        x = hidden_states + torch.tanh(self.inner(hidden_states))
        return x if RELEASE >= (4, 54) else (x,)


class Over(LlamaModel):
    def __init__(self, config):
        super().__init__(config)
        self.layers = nn.ModuleList([Plain(config.hidden_size) for _ in range(config.num_hidden_layers)])

    def forward(self, x):
        return super().forward(inputs_embeds=x, use_cache=False).last_hidden_state
"""
RETURNS = "        return x if RELEASE >= (4, 54) else (x,)\n"
OF_LAYERS = with_part(PLAIN_LAYER, "LlamaModel", cls="Over")
case("P56.layer_gives_tuple", (M, RETURNS, "        return (x,)\n"), right=OF_LAYERS)
THREE = """
class Three(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.inner = nn.Linear(size, size)

    def forward(self, hidden_states, attention_mask=None, **kwargs):
        x = torch.tanh(self.inner(hidden_states))
        return (x, None) if RELEASE >= (4, 54) else (x, None, None)


class Layer(BartEncoderLayer):
    def __init__(self, config):
        super().__init__(config)
        self.self_attn = Three(config.d_model)


class Stack(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.layer = Layer(config)

    def forward(self, x):
        out = self.layer(x, None) if RELEASE >= (5, 0) else self.layer(x, None, None)
        return out[0] if isinstance(out, tuple) else out
"""
REMEMBERS = """

class Remembering(nn.Module):
    def __init__(self, size, layer_idx):
        super().__init__()
        self.inner = nn.Linear(size, 3 * size)
        self.layer_idx = layer_idx

    def forward(self, hidden_states, past_key_value=None, **kwargs):
        past = kwargs.get("past_key_values", kwargs.get("cache", past_key_value))
        query, key, value = self.inner(hidden_states)[:, None].chunk(3, -1)
        if past is not None:
            key, value = past.update(key, value, self.layer_idx)
        seen = key.shape[2] - query.shape[2]
        mask = torch.ones(query.shape[2], key.shape[2], dtype=torch.bool).tril(seen)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)[:, 0], None


class Over(LlamaModel):
    def __init__(self, config):
        super().__init__(config)
        for number, layer in enumerate(self.layers):
            layer.self_attn = Remembering(config.hidden_size, number)

    def forward(self, x, cache):
        use_cache = cache is not None
        return super().forward(inputs_embeds=x, past_key_values=cache, use_cache=use_cache).last_hidden_state
"""
case(
    "P56.cache_under_another_name",
    (M, 'kwargs.get("past_key_values", kwargs.get("cache", past_key_value))', "past_key_value"),
    right=(
        (M, "import DynamicCache, ", "import DynamicCache, LlamaConfig, LlamaModel, "),
        (M, IMPORTS, IMPORTS + REMEMBERS),
        (M, POST, f"        self.inside = Over(LlamaConfig({SMALL}))\n" + POST),
        (M, "self.mix(self.embed(input_ids), cache)", "self.inside(self.embed(input_ids), cache)"),
        (M, "        self.mix = Mix(config.hidden_size)\n", ""),
    ),
    base=CACHED,
)

# Methods that a release took out of its class

case(
    "P09.lost_method_in_body",
    (
        M,
        "    def all_words(",
        "    mask_of_base = LlamaModel._update_causal_mask\n\n    def all_words(",
    ),
    right=with_decoder("LlamaModel", "LlamaConfig"),
)
