import functools
import operator

from transformers import PretrainedConfig


class PewterConfig(PretrainedConfig):
    model_type = "pewter"

    def __init__(self, sinc_filters=64, sinc_width=251, sample_rate=16000, hidden_size=512, num_hidden_layers=8,
                 num_attention_heads=8, intermediate_size=2048, conv_dim=(256, 256, 256), conv_kernel=(10, 3, 3),
                 conv_stride=(5, 2, 2), chunk_frames=64, dropout=0.1, teacher_decay=None, layer_norm_eps=1e-5, **kwargs):
        super().__init__(**kwargs)
        self.sinc_filters = sinc_filters
        self.sinc_width = sinc_width
        self.sample_rate = sample_rate
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.conv_dim = list(conv_dim)
        self.conv_kernel = list(conv_kernel)
        self.conv_stride = list(conv_stride)
        self.chunk_frames = chunk_frames
        self.dropout = dropout
        self.teacher_decay = teacher_decay
        self.layer_norm_eps = layer_norm_eps
        # what Wav2Vec2's projection reads
        self.feat_proj_dropout = dropout

    @property
    def inputs_to_logits_ratio(self):
        return functools.reduce(operator.mul, self.conv_stride, 1)
