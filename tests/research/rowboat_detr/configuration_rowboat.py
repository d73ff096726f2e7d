""" Rowboat DETR configuration """
from transformers.configuration_utils import PretrainedConfig


class RowboatConfig(PretrainedConfig):
    model_type = "rowboat_detr"
    attribute_map = {"hidden_size": "d_model", "num_attention_heads": "num_heads"}

    def __init__(self, d_model=256, encoder_layers=6, decoder_layers=6, num_heads=8, ffn_dim=1024, dropout=0.0,
                 num_queries=100, stem_channels=(64, 128, 256), share_heads=False, with_box_refine=True,
                 auxiliary_loss=False, class_cost=1.0, bbox_cost=5.0, giou_cost=2.0, **kwargs):
        self.d_model = d_model
        self.encoder_layers = encoder_layers
        self.decoder_layers = decoder_layers
        self.num_hidden_layers = encoder_layers
        self.num_heads = num_heads
        self.ffn_dim = ffn_dim
        self.dropout = dropout
        self.num_queries = num_queries
        self.stem_channels = list(stem_channels)
        self.share_heads = share_heads
        self.with_box_refine = with_box_refine
        self.auxiliary_loss = auxiliary_loss
        self.class_cost = class_cost
        self.bbox_cost = bbox_cost
        self.giou_cost = giou_cost
        super().__init__(**kwargs)
