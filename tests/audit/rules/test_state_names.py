"""What changes the names of a state while torch loads it, and from_pretrained does not call (P48)."""

import numpy
import pytest
from corpus.net_folder import findings
from safetensors.numpy import save_file

from pinfold.audit.finding import errors

LAYER = """
import functools
PARTS = ("query", "key", "value")


def convert(state_dict, prefix, *args):
    state_dict[prefix + "inner.weight"] = state_dict.pop(prefix + "query.weight")


def drop(state_dict, prefix, *args):
    state_dict.pop(prefix + "query.weight", None)


class Layer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.inner = nn.Linear(8, 8)
{init}

{methods}
"""
METHOD = "    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):\n"
UP = "        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)\n"
WHERE = "where the file has the names that it changes"
FUSES = (
    '        keys = [f"{prefix}{part}.weight" for part in PARTS]\n        if keys[0] in state_dict:\n'
    '            state_dict[prefix + "inner.weight"] = torch.cat([state_dict.pop(key) for key in keys])\n'
)


def states(tmp_path, methods="", init="pass", more="", tensors=()):
    """Findings about a layer with these methods, and a file with tensors of these names."""
    if tensors:
        save_file({name: numpy.zeros(1) for name in tensors}, tmp_path / "model.safetensors", {"format": "pt"})
    layer = LAYER.format(methods=methods, init=f"        {init}")
    return findings(tmp_path, "P48", layer, "self.layer = Layer(config)", more)


@pytest.mark.parametrize(
    ("methods", "init"),
    [
        (METHOD + FUSES + UP, "pass"),
        (METHOD + "        convert(state_dict, prefix)\n" + UP, "pass"),
        (METHOD + "        state_dict.update({prefix + 'inner.weight': 1})\n" + UP, "pass"),
        (METHOD + UP.replace("state_dict, prefix", "{k[2:]: v for k, v in state_dict.items()}, prefix"), "pass"),
        (METHOD + "        other = dict(state_dict)\n        other['inner.weight'] = 1\n" + UP, "pass"),
        ("", "self._register_load_state_dict_pre_hook(convert)"),
        ("", "self._register_load_state_dict_pre_hook(functools.partial(convert, suffix=1))"),
        (
            "    def names(self, state, prefix, *args):\n        state[prefix] = 1\n",
            "self._register_load_state_dict_pre_hook(self.names)",
        ),
        ("", "self.register_load_state_dict_pre_hook(lambda module, state, prefix, *rest: state.update(x=1))"),
        ("", "self._register_load_state_dict_pre_hook(something_else(config))"),
    ],
)
def test_names_that_a_layer_changes_are_not_changed(methods, init, tmp_path):
    (finding,) = states(tmp_path, methods, init)
    assert errors([finding]) and finding.where == WHERE and len(finding.releases) > 20


@pytest.mark.parametrize(
    ("methods", "init"),
    [
        (METHOD + UP, "pass"),
        (METHOD + UP + "        self.ready = True\n", "pass"),
        (METHOD + "        state_dict.pop(prefix + 'query.weight', None)\n" + UP, "pass"),
        (METHOD + "        state_dict = state_dict.copy()\n        del state_dict['x']\n" + UP, "pass"),
        (METHOD + "        logger.info('%s', state_dict)\n        print(len(state_dict))\n" + UP, "pass"),
        ("", "self._register_load_state_dict_pre_hook(drop)"),
        ("    def load_state_dict(self, state_dict):\n        convert(state_dict, '')\n", "pass"),  # nothing calls it
    ],
)
def test_what_changes_no_name_is_no_fault(methods, init, tmp_path):
    assert states(tmp_path, methods, init) == []


def test_the_file_says_whether_a_load_needs_it(tmp_path):
    old, new = ("layer.query.weight", "layer.key.weight"), ("layer.inner.weight",)
    (finding,) = states(tmp_path, METHOD + FUSES + UP, tensors=old)
    assert finding.where == ""
    assert states(tmp_path, METHOD + FUSES + UP, tensors=new) == []


@pytest.mark.parametrize(
    ("methods", "init"),
    [
        ("", "self._register_state_dict_hook(back)"),
        ("    def state_dict(self, *args, **kwargs):\n        return {k[1:]: 1 for k in self.keys}\n", "pass"),
        ("    def _save_to_state_dict(self, to, prefix, keep):\n        to[prefix + 'query.weight'] = 1\n", "pass"),
    ],
)  # fmt: skip
def test_a_layer_that_saves_other_names_than_it_has_is_sure_to_fail(methods, init, tmp_path):
    (finding,) = states(tmp_path, METHOD + FUSES + UP + methods, init)
    assert (finding.where, finding.case) == ("", "P48.method_and_save")


def test_load_state_dict_of_a_model_is_not_called(tmp_path):
    more = "def load_state_dict(self, state_dict, **kwargs):\n        convert(state_dict, '')\n        return super().load_state_dict(state_dict, **kwargs)\n"  # noqa: E501
    (finding,) = states(tmp_path, more=more)
    assert finding.case == "P48.load_state_dict"
    assert states(tmp_path, more=more.replace("convert(state_dict, '')", "self.seen = True")) == []


def test_a_class_that_loads_itself_is_warned(tmp_path):
    more = "@classmethod\n    def from_pretrained(cls, path, **kwargs):\n        return cls(NetConfig())\n"
    (finding,) = states(tmp_path, METHOD + FUSES + UP, more=more)
    assert errors([finding]) == []
