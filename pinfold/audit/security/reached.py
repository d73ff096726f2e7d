"""From where a function is reached: the import of its file, a load, or a call of the model.

By names: a function counts as reached where a reached one names it, as a call, an attribute or a value. So more counts
as reached than is, and what does not is called by nobody but the user's own program.
"""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import ast
from collections import deque
from collections.abc import Iterable, Mapping

from pinfold.audit.security.state import FUNCTIONS
from pinfold.common.trees import below, every
from pinfold.folder.model_folder import Module

# Methods beside the dunders that libraries call by themselves when a model, tokenizer or processor loads or works.
CALLED = frozenset(
    "forward generate reset_parameters post_init tie_weights init_weights get_input_embeddings set_input_embeddings "
    "get_output_embeddings set_output_embeddings resize_token_embeddings prepare_inputs_for_generation "
    "gradient_checkpointing_enable can_generate from_pretrained from_config from_dict to_dict get_config_dict "
    "tokenize _tokenize encode decode _decode convert_tokens_to_ids _convert_token_to_id _convert_id_to_token "
    "convert_tokens_to_string build_inputs_with_special_tokens get_special_tokens_mask get_vocab vocab_size pad "
    "create_token_type_ids_from_sequences prepare_for_tokenization batch_decode apply_chat_template _encode_plus "
    "_batch_encode_plus encode_plus preprocess _preprocess postprocess _forward _sanitize_parameters resize rescale "
    "normalize post_process load_state_dict _load_from_state_dict state_dict train eval to half apply extra_repr "
    "get_rope_index update reorder_cache crop adjust_generation_fn setup_context vmap backward jvp encode_image "
    "encode_text load embed".split()
)
UNREACHED = "not reached by a load or a call of the model"
SAVES = ("save", "write", "export", "dump", "push_to_hub")


class Reached:
    """Which functions of the folder run when it is loaded or its model is called, and from where.

    Args:
        at_import: functions that are called while a file is imported.
        calls: function -> those it calls in another way than by their names, such as through a table of functions.
    """

    def __init__(self, modules: Iterable[Module], at_import: Iterable[ast.AST], calls: Mapping[ast.AST, Iterable]):
        self.calls = calls
        self.named: dict[str, list[ast.AST]] = {}
        self.label: dict[ast.AST, str] = {}
        self.enclosing: dict[ast.AST, ast.AST] = {}
        entries: list[ast.AST] = []
        for module in modules:
            entries += self._read(module.tree, "", None)
        self.origin: dict[ast.AST, str] = {}
        self._queue: deque[ast.AST] = deque()
        for node in at_import:
            self._reach(node, "the import of its file")
        for node in entries:
            self._reach(node, self.label.get(node, ""))
        while self._queue:
            self._follow(self._queue.popleft())

    def _reach(self, node: ast.AST, origin: str) -> None:
        if node not in self.origin:
            self.origin[node] = origin
            self._queue.append(node)

    def _read(self, tree: ast.AST, cls: str, function: ast.AST | None) -> list[ast.AST]:
        """Every function below a node; those that libraries call are the result."""
        entries: list[ast.AST] = []
        stack: list[tuple[ast.AST, str, ast.AST | None]] = [(tree, cls, function)]
        while stack:
            node, owner, outer = stack.pop()
            for child in below(node):
                inner_class, inner = owner, outer
                if outer is None and isinstance(child, (ast.Assign, ast.AnnAssign)):
                    self._name_lambdas(child)
                if isinstance(child, ast.ClassDef):
                    inner_class, inner = child.name, outer
                elif isinstance(child, FUNCTIONS):
                    name = getattr(child, "name", "")
                    self.label[child] = f"{owner}.{name}".lstrip(".")
                    if outer is not None:
                        self.enclosing[child] = outer
                    if name:
                        self.named.setdefault(name, []).append(child)
                    if self._is_entry(name, owner):
                        entries.append(child)
                    inner_class, inner = "", child
                stack.append((child, inner_class, inner))
        return entries

    def _name_lambdas(self, node: ast.Assign | ast.AnnAssign) -> None:
        """A lambda in what a file or a class assigns to a name is reached by that name: a table, a property."""
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in [target for target in targets if isinstance(target, ast.Name)]:
            if each := every(node, ast.Lambda):
                self.named.setdefault(target.id, []).extend(each)

    @staticmethod
    def _is_entry(name: str, cls: str) -> bool:
        if name.lstrip("_").startswith(SAVES):
            return False
        is_dunder = name.startswith("__") and name.endswith("__")
        return name in ("forward", "generate") or (bool(cls) and (name in CALLED or is_dunder or name[:6] == "_init_"))

    def _follow(self, function: ast.AST) -> None:
        """Reach what a function names, or has inside: a name once, as it leads to the same functions each time."""
        origin = self.origin[function]
        for other in self.calls.get(function, ()):
            self._reach(other, origin)
        stack = list(below(function))
        while stack:
            node = stack.pop()
            if isinstance(node, FUNCTIONS):  # what is in it is followed from there
                self._reach(node, origin)
                continue
            name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
            for other in self.named.pop(name, ()) if name else ():
                self._reach(other, origin)
            stack += below(node)

    def words(self, function: ast.AST | None) -> str:
        """How a finding in a function is reached, for its sentence; "" where that is plain or not known."""
        if function is None:
            return "when the file is imported"
        origin = self.origin.get(function)
        if origin is None:
            return UNREACHED
        return f"in {origin}" if origin == self.label.get(function) else f"reached from {origin}" if origin else ""
