"""Random drawings of both architectures, valid ones, from a seed."""

import random

from pinfold.builder.drawing.architectures import ARCHITECTURES
from pinfold.builder.drawing.fields import ACTIVATIONS, ATTENTION
from pinfold.builder.drawing.schema import preset

ACTIVATION_WORDS = [word for word, _, _ in ACTIVATIONS]
KINDS = [word for word, _, _ in ATTENTION]


def random_state(seed: int, architecture: str, small: bool = False) -> dict:
    """A state as the page would send it; ``small``: one that is quick to export."""
    chance = random.Random(seed)
    of = ARCHITECTURES[architecture]
    state = preset(of, {}).state()
    heads, layers = chance.choice([1, 2, 4]), chance.randint(1, 3 if small else 12)
    width = heads * chance.choice([8, 12, 32] if small else [8, 20, 64, 96])
    config = state["config"] | {
        "hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": layers,
        "intermediate_size": chance.choice([16, 24, 64]), "vocab_size": chance.choice([101, 250, 1000]),
        "max_position_embeddings": chance.choice([64, 128, 500]), "num_labels": chance.choice([1, 2, 3, 7]),
        "problem_type": chance.choice([None, None, "single_label_classification", "multi_label_classification"]),
        "initializer_range": chance.choice([0.02, 0.05, 0.1]), "pad_token_id": chance.choice([0, 1, None]),
        "tie_word_embeddings": chance.random() < 0.5,
    }  # fmt: skip
    if config["problem_type"] == "single_label_classification" and config["num_labels"] == 1:
        config["num_labels"] = 2
    if architecture == "encoder":
        config |= {
            "attention_type": [chance.choice(KINDS) for _ in range(layers)],
            "hidden_act": [chance.choice(ACTIVATION_WORDS) for _ in range(layers)],
            "attention_window": chance.choice([1, 3, 17]), "attention_stride": chance.choice([2, 5, 16]),
            "num_random_keys": chance.choice([1, 4, 9]), "num_global_tokens": chance.choice([0, 0, 1, 3]),
            "attention_seed": chance.randint(0, 10**6), "pooling": chance.choice(["cls", "mean"]),
            "position_embedding_type": chance.choice(["learned", "sinusoidal"]),
            "type_vocab_size": chance.choice([1, 2, 3]), "layer_norm_eps": chance.choice([1e-12, 1e-5]),
            "hidden_dropout_prob": chance.choice([0.0, 0.1]), "classifier_dropout": chance.choice([None, 0.0, 0.2]),
            "unpad_inputs": chance.random() < 0.7,
        }  # fmt: skip
    else:
        groups = [n for n in (1, 2, 4) if heads % n == 0]
        config |= {
            "num_key_value_heads": chance.choice(groups), "head_dim": chance.choice([None, None, 6, 10]),
            "hidden_act": chance.choice(ACTIVATION_WORDS), "rope_theta": chance.choice([10000.0, 500000.0, 1234.5]),
            "attention_bias": chance.random() < 0.3, "mlp_bias": chance.random() < 0.3,
            "use_bidirectional_attention": chance.random() < 0.2, "eos_token_id": chance.choice([2, None]),
            "bos_token_id": chance.choice([1, None]), "use_cache": chance.random() < 0.8,
            "rms_norm_eps": chance.choice([1e-6, 1e-5]), "attention_dropout": chance.choice([0.0, 0.1]),
        }  # fmt: skip
        if config["head_dim"] == width // heads or (width // heads) % 2:
            config["head_dim"] = None if (width // heads) % 2 == 0 else 10
    chosen = chance.sample(of.heads, chance.randint(1, 3))
    if "AutoModelForCausalLM" in chosen:
        config["use_bidirectional_attention"] = False
    name = chance.choice(["Chapter", "Reef", "T5Like", "Ab", "X"])
    return {
        **state, "config": config, "heads": chosen, "prefix": name, "model_type": f"{name.lower()}_{seed % 97}",
    }  # fmt: skip
