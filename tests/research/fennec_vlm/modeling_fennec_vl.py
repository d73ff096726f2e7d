"""Fennec VL"""
import warnings
from typing import Any, List, Optional, Tuple, Union

import torch
import torch.utils.checkpoint
import transformers
from torch import nn
from torch.nn import CrossEntropyLoss
from transformers import AutoModel, CLIPVisionModel, GenerationConfig, LlamaForCausalLM, Qwen2ForCausalLM
from transformers.modeling_outputs import CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import ModelOutput, logging

from .configuration_fennec_vl import FennecVLConfig
from .conversation import get_conv_template

logger = logging.get_logger(__name__)


def newer_than(release):
    have = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    return have >= release


class FennecVLModel(PreTrainedModel):
    config_class = FennecVLConfig
    main_input_name = "pixel_values"
    base_model_prefix = "language_model"
    _supports_flash_attn_2 = True
    _no_split_modules = ["CLIPEncoderLayer", "Qwen2DecoderLayer", "LlamaDecoderLayer"]

    def __init__(self, config: FennecVLConfig, vision_model=None, language_model=None):
        super().__init__(config)
        assert newer_than((4, 38)), "Fennec needs transformers 4.38"
        vision = config.vision_config
        self.patch_size = vision.patch_size
        self.select_layer = config.select_layer
        self.template = config.template
        self.downsample_ratio = config.downsample_ratio
        self.ps_version = config.ps_version
        side = vision.image_size // vision.patch_size
        self.num_image_token = int(side ** 2 * (config.downsample_ratio ** 2))
        if vision_model is not None:
            self.vision_model = vision_model
        else:
            self.vision_model = CLIPVisionModel(vision)
        if language_model is not None:
            self.language_model = language_model
        elif config.llm_config.architectures[0] == "LlamaForCausalLM":
            self.language_model = LlamaForCausalLM(config.llm_config)
        elif config.llm_config.architectures[0] == "Qwen2ForCausalLM":
            self.language_model = Qwen2ForCausalLM(config.llm_config)
        else:
            raise NotImplementedError(f"{config.llm_config.architectures[0]} is not implemented.")
        grown = vision.hidden_size * int(1 / self.downsample_ratio) ** 2
        hidden = config.llm_config.hidden_size
        self.mlp1 = nn.Sequential(
            nn.LayerNorm(grown), nn.Linear(grown, hidden), nn.GELU(), nn.Linear(hidden, hidden)
        )
        self.img_context_token_id = config.img_context_token_id
        self.conv_template = get_conv_template(self.template)
        self.system_message = self.conv_template.system

    def forward(
        self,
        pixel_values: torch.FloatTensor = None,
        input_ids: torch.LongTensor = None,
        attention_mask: Optional[torch.Tensor] = None,
        position_ids: Optional[torch.LongTensor] = None,
        image_flags: Optional[torch.LongTensor] = None,
        past_key_values: Optional[List[torch.FloatTensor]] = None,
        labels: Optional[torch.LongTensor] = None,
        use_cache: Optional[bool] = None,
        output_attentions: Optional[bool] = None,
        output_hidden_states: Optional[bool] = None,
        return_dict: Optional[bool] = None,
    ) -> Union[Tuple, CausalLMOutputWithPast]:
        return_dict = return_dict if return_dict is not None else self.config.use_return_dict
        inputs_embeds = self.merge(input_ids, pixel_values, image_flags)
        outputs = self.language_model(
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=use_cache,
            output_attentions=output_attentions,
            output_hidden_states=output_hidden_states,
            return_dict=return_dict,
        )
        logits = outputs.logits
        loss = None
        if labels is not None:
            shift_logits = logits[..., :-1, :].reshape(-1, self.language_model.config.vocab_size)
            loss = CrossEntropyLoss()(shift_logits, labels[..., 1:].reshape(-1).to(logits.device))
        if not return_dict:
            output = (logits,) + outputs[1:]
            return (loss,) + output if loss is not None else output
        return CausalLMOutputWithPast(
            loss=loss, logits=logits, past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states, attentions=outputs.attentions,
        )

    def merge(self, input_ids, pixel_values, image_flags=None):
        """Word embeddings, with the pictures' features where the place-holders are."""
        words = self.get_input_embeddings()(input_ids)
        if pixel_values is None:
            return words
        pictures = self.encode_pictures(pixel_values)
        if image_flags is not None:
            pictures = pictures[image_flags.flatten() > 0]
        holes = (input_ids == self.img_context_token_id).unsqueeze(-1)
        if int(holes.sum()) * words.shape[-1] != pictures.numel():
            raise ValueError(f"{int(holes.sum())} place-holders for {pictures.shape[0] * pictures.shape[1]} features")
        return words.masked_scatter(holes.expand_as(words), pictures.to(words))

    def fold(self, grid):
        """Each square of neighbouring patches becomes one longer vector."""
        batch, rows, columns, width = grid.shape
        step = int(1 / self.downsample_ratio)
        grid = grid.unflatten(1, (rows // step, step)).unflatten(3, (columns // step, step))
        order = (0, 1, 3, 2, 4, 5) if self.ps_version == "v2" else (0, 3, 1, 4, 2, 5)
        if self.ps_version == "v1":
            warnings.warn("the first version of folding leaves pictures transposed")
        return grid.permute(*order).flatten(3).flatten(1, 2)

    def encode_pictures(self, pixel_values):
        deep = self.select_layer != -1
        seen = self.vision_model(pixel_values=pixel_values, output_hidden_states=deep)
        patches = (seen.hidden_states[self.select_layer] if deep else seen.last_hidden_state)[:, 1:]
        side = round(patches.shape[1] ** 0.5)
        return self.mlp1(self.fold(patches.unflatten(1, (side, side))))

    def ask(self, tokenizer, picture, question: str, turns: Optional[List[Tuple[str, str]]] = None, **options: Any):
        """One question about one picture; returns the answer and the grown list of turns."""
        turns = list(turns or [])
        talk = get_conv_template(self.template)
        talk.system = self.system_message
        for said in turns + [(question, None)]:
            for role, message in zip(talk.roles, said):
                talk.append_message(role, message)
        prompt = talk.get_prompt()
        if picture is not None:
            holes = tokenizer.convert_ids_to_tokens(self.img_context_token_id) * (self.num_image_token * len(picture))
            prompt = prompt.replace(question, f"<img>{holes}</img>\n{question}", 1)
        encoded = tokenizer(prompt, return_tensors="pt").to(self.device)
        options.setdefault("eos_token_id", talk.stop_token_ids)
        written = self.generate(pixel_values=picture, **encoded, **options)
        answer = tokenizer.decode(written[0], skip_special_tokens=True).split(talk.sep.strip())[0].strip()
        return answer, turns + [(question, answer)]

    @torch.no_grad()
    def generate(self, pixel_values=None, input_ids=None, attention_mask=None,
                 generation_config: Optional[GenerationConfig] = None, **options):
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        options.setdefault("use_cache", True)
        return self.language_model.generate(
            inputs_embeds=self.merge(input_ids, pixel_values),
            attention_mask=attention_mask,
            generation_config=generation_config,
            **options,
        )

    @property
    def lm_head(self):
        return self.language_model.get_output_embeddings()

    def get_input_embeddings(self):
        return self.language_model.get_input_embeddings()

    def get_output_embeddings(self):
        return self.language_model.get_output_embeddings()
