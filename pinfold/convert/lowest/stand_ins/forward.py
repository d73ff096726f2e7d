"""What forward is wrapped in, and the heads that transformers has for any model."""

import functools
import inspect

import torch
from torch import nn
from transformers.modeling_outputs import (
    QuestionAnsweringModelOutput,
    SequenceClassifierOutputWithPast,
    TokenClassifierOutput,
)

from pinfold.convert.lowest.stand_ins.caches import CACHE, takes_cache, with_cache

# --- what forward is wrapped in --------------------------------------------------------------------------------------


class GradientCheckpointingLayer(nn.Module):
    """A layer that is computed again in the backward pass, where the model asks for that."""

    gradient_checkpointing = False

    def __call__(self, *args, **kwargs):
        # Below a trainable input there is nothing to save, and reentrant checkpointing would lose the gradient.
        trained = self.gradient_checkpointing and self.training and torch.is_grad_enabled()
        if not (trained and args and args[0].requires_grad):
            return super().__call__(*args, **kwargs)
        for name, value in (("past_key_values", None), ("use_cache", False)):  # it would be written to twice
            if kwargs.get(name):
                kwargs[name] = value
        return self._gradient_checkpointing_func(functools.partial(super().__call__, **kwargs), *args)


def merge_with_config_defaults(forward):
    """`use_cache` as the configuration says where it is not given; never where layers are computed twice."""

    names = list(inspect.signature(forward).parameters)[1:]

    @functools.wraps(forward)
    def run(self, *args, **kwargs):
        kwargs |= dict(zip(names, args))  # noqa: B905
        if kwargs.get("use_cache") is None:
            kwargs["use_cache"] = getattr(self.config, "use_cache", False)
        if getattr(self, "gradient_checkpointing", False) and self.training and torch.is_grad_enabled():
            kwargs["use_cache"] = False
        return forward(self, **kwargs)

    return run


def can_return_tuple(forward):
    """A plain tuple with ``return_dict=False``, or where the configuration says so."""

    @functools.wraps(forward)
    def run(self, *args, return_dict=None, **kwargs):
        output = forward(self, *args, **kwargs)
        wanted = getattr(self.config, "return_dict", True) if return_dict is None else return_dict
        return output if wanted or isinstance(output, tuple) else output.to_tuple()

    return run


def capture_outputs(forward):
    """Hidden states and attentions, read off the layers as they run when they are asked for; a tuple on request."""

    @functools.wraps(forward)
    def run(self, *args, return_dict=None, output_hidden_states=None, output_attentions=None, **kwargs):
        asked = {"hidden_states": output_hidden_states, "attentions": output_attentions}
        for name, value in asked.items():
            asked[name] = getattr(self.config, f"output_{name}", False) if value is None else value
        kept = {name: [] for name, value in asked.items() if value}

        def keep_states(module, inputs, output):
            states = kept["hidden_states"]
            states += [inputs[0]] if not states else []
            states.append(output[0] if isinstance(output, tuple) else output)

        def keep_weights(module, inputs, output):
            kept["attentions"].append(output[1])

        keepers, hooks = {"hidden_states": keep_states, "attentions": keep_weights}, []
        if asked["attentions"]:
            kwargs["output_attentions"] = True
        try:
            for name in kept:
                parts = (m for m in self.modules() if isinstance(m, self._can_record_outputs[name]))
                hooks += [part.register_forward_hook(keepers[name]) for part in parts]
            output = forward(self, *args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        if "hidden_states" in kept:  # the last one is normalised
            kept["hidden_states"][-1] = output.last_hidden_state
        for name, values in kept.items():
            output[name] = tuple(values)
        wanted = getattr(self.config, "return_dict", True) if return_dict is None else return_dict
        return output if wanted else output.to_tuple()

    return run


def slice_logits_to_keep(hidden_states, logits_to_keep):
    """The places whose logits are wanted: the last n (0: all), indices, or for each row indices or booleans."""
    if not isinstance(logits_to_keep, torch.Tensor):
        return hidden_states[:, -logits_to_keep:]
    if logits_to_keep.dim() == 1:
        return hidden_states[:, logits_to_keep]
    if logits_to_keep.dtype == torch.bool:
        return hidden_states[logits_to_keep]
    return torch.take_along_dim(hidden_states, logits_to_keep[..., None], dim=1)


def causal_lm_loss(
    logits, labels, vocab_size, num_items_in_batch=None, ignore_index=-100, shift_labels=None, **kwargs
):
    """Cross entropy of each next token, as transformers computes it from 4.50 on; older ones added it up otherwise."""
    if shift_labels is None:
        shift_labels = nn.functional.pad(labels, (0, 1), value=ignore_index)[..., 1:]
    logits, target = logits.float().view(-1, vocab_size), shift_labels.reshape(-1).to(logits.device)
    if num_items_in_batch is None:
        return nn.functional.cross_entropy(logits, target, ignore_index=ignore_index)
    loss = nn.functional.cross_entropy(logits, target, ignore_index=ignore_index, reduction="sum")
    items = num_items_in_batch.to(loss.device) if torch.is_tensor(num_items_in_batch) else num_items_in_batch
    return loss / items


# --- heads -----------------------------------------------------------------------------------------------------------


class HeadOnBody:
    """What the heads share: the body under `base_model_prefix`. ``body_class`` is set by who inherits."""

    body_class = None

    def add_body(self, config):
        setattr(self, self.base_model_prefix, self.body_class(config))

    def get_input_embeddings(self):
        return getattr(self, self.base_model_prefix).get_input_embeddings()

    def set_input_embeddings(self, value):
        getattr(self, self.base_model_prefix).set_input_embeddings(value)


class GenericForSequenceClassification(HeadOnBody):
    """A class for each row, read at its last token that is not padding."""

    base_model_prefix = "model"
    accepts_loss_kwargs = False  # its loss is a mean over the batch that it is given

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.add_body(config)
        self.score = nn.Linear(config.hidden_size, self.num_labels, bias=False)
        self.post_init()

    @takes_cache
    @can_return_tuple
    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
        labels=None, use_cache=None, **kwargs,
    ):  # fmt: skip
        """Returns SequenceClassifierOutputWithPast; input_ids are (batch, tokens), labels (batch,) class indices or
        (batch, num_labels) values, everything else as the body takes it.
        """
        output = getattr(self, self.base_model_prefix)(
            input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=past_key_values,
            inputs_embeds=inputs_embeds, use_cache=use_cache, **kwargs,
        )  # fmt: skip
        logits = self.score(output.last_hidden_state)
        pad, rows = self.config.pad_token_id, torch.arange(logits.shape[0], device=logits.device)
        if pad is None and len(rows) > 1:
            raise ValueError(
                f"{len(rows)} rows, but no padding token is defined; set pad_token_id, to find their last tokens"
            )
        last = -1
        if pad is not None and input_ids is not None:
            real = (input_ids != pad).to(logits.device, torch.int32)
            last = (torch.arange(input_ids.shape[-1], device=logits.device, dtype=torch.int32) * real).argmax(-1)
        pooled, loss = logits[rows, last], None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, pooled_logits=pooled, config=self.config)
        return SequenceClassifierOutputWithPast(
            loss=loss, logits=pooled, hidden_states=output.hidden_states, attentions=output.attentions,
            **with_cache(getattr(output, CACHE)),
        )  # fmt: skip


