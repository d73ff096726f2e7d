"""D08: generate() with a cache, in beams and behind padding, against the same model without a cache."""

import inspect
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
import transformers
from helpers.versions import VERSIONS
from packaging.version import Version
from safetensors.torch import save
from torch import nn
from transformers import DynamicCache, GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput, CausalLMOutputWithPast, Seq2SeqLMOutput
from transformers.utils import ModelOutput

from pinfold.fence.handed import parse_load
from pinfold.fence.overlays import find_overlay
from pinfold.fenced import handover
from pinfold.fenced.verify import generation as inside
from pinfold.verify import generation


class Config(PretrainedConfig):
    model_type = "generation-tiny"

    def __init__(self, vocab_size=40, hidden_size=16, num_hidden_layers=1, pad_token_id=0, use_cache=True, **kwargs):
        super().__init__(pad_token_id=pad_token_id, **kwargs)
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.use_cache = use_cache


class Attends(PreTrainedModel, GenerationMixin):
    """One layer of attention, whose cache works in every release."""

    config_class = Config
    _supports_cache_class = True

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        nn.init.normal_(self.qkv.weight, std=0.5)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=0.5)

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, cache=None, use_cache=None, **kwargs):
        cache = past_key_values if cache is None else cache
        if use_cache and cache is None:
            cache = DynamicCache()
        past = cache.get_seq_length() if cache is not None else 0
        q, k, v = self.qkv(self.words(input_ids)).unsqueeze(1).chunk(3, -1)
        if cache is not None:
            k, v = cache.update(k, v, 0)
        tokens = input_ids.shape[1]
        mask = torch.ones(tokens, past + tokens, dtype=torch.bool).tril(past)[None, None]
        if attention_mask is not None:
            mask = mask & attention_mask[:, None, None, : past + tokens].bool()
        mask = mask | torch.eye(past + tokens, dtype=torch.bool)[-tokens:]
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)[:, 0]
        return CausalLMOutputWithPast(logits=self.head(mixed), past_key_values=cache)


class OneName(Attends):
    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, use_cache=None, **kwargs):
        return Attends.forward(self, input_ids, attention_mask, past_key_values, use_cache=use_cache)


class OtherName(Attends):
    def forward(self, input_ids=None, attention_mask=None, cache=None, use_cache=None, **kwargs):
        return Attends.forward(self, input_ids, attention_mask, cache=cache, use_cache=use_cache)


class ForgetsBeams(Attends):
    """A cache of its own, which beam search cannot reorder."""

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, cache=None, use_cache=None, **kwargs):
        past = self.__dict__.get("_seen") if input_ids.shape[1] == 1 and use_cache else None
        ids = input_ids if past is None else torch.cat([past, input_ids], 1)
        self.__dict__["_seen"] = ids
        return CausalLMOutput(logits=Attends.forward(self, ids, attention_mask).logits[:, -input_ids.shape[1] :])


class Counts(Attends):
    """Positions from the length of what it sees: behind a cache they begin anew."""

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, cache=None, use_cache=None, **kwargs):
        output = super().forward(input_ids, attention_mask, past_key_values, cache, use_cache)
        output.logits = output.logits + torch.arange(input_ids.shape[1])[None, :, None] * self.head.bias
        return output


class Recurrent(PreTrainedModel, GenerationMixin):
    """No cache at all."""

    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.hidden_size)
        self.rnn = nn.GRU(config.hidden_size, config.hidden_size, batch_first=True)
        self.head = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None, **kwargs):
        return CausalLMOutput(logits=self.head(self.rnn(self.words(input_ids))[0]))


class Raises(Recurrent):
    def forward(self, input_ids=None):
        return CausalLMOutput(logits=self.head(self.rnn(self.words(input_ids))[0]))


class Own(Recurrent):
    def generate(self, input_ids, **kwargs):
        return input_ids


class Classifies(PreTrainedModel):
    config_class = Config

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, 3)
        self.post_init()

    def forward(self, input_ids=None):
        return CausalLMOutput(logits=self.words(input_ids).mean(1))


def faults(cls, config=None, own=None, is_large=False):
    torch.manual_seed(0)
    return faults_of(cls(config or Config()).eval(), own or {}, is_large)


