from transformers import T5Config


class MarshfernConfig(T5Config):
    model_type = "marshfern"

    def __init__(self, graph_buckets=8, copy_head=True, node_token_ids=(12, 13), **kwargs):
        self.graph_buckets = graph_buckets
        self.copy_head = copy_head
        self.node_token_ids = list(node_token_ids)
        super().__init__(**kwargs)
