from transformers import PretrainedConfig


class MolGraphConfig(PretrainedConfig):
    model_type = "molgraph_gps"
    keys_to_ignore_at_inference = ["past_key_values"]

    def __init__(self, num_atoms: int = 512, num_edges: int = 64, max_degree: int = 32, max_dist: int = 20, hidden_size: int = 128,
                 num_hidden_layers: int = 6, num_attention_heads: int = 8, dropout: float = 0.1, num_targets: int = 1,
                 pad_token_id: int = 0, init_fn=None, apply_graphormer_init: bool = True, no_token_positional_embeddings: bool = False, **kwargs):
        self.num_atoms = num_atoms
        self.num_edges = num_edges
        self.max_degree = max_degree
        self.max_dist = max_dist
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.dropout = dropout
        self.num_targets = num_targets
        self.init_fn = init_fn
        self.apply_graphormer_init = apply_graphormer_init
        self.no_token_positional_embeddings = no_token_positional_embeddings
        super().__init__(pad_token_id=pad_token_id, **kwargs)