def faults_of(model, own=None, is_large=False):
    """What a load hands over, through a file as in a push, and what is said of it."""
    pairs, tensors = inside.runs(model, own or {}, is_large)
    if isinstance(pairs, str):
        return pairs
    tensors = parse_load(save({name: handover.plain(tensor) for name, tensor in tensors.items()})).tensors
    return generation.faults(type(model).__name__, pairs, tensors, str(model.dtype).removeprefix("torch."))


# whether this release hands on the last token alone, whatever forward takes
SLICES = Version(transformers.__version__) >= Version("4.54")
# the name under which this release passes it
RENAMED = "cache" in inspect.signature(transformers.GenerationMixin.prepare_inputs_for_generation).parameters


def test_a_cache_that_works_has_no_fault():
    assert faults(Attends) == []
    assert faults(Attends, is_large=True) == []


@pytest.mark.parametrize(("cls", "lost"), [(OneName, RENAMED), (OtherName, not RENAMED)])
def test_a_cache_that_falls_into_kwargs_is_seen_where_its_name_is_another(cls, lost):
    lines = faults(cls)
    assert bool(lines) == lost
    if lost:
        assert "with its cache the logits of new token 2 differ" in lines[0]
        assert "take both names, past_key_values=None and cache=None" in lines[0]


def test_a_forward_that_counts_what_it_sees_is_wrong_behind_a_cache():
    assert "with its cache the logits of new token" in faults(Counts)[0]


def test_a_cache_that_beams_cannot_reorder_is_seen():
    lines = faults(ForgetsBeams)
    assert any("in beams" in line for line in lines) or not SLICES, lines


def test_a_model_without_a_cache_has_to_say_so():
    lines = faults(Recurrent)
    if not SLICES:
        assert lines == []
        return
    assert "Recurrent.forward takes no cache of transformers (past_key_values, cache, cache_params)" in lines[0]
    assert ": set use_cache=False in the configuration class" in lines[0]
    assert faults(Recurrent, Config(use_cache=False)) == []


@dataclass
class StateOutput(ModelOutput):
    logits: torch.Tensor | None = None
    state: torch.Tensor | None = None


class KeepsState(Recurrent):
    """A state under a name of its own, which no release reorders for beams."""

    def prepare_inputs_for_generation(self, input_ids, state=None, use_cache=None, **kwargs):
        return {"input_ids": input_ids if state is None else input_ids[:, -1:], "state": state, "use_cache": use_cache}

    def _update_model_kwargs_for_generation(self, outputs, model_kwargs, **kwargs):
        if outputs.get("state") is not None:
            model_kwargs["state"] = outputs["state"]
        return model_kwargs

    def forward(self, input_ids=None, attention_mask=None, state=None, use_cache=None, **kwargs):
        hidden, state = self.rnn(self.words(input_ids), state)
        use_cache = self.config.use_cache if use_cache is None else use_cache
        return StateOutput(logits=self.head(hidden), state=state if use_cache else None)


class HandsOnNone(KeepsState):
    def _update_model_kwargs_for_generation(self, outputs, model_kwargs, **kwargs):
        model_kwargs["state"] = outputs.get("state")
        return model_kwargs


def test_a_state_under_another_name_raises_in_beams_until_the_cure_is_followed():
    lines = faults(HandsOnNone)
    if not RENAMED:  # these releases look for no cache to reorder: in 4.48 it writes another text in silence
        assert all("in beams: with its cache the best text has another score" in line for line in lines)
    else:
        assert "in beams" in lines[0] and "the cache cannot be reordered" in lines[0]
        assert '"use_cache": false in generation_config.json, or in config.json' in lines[0]
        assert "let _update_model_kwargs_for_generation hand on the state of a step only where it is not" in lines[0]
        assert faults(HandsOnNone, Config(use_cache=False)), "the first half of the cure alone"
    assert faults(KeepsState, Config(use_cache=False)) == []


def test_a_generate_that_raises_is_a_fault_of_one_line():
    lines = faults(Raises)
    assert "TypeError" in lines[0] and "\n" not in lines[0]


