"""Weights that the model itself changes after they were loaded: what is saved then is another model."""

from cases.base import GET_INPUT, POST, M, case

LOGITS = "        return CausalLMOutputWithPast(logits=self.head(self.mix(self.embed(input_ids))))\n"
TWICE = LOGITS.replace("logits=self", "logits=2 * self")
FLAG = (M, POST, "        self.halved = False\n" + POST)
METHOD = """    def _halve(self):
        if self.halved == (not self.training):
            return
        with torch.no_grad():
            self.head.weight.mul_(2) if self.training else self.head.weight.div_(2)
        self.halved = not self.training

"""
for _name, _line in (
    ("in_place", "with torch.no_grad():\n                self.head.weight.div_(2)"),
    ("assigned", "self.head.weight.data = self.head.weight.data / 2"),
    ("operator", "self.head.weight.data *= 0.5"),
):
    _once = f"        if not self.halved:\n            {_line}\n            self.halved = True\n"
    case(f"P72.{_name}", FLAG, (M, LOGITS, _once + TWICE))
case(
    "P72.method",
    FLAG,
    (M, GET_INPUT, METHOD + GET_INPUT),
    (M, LOGITS, "        self._halve()\n" + TWICE),
)
ADDED = LOGITS.replace(
    "self.head(self.mix(self.embed(input_ids)))",
    "F.linear(self.mix(self.embed(input_ids)), self.head.weight + self.delta)",
)
DELTA = "        self.delta = nn.Parameter(torch.zeros(config.vocab_size, config.hidden_size))\n"
MERGES = """    def train(self, mode=True):
        if not mode and not self.merged:
            self.head.weight.data += self.delta.data
            self.merged = True
        return super().train(mode)

"""
case(
    "P72.merged_by_train",
    (M, DELTA, "        self.merged = False\n" + DELTA),
    (M, GET_INPUT, MERGES + GET_INPUT),
    (M, ADDED, LOGITS),
    right=((M, POST, DELTA + POST), (M, LOGITS, ADDED)),
)
