"""P84: parts of transformers that are no models, and that nothing tells what attention to use."""

import json

import pytest

from pinfold.audit.examine import examine

CODE = """
import torch
from torch import nn
from transformers import AutoModel, CLIPVisionConfig, CLIPVisionModel, PretrainedConfig, PreTrainedModel
from transformers.models.clip.modeling_clip import CLIPEncoder, CLIPVisionTransformer
from transformers.models.siglip.modeling_siglip import SiglipEncoder
from transformers.models.bert.modeling_bert import BertPooler


class LochConfig(PretrainedConfig):
    model_type = "loch-tiny"

    def __init__(self, vision_config=None, width=8, **kwargs):
        super().__init__(**kwargs)
        self.vision_config = CLIPVisionConfig(**(vision_config or {{}}))
        self.width = width


class Tower(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.inside = {inside}

    def forward(self, x):
        return self.inside(x)


class Inner(PreTrainedModel):
    config_class = CLIPVisionConfig

    def __init__(self, config):
        super().__init__(config)
        self.encoder = CLIPEncoder(config)
        self.post_init()

    def forward(self, x):
        return self.encoder(x)


class LochModel(PreTrainedModel):
    config_class = LochConfig

    def __init__(self, config):
        super().__init__(config)
        {init}
        self.head = nn.Linear(config.width, 2)
        self.post_init()

    def look(self, x):
        return self.vision(x)[0]

    def forward(self, pixel_values=None):
        {run}
        return self.head(x)
"""
CONFIG = {
    "model_type": "loch-tiny",
    "auto_map": {"AutoConfig": "modeling_loch.LochConfig", "AutoModel": "modeling_loch.LochModel"},
}
BUILT = "self.vision = {}(config.vision_config)"
OF_CLIP = BUILT.format("CLIPVisionTransformer")
SMALL = "CLIPVisionConfig(hidden_size=8)"


def findings(tmp_path, *, init=OF_CLIP, run="x = self.vision(pixel_values)[0]", **shape):
    inside = shape.get("inside", "nn.Identity()")
    (tmp_path / "modeling_loch.py").write_text(CODE.format(inside=inside, init=init, run=run))
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    return [finding for finding in examine(tmp_path, "loch").findings if finding.code == "P84"]


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"run": "x = self.look(pixel_values)"},
        {"init": BUILT.format("SiglipEncoder")},
        {"init": f"self.vision = CLIPEncoder({SMALL})"},
        {"init": f"part = {SMALL}\n        self.vision = CLIPEncoder(part)"},
        {"init": BUILT.format("Tower"), "inside": "CLIPEncoder(config)"},
        {"init": "self.vision = Tower(config)", "inside": "CLIPEncoder(config.vision_config)"},
        {"init": "self.vision = CLIPEncoder(self.config.vision_config)"},
    ],
)
def test_a_part_that_nothing_tells_its_attention(tmp_path, shape):
    (finding,) = findings(tmp_path, **shape)
    assert finding.severity == "error" and "P84" in examine(tmp_path, "loch").forecast
    assert finding.releases == ("4.54.1", "4.55.4", "4.56.2", "4.57.6", "5.0.0")


def test_a_part_that_some_forwards_leave_out(tmp_path):
    (finding,) = findings(tmp_path, run="x = self.look(pixel_values) if pixel_values is not None else 0")
    assert finding.severity == "warning"


@pytest.mark.parametrize(
    "shape",
    [
        {"init": BUILT.format("CLIPVisionModel")},
        {"init": BUILT.format("Inner")},
        {"init": BUILT.format("BertPooler")},
        {"init": "self.vision = CLIPEncoder(config)"},
        {"init": "self.vision = CLIPEncoder(self.config)"},
        {"init": "config.vision_config._attn_implementation = 'eager'\n        " + BUILT.format("CLIPEncoder")},
        {"init": "self.vision = CLIPEncoder(CLIPVisionConfig(hidden_size=8, attn_implementation='eager'))"},
        {"init": "self.all = AutoModel.from_config(config.vision_config)\n        " + BUILT.format("CLIPEncoder")},
        {"init": "self.vision = Tower(config)", "inside": "CLIPEncoder(config)"},
    ],
)
def test_a_part_that_is_told_or_looks_up_nothing(tmp_path, shape):
    assert findings(tmp_path, **shape) == []