def test_what_cannot_be_compared_is_said():
    assert faults(Classifies) == "the class does not generate"
    assert faults(Own) == "Own has a generate of its own"


def test_settings_of_the_checkpoint_do_not_draw_at_random():
    torch.manual_seed(0)
    model = Attends(Config()).eval()
    model.generation_config.do_sample, model.generation_config.temperature = True, 2.0
    assert faults_of(model) == []
    assert model.generation_config.do_sample is True and not model.training


def test_prompts_of_a_probe_of_its_own_are_used():
    assert faults(Attends, own={"input_ids": {"shape": [2, 5], "values": "ramp", "modulo": 30}}) == []


def test_an_encoder_and_decoder_generates_from_its_start_token():
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "vocab_size": 50}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_ffn_dim": 8}
    config = transformers.BartConfig(**sizes, **heads)
    torch.manual_seed(0)
    assert faults_of(transformers.BartForConditionalGeneration(config).eval()) == []


def test_a_seq2seq_without_a_start_token_names_what_to_set():
    config = transformers.T5Config(d_model=16, d_kv=8, num_layers=1, num_heads=2, d_ff=16, vocab_size=50)
    lines = faults_of(transformers.T5ForConditionalGeneration(config).eval())
    assert "set decoder_start_token_id in the configuration" in lines[0]


def test_the_output_class_is_not_what_decides():
    class Tuples(Attends):
        def forward(self, input_ids=None, attention_mask=None, past_key_values=None, cache=None, use_cache=None, **k):
            output = super().forward(input_ids, attention_mask, past_key_values, cache, use_cache)
            return Seq2SeqLMOutput(logits=output.logits, past_key_values=output.past_key_values)

    assert faults(Tuples) == []


# --- a second turn, from the cache that the first one returned ---


class LastAlone(Attends):
    """Hands on the last token, however many are new; ``_from`` is where else its text begins."""

    def _from(self, past):
        return -1

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, cache=None, **kwargs):
        past = past_key_values if cache is None else cache
        if past is not None and past.get_seq_length():
            input_ids = input_ids[:, self._from(past) :]
        named = {"cache": past} if RENAMED else {"past_key_values": past}
        return {
            "input_ids": input_ids,
            **named,
            **{name: kwargs.get(name) for name in ("attention_mask", "use_cache")},
        }


class FromLength(LastAlone):
    def _from(self, past):
        return past.get_seq_length()


class Prefixed(Attends):
    """Three learned places before the text: the cache holds more than was read."""

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, cache=None, use_cache=None, **kwargs):
        cache = past_key_values if cache is None else cache
        first = cache is None or not cache.get_seq_length()
        if attention_mask is not None:
            attention_mask = torch.cat([attention_mask.new_ones(len(input_ids), 3), attention_mask], 1)
        ids = (
            torch.cat([torch.tensor([[37, 38, 39]]).expand(len(input_ids), -1), input_ids], 1) if first else input_ids
        )
        output = super().forward(ids, attention_mask, None, cache, use_cache)
        output.logits = output.logits[:, -input_ids.shape[1] :]
        return output


class PrefixedFromLength(Prefixed):
    prepare_inputs_for_generation = LastAlone.prepare_inputs_for_generation

    def _from(self, past):
        return past.get_seq_length() - 3


class SeesTheStart(Attends):
    """A mask for a text alone: behind a cache, several tokens see its first places and not each other."""

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, cache=None, use_cache=None, **kwargs):
        cache = past_key_values if cache is None else cache
        past = cache.get_seq_length() if cache is not None else 0
        if past and input_ids.shape[1] > 1:
            attention_mask = torch.ones(len(input_ids), past + input_ids.shape[1], dtype=torch.long)
            attention_mask[:, input_ids.shape[1] : past] = 0
        return super().forward(input_ids, attention_mask, None, cache, use_cache)


class Refuses(Attends):
    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, cache=None, use_cache=None, **kwargs):
        cache = past_key_values if cache is None else cache
        if cache is not None and cache.get_seq_length() and input_ids.shape[1] > 1:
            raise ValueError("one token at a time")
        return super().forward(input_ids, attention_mask, None, cache, use_cache)


