"""Annotated names of a configuration class, of which transformers makes fields (P15)."""

import pytest

from pinfold.audit.examine import examine
from pinfold.audit.finding import errors
from pinfold.audit.run import audit
from pinfold.folder.model_folder import read_modules

TOP = """from __future__ import annotations

import collections
from collections import deque
from dataclasses import InitVar, field
from typing import ClassVar, Dict, List, Optional

from transformers import LlamaConfig, PretrainedConfig

FIRST = [1, 2]
PAIR = (1, 2)


class PartConfig(PretrainedConfig):
    model_type = "part"


class HashedConfig(PretrainedConfig):
    def __hash__(self):
        return 1


class Plain:
    pass

"""
CONSTRUCTOR = "    def __init__(self, widths=None, **kwargs):\n        super().__init__(**kwargs)\n"


def fields(tmp_path, *lines, base="PretrainedConfig", constructor=CONSTRUCTOR, more=""):
    """Findings about the fields of a configuration with these lines in its body."""
    body = '    model_type = "own"\n' + "".join(f"    {line}\n" for line in lines) + constructor
    (tmp_path / "configuration_own.py").write_text(
        f"{TOP}\nclass OwnConfig({base}):\n{body}{more}\n\nOwnConfig.register_for_auto_class()\n"
    )
    return [f for f in audit(tmp_path, read_modules(tmp_path)) if "field" in f.case]


@pytest.mark.parametrize("constructor", ["", CONSTRUCTOR])
@pytest.mark.parametrize(
    "line",
    [
        "widths: list = [8]",
        "widths: Dict[str, int] = {}",
        "widths: set = {8}",
        "widths: Optional[List[int]] = [x for x in (1, 2)]",
        "widths: list = FIRST",
        "widths: list = 3 * [8]",
        "widths: list = FIRST + [3]",
        "widths: dict = dict(a=1)",
        "widths: list = sorted(PAIR)",
        "widths: deque = deque()",
        "widths: dict = collections.OrderedDict()",
        "widths: list = field(default=[8])",
        "first = [8]; widths: list = first",
        "if True:\n        widths: list = [8]",
        "part: PartConfig = PartConfig()",
        "part: LlamaConfig = LlamaConfig()",
    ],
)
def test_a_field_whose_default_can_be_changed_fails_from_5_4_on(line, constructor, tmp_path):
    (finding,) = fields(tmp_path, line, constructor=constructor)
    assert finding.releases[0].startswith("5.4") and len(finding.releases) > 20
    assert "Take out the annotation: " in finding.fix
    assert examine(tmp_path, "own").findings.count(finding) == 1


@pytest.mark.parametrize(
    "line",
    [
        "widths = [8]",
        "widths: tuple = (8, [1])",
        "widths: tuple = PAIR",
        "widths: int = 8",
        "widths: str = 'a'",
        "widths: Optional[List[int]] = None",
        "widths: ClassVar[list] = [8]",
        "widths: 'ClassVar' = [8]",
        "widths: InitVar[list] = [8]",
        "widths: list = field(default_factory=list)",
        "widths: str = '%s' % [8]",
        "widths: frozenset = frozenset([8])",
        "widths: int = len([8])",
        "part: HashedConfig = HashedConfig()",
        "part: Plain = Plain()",
        "FIRST = (1,); widths: tuple = FIRST",
    ],
)
def test_other_names_in_the_body_do_no_harm(line, tmp_path):
    assert fields(tmp_path, line) == []


def test_what_is_no_configuration_has_no_fields(tmp_path):
    mixin = "\n\nclass Mixin:\n    widths: list = [8]\n\n    def depths(self):\n        own: list = [8]\n"
    assert fields(tmp_path, more=mixin) == []


@pytest.mark.parametrize("base", ["LlamaConfig", "PartConfig"])
def test_a_configuration_of_another_one_has_fields_too(base, tmp_path):
    (finding,) = fields(tmp_path, "widths: list = [8]", base=base)
    assert finding.case == "P15.mutable_field"


def test_a_field_of_a_base_in_the_folder_is_found_once(tmp_path):
    more = "\n\nclass LastConfig(OwnConfig):\n    pass\n"
    (finding,) = fields(tmp_path, "widths: list = [8]", more=more)
    assert "OwnConfig" in finding.sentence


def test_a_field_without_a_value_fails_where_it_was_measured(tmp_path):
    (own,) = fields(tmp_path, "widths: list")
    assert {r.rpartition(".")[0] for r in own.releases} == {"5.4"}
    (none,) = fields(tmp_path, "widths: list", constructor="")
    assert none.releases[0].startswith("5.4") and none.releases[-1].startswith("5.19")
    assert errors([own, none]) == [own, none]
    assert fields(tmp_path, "widths: ClassVar[list]") == []
