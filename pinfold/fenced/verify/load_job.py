"""One target of the second job: how it is loaded, and what of it is handed over."""

from .. import handover
from ..probe import probes
from ..values import sha256
from . import buffers, weights
from .answer import Answer


def arguments_of(request: dict) -> dict:
    """What every from_pretrained gets; a tokenizer alone has no code to trust."""
    revisions = {key: request[key] for key in ("revision", "code_revision") if request.get(key)}
    trusted = {"trust_remote_code": True} if request["models"] else {}
    return {"pretrained_model_name_or_path": request["target"], **trusted, **revisions}


class LoadJob:
    """One target, the tensors of its files, and what its loads gave."""

    def __init__(self, request: dict, answer: Answer):
        import torch

        self.request, self.answer = request, answer
        self.dtype = getattr(torch, request["dtype"])
        self.where = arguments_of(request)
        self.tensors = weights.read_files(request["weights"])
        self.is_large = sum(t.numel() for t in self.tensors.values()) > request["many"]
        self.formula: dict[str, list] = {}  # tensors that no file holds, by Auto class
        self.unexpected: dict[str, list] = {}
        self.unaligned: list[str] = []
        self.fails_in: dict[str, str] = {}  # types in which forward raises -> what

    def dirtied(self, auto: str, turn: int):
        """Meanwhile free memory is dirty, so that a tensor which no code writes to is noticed."""
        sizes = [size for size, _ in self.request["unheld"][auto].values()]
        return buffers.dirtied([*sizes, *self.request["missing"][auto].values()], turn)

    def open(self, auto: str, turn: int = 0, **more):
        """Load through an Auto class, from memory that is dirty."""
        import transformers

        arguments = {"torch_dtype": self.dtype, **self.where, **more}
        with self.dirtied(auto, turn):
            return getattr(transformers, auto).from_pretrained(**arguments)

    def open_with_info(self, auto: str) -> tuple:
        """The model, and what transformers says of its keys.

        A folder's own from_pretrained may drop the latter: that is noted, as the file itself shows which keys match.

        Raises:
            TypeError: it returns neither a model nor a pair.
        """
        import torch

        loaded = self.open(auto, output_loading_info=True)
        if isinstance(loaded, (tuple, list)) and len(loaded) == 2 and isinstance(loaded[1], dict):
            return loaded[0], {"missing_keys": [], "unexpected_keys": [], **loaded[1]}
        name = type(loaded).__name__
        if not isinstance(loaded, torch.nn.Module):
            raise TypeError(f"from_pretrained with output_loading_info=True returned {name}, not (model, info)")
        self.answer.notes.append(
            f"{auto}: {name}.from_pretrained returns one value where output_loading_info=True asks for two, the model "
            "and what was loaded; hand its **kwargs to super().from_pretrained, and return what that returns"
        )
        return loaded, {"missing_keys": [], "unexpected_keys": []}

    def buffers_of(self, auto: str, model, dtype: str) -> dict:
        """Tensors that no file holds, for D04: "buffer/name", and "fresh/name" of a model that was just constructed.

        The latter only where another type or release may make them otherwise than the reference's constructor did.
        """
        held = set(weights.matched(model, self.tensors))
        outside = buffers.outside(model, held)
        unheld = {name: tensor for name, tensor in outside.items() if tensor.device.type != "meta"}
        for name in sorted(set(outside) - set(unheld)):
            line = f"buffer {name} differs from a fresh constructor: it has no memory (a tensor on meta)"
            self.answer.check("D04", [f"{auto}: {line}"])
        copies = {f"buffer/{name}": tensor.detach().clone() for name, tensor in unheld.items()}
        expected = {name: digest for name, (_, digest) in self.request["unheld"][auto].items()}
        own_release = self.answer.version == self.request["reference_version"]
        as_expected = own_release or all(sha256(tensor) == expected.get(name) for name, tensor in unheld.items())
        if not outside or (dtype == self.request["dtype"] and as_expected):
            return copies
        fresh = buffers.of_fresh_model(type(model), model.config, dtype, held)
        return copies | {f"fresh/{name}": tensor for name, tensor in fresh.items()}

    def outputs_of(self, auto: str, model) -> dict:
        """Outputs on the reference's probes, under names that no other class has."""
        outputs, _ = probes.run_probes(model, self.request["probe"], self.request["probes"][auto])
        return {f"{auto}/{key}": value for key, value in outputs.items()}

    def hand_over(self, name: str, tensors: dict, **facts) -> None:
        """One load's raw results, in a file of its own."""
        handover.hand_over(self.request["handed"], name, tensors, facts)