class Plain:
    """A cache that is an object of its own."""

    is_compileable = False

    def __init__(self, ids):
        self.ids = ids

    def get_seq_length(self, layer=0):
        return self.ids.shape[1]

    def reorder_cache(self, beams):
        self.ids = self.ids[beams]


class OwnCache(LastAlone):
    @classmethod
    def _supports_default_dynamic_cache(cls):
        return False

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, cache=None, use_cache=None, **kwargs):
        cache = past_key_values if cache is None else cache
        ids = input_ids if cache is None else torch.cat([cache.ids, input_ids], 1)
        logits = Attends.forward(self, ids, attention_mask).logits[:, -input_ids.shape[1] :]
        named = {"cache" if RENAMED else "past_key_values": Plain(ids) if use_cache else None}
        return CausalLMOutputWithPast(logits=logits, **named)


def limit_of(cls, config=None, own=None):
    torch.manual_seed(0)
    facts, tensors = inside.second_turn(cls(config or Config()).eval(), own or {})
    tensors = parse_load(save({name: handover.plain(tensor) for name, tensor in tensors.items()})).tensors
    return generation.limit(cls.__name__, facts, tensors, "float32")


RETURNED = Version(transformers.__version__) >= Version(
    "4.50"
)  # before, generate returns tuples of what its cache held
SENTENCE = "going on from a returned cache writes other text: logits differ by "


@pytest.mark.parametrize(
    ("cls", "cured", "cure"),
    [
        (LastAlone, FromLength, "in prepare_inputs_for_generation: input_ids[:, past.get_seq_length():]"),
        (Prefixed, PrefixedFromLength, "holds 11 places for 8 tokens; slice by the cache's length in "),
        (Prefixed, PrefixedFromLength, "input_ids[:, past.get_seq_length() - 3:]"),
        (SeesTheStart, Attends, "several tokens behind a cache have to see it and each other"),
    ],
)
def test_a_second_turn_that_writes_other_text_has_a_cure(cls, cured, cure):
    assert faults(cls) == faults(cured) == []
    assert limit_of(cured) == []
    if not RETURNED:
        assert limit_of(cls) == []
        return
    sentence, what = limit_of(cls)
    assert sentence.startswith((SENTENCE, "going on from a returned cache fails: IndexError")) and cure in what
    assert sentence.startswith(SENTENCE) or (cls is Prefixed and not RENAMED)


@pytest.mark.skipif(not RETURNED, reason="this release returns tuples of what its cache held")
def test_a_second_turn_that_raises_is_said():
    sentence, _ = limit_of(Refuses)
    assert sentence.startswith("going on from a returned cache fails: ValueError: one token at a time")


def test_a_cache_of_another_kind_is_said():
    sentence, _ = limit_of(OwnCache)
    assert sentence.startswith("its cache (Plain) is not a transformers Cache: assisted decoding and going on")


@pytest.mark.parametrize("cls", [Classifies, Own, Raises])
def test_nothing_is_said_of_a_second_turn_where_the_first_cannot_be(cls):
    assert limit_of(cls) == [] == limit_of(Recurrent, Config(use_cache=False))


@pytest.mark.parametrize("change", [{"error": 5}, {"holds": "many"}, {"prepares": None, "holds": None}])
def test_a_forged_second_turn_is_refused_or_a_plain_line(change):
    torch.manual_seed(0)
    facts, tensors = inside.second_turn(LastAlone(Config()).eval(), {})
    assert bool(facts) is RETURNED
    tensors = parse_load(save({name: handover.plain(tensor) for name, tensor in tensors.items()})).tensors
    try:
        lines = generation.limit("A", facts | change, tensors, "float32")
    except (KeyError, TypeError, ValueError):
        return
    assert all(isinstance(line, str) for line in lines)


@pytest.mark.slow
@pytest.mark.versions
@pytest.mark.parametrize("version", VERSIONS[:-1])
def test_the_same_in_older_releases(version):
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "-m", "not slow", __file__]
    environment = {**os.environ, "PYTHONPATH": str(find_overlay(version))}
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert run.returncode == 0 and " passed" in run.stdout, run.stdout[-3000:]
