"""Abacus configuration: a table encoder, with the features of a row as tokens."""

from transformers import PreTrainedConfig


class AbacusNumericConfig(PreTrainedConfig):
    model_type = "abacus_numeric"
    base_config_key = "numeric_config"

    kind: str = "plr"  # or "linear", "bins"
    n_frequencies: int = 32
    n_bins: int = 48
    sigma: float = 0.1


class AbacusGraphConfig(PreTrainedConfig):
    model_type = "abacus_graph"
    base_config_key = "graph_config"

    edge_types: int = 1
    hops: int = 2
    residual: bool = True


class AbacusEncoderConfig(PreTrainedConfig):
    model_type = "abacus_encoder"
    base_config_key = "encoder_config"

    d_token: int = 192
    n_layers: int = 3
    n_heads: int = 8
    ffn_factor: float = 4 / 3
    activation: str = "reglu"
    attention_dropout: float = 0.2
    ffn_dropout: float = 0.1
    layer_norm_eps: float = 1e-5


class AbacusConfig(PreTrainedConfig):
    r"""
    Args:
        numeric_config (`AbacusNumericConfig` or `dict`): how numbers become tokens.
        encoder_config (`AbacusEncoderConfig` or `dict`): the transformer over the tokens of a row.
        graph_config (`AbacusGraphConfig` or `dict`, *optional*): message passing between rows, if rows have edges.
        categorical_cardinalities (`list[int]`): number of values of each categorical column.
    """

    model_type = "abacus_tab"
    sub_configs = {
        "numeric_config": AbacusNumericConfig,
        "encoder_config": AbacusEncoderConfig,
        "graph_config": AbacusGraphConfig,
    }

    def __init__(
        self,
        numeric_config=None,
        encoder_config=None,
        graph_config=None,
        num_numeric=10,
        categorical_cardinalities=None,
        initializer_range=0.02,
        **kwargs,
    ):
        for key, value in (
            ("numeric_config", numeric_config),
            ("encoder_config", encoder_config),
            ("graph_config", graph_config),
        ):
            cls = self.sub_configs[key]
            if isinstance(value, dict):
                value = cls(**value)
            elif value is None:
                value = cls()
            setattr(self, key, value)
        self.num_numeric = num_numeric
        self.categorical_cardinalities = list(categorical_cardinalities or [])
        self.initializer_range = initializer_range
        super().__init__(**kwargs)

    @property
    def hidden_size(self):
        return self.encoder_config.d_token

    @property
    def num_tokens(self):
        return 1 + self.num_numeric + len(self.categorical_cardinalities)


__all__ = ["AbacusConfig", "AbacusEncoderConfig", "AbacusGraphConfig", "AbacusNumericConfig"]
