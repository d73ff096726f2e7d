"""Conversation templates."""
import dataclasses
from enum import IntEnum, auto
from typing import Dict, List, Optional


class Style(IntEnum):
    CHATML = auto()
    PLAIN = auto()


@dataclasses.dataclass
class Conversation:
    name: str
    system: str = "You are Fennec."
    roles: tuple = ("user", "assistant")
    messages: List[List[str]] = dataclasses.field(default_factory=list)
    style: Style = Style.CHATML
    sep: str = "<|im_end|>\n"
    stop_token_ids: Optional[List[int]] = None

    def append_message(self, role, message):
        self.messages.append([role, message])

    def get_prompt(self) -> str:
        if self.style == Style.PLAIN:
            return "\n".join(m for _, m in self.messages if m)
        text = f"<|im_start|>system\n{self.system}{self.sep}"
        for role, message in self.messages:
            text += f"<|im_start|>{role}\n" + (message + self.sep if message else "")
        return text

    def copy(self):
        return dataclasses.replace(self, messages=[list(m) for m in self.messages])


_templates: Dict[str, Conversation] = {}


def register(template: Conversation):
    if template.name in _templates:
        raise KeyError(template.name)
    _templates[template.name] = template


def get_conv_template(name: Optional[str]) -> Conversation:
    return _templates[name or "fennec-plain"].copy()


try:
    register(Conversation(name="fennec-zen", stop_token_ids=[2]))
    register(Conversation(name="fennec-plain", style=Style.PLAIN, sep="\n"))
except KeyError:  # the module is read twice by some servers
    pass
