"""One target of the second job: how it is loaded, and what it is compared with."""

from ..probe import probes
from . import buffers, weights
from .answer import Answer


def arguments_of(request: dict) -> dict:
    """What every from_pretrained gets; a tokenizer alone has no code to trust."""
    revisions = {key: request[key] for key in ("revision", "code_revision") if request.get(key)}
    trusted = {"trust_remote_code": True} if request["models"] else {}
    return {"pretrained_model_name_or_path": request["target"], **trusted, **revisions}


class LoadJob:
    """One target, what it is compared with, and what its loads gave."""

    def __init__(self, request: dict, answer: Answer):
        import torch
        from safetensors.torch import load_file

        self.request, self.answer = request, answer
        self.dtype = getattr(torch, request["dtype"])
        self.where = arguments_of(request)
        self.tensors = weights.read_files(request["weights"])
        self.expected = load_file(request["outputs"])
        self.rest = torch.load(request["buffers"], weights_only=True)
        self.is_large = sum(t.numel() for t in self.tensors.values()) > request["many"]
        self.hashes: dict[str, str] = {}
        self.formula: dict[str, list] = {}  # tensors that no file holds, by Auto class
        self.unexpected: dict[str, list] = {}
        self.unaligned: list[str] = []
        self.fails_in: dict[str, str] = {}  # types in which forward raises -> what

    def unheld(self, auto: str) -> dict:
        """The reference's tensors that no file holds."""
        return {n.split("/", 1)[1]: t for n, t in self.rest.items() if n.startswith(f"{auto}/")}

    def dirtied(self, auto: str, turn: int):
        """Meanwhile free memory is dirty, so that a tensor which no code writes to is noticed."""
        sizes = [t.numel() * t.element_size() for t in self.unheld(auto).values()]
        return buffers.dirtied([*sizes, *self.request["missing"][auto].values()], turn)

    def open(self, auto: str, turn: int = 0, **more):
        """Load through an Auto class, from memory that is dirty."""
        import transformers

        arguments = {"torch_dtype": self.dtype, **self.where, **more}
        with self.dirtied(auto, turn):
            return getattr(transformers, auto).from_pretrained(**arguments)

    def buffer_lines(self, auto: str, model, dtype: str) -> list:
        """D04, against the reference's constructor, and this version's own where they seem to differ."""
        held = set(weights.matched(model, self.tensors))
        drawn = self.request["drawn"][auto]
        unheld = buffers.outside(model, held)
        if dtype == self.request["dtype"]:
            lines = buffers.compare(unheld, self.unheld(auto), drawn)
            if not lines or self.answer.version == self.request["reference_version"]:
                return lines
        elif not unheld:
            return []
        return buffers.compare(unheld, buffers.of_fresh_model(type(model), model.config, dtype, held), drawn)

    def outputs_of(self, auto: str, model) -> dict:
        """Outputs on the reference's probes, under names that no other class has."""
        outputs, _ = probes.run_probes(model, self.request["probe"], self.request["probes"][auto])
        return {f"{auto}/{key}": value for key, value in outputs.items()}