class GenericForTokenClassification(HeadOnBody):
    """A class for each token."""

    base_model_prefix = "model"
    accepts_loss_kwargs = False  # its loss is a mean over the batch that it is given

    def __init__(self, config):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.add_body(config)
        rates = (getattr(config, name, None) for name in ("classifier_dropout", "hidden_dropout"))
        self.dropout = nn.Dropout(next((rate for rate in rates if rate is not None), 0.1))
        self.score = nn.Linear(
            config.hidden_size, config.num_labels, bias=getattr(config, "token_classification_bias", True)
        )
        self.post_init()

    @takes_cache
    @can_return_tuple
    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
        labels=None, use_cache=None, **kwargs,
    ):  # fmt: skip
        """Returns TokenClassifierOutput; input_ids and labels are (batch, tokens), -100 where a token does not count,
        everything else as the body takes it.
        """
        output = getattr(self, self.base_model_prefix)(
            input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=past_key_values,
            inputs_embeds=inputs_embeds, use_cache=use_cache, **kwargs,
        )  # fmt: skip
        logits, loss = self.score(self.dropout(output.last_hidden_state)), None
        if labels is not None:
            loss = self.loss_function(logits, labels, self.config)
        return TokenClassifierOutput(
            loss=loss, logits=logits, hidden_states=output.hidden_states, attentions=output.attentions
        )


class GenericForQuestionAnswering(HeadOnBody):
    """Where in the text an answer starts and ends."""

    base_model_prefix = "model"
    accepts_loss_kwargs = False  # its loss is a mean over the batch that it is given

    def __init__(self, config):
        super().__init__(config)
        self.add_body(config)
        self.qa_outputs = nn.Linear(config.hidden_size, 2)
        self.post_init()

    @takes_cache
    @can_return_tuple
    def forward(
        self, input_ids=None, attention_mask=None, position_ids=None, past_key_values=None, inputs_embeds=None,
        start_positions=None, end_positions=None, **kwargs,
    ):  # fmt: skip
        """Returns QuestionAnsweringModelOutput; input_ids are (batch, tokens), start_positions and end_positions
        (batch,) the tokens where each answer starts and ends, everything else as the body takes it.
        """
        kwargs.pop("num_items_in_batch", None)
        output = getattr(self, self.base_model_prefix)(
            input_ids, attention_mask=attention_mask, position_ids=position_ids, past_key_values=past_key_values,
            inputs_embeds=inputs_embeds, **kwargs,
        )  # fmt: skip
        start, end = (x.contiguous() for x in self.qa_outputs(output.last_hidden_state).unbind(-1))
        loss = None
        if start_positions is not None and end_positions is not None:
            loss = self.loss_function(start, end, start_positions, end_positions)
        return QuestionAnsweringModelOutput(
            loss=loss, start_logits=start, end_logits=end, hidden_states=output.hidden_states,
            attentions=output.attentions,
        )  # fmt: skip
