"""Whose fault it is that a generated class does not run: the folder's, or that of the class it was made from."""

import pytest
import torch
from transformers import PretrainedConfig, PreTrainedModel

from pinfold.fenced.generated import check_class


class NobodysConfig(PretrainedConfig):
    model_type = "nobodys"

    def __init__(self, hidden_size=8, vocab_size=50, **kwargs):
        super().__init__(**kwargs)
        self.hidden_size, self.vocab_size = hidden_size, vocab_size


def name_that_was_not_copied():
    return not_copied  # noqa: F821


def local_that_is_set_too_late():
    late = late + 1  # noqa: F821
    return late


def refusal():
    raise ValueError("needs something else")


def nothing():
    return None


def a_class(when_built, when_run):
    class Nobodys(PreTrainedModel):
        config_class = NobodysConfig

        def __init__(self, config):
            super().__init__(config)
            when_built()
            self.words = torch.nn.Embedding(config.vocab_size, config.hidden_size)

        def forward(self, input_ids):
            when_run()
            return {"logits": self.words(input_ids)}

    return Nobodys


@pytest.mark.parametrize("place", ["built", "run"])
@pytest.mark.parametrize(
    ("fault", "origins", "is_own"),
    [
        (name_that_was_not_copied, refusal, True),
        (local_that_is_set_too_late, refusal, False),
        (refusal, refusal, False),
        (refusal, nothing, True),
    ],
    ids=["a name that was not copied", "a local set too late", "as its origin", "its origin runs"],
)
def test_a_class_that_does_not_run_is_at_fault_where_its_origin_runs_or_a_name_is_missing(
    fault, origins, is_own, place
):
    made = a_class(fault, nothing) if place == "built" else a_class(nothing, fault)
    ((check, why),) = check_class(made, 60, origin=a_class(nothing, origins))
    if is_own:
        words = "needs something else" if fault is refusal else "NameError: name 'not_copied' is not defined"
        assert check == "builds and runs" and words in why
    else:
        assert check == "not run, as no inputs are known for Nobodys either" and why == ""
