"""What an imported name means: the model file, and the symbol in it."""

import ast
import os

from pinfold.common.errors import UserError
from pinfold.convert.read import modules, sources
from pinfold.convert.read.sources import Source
from pinfold.convert.read.workspace import Conversion


def reference(conversion: Conversion, name: str) -> tuple[str, str] | None:
    """The model file and the symbol that an imported name means, or None."""
    imported = conversion.module.imports.get(name)
    if imported is None or imported.name is None:
        return None
    if imported.module == modules.TRANSFORMERS and not imported.name.startswith("Auto"):
        module = modules.public_classes().get(imported.name)
        return (module, imported.name) if module else None
    if modules.is_model_module(imported.module) and imported.module != own_module(conversion, imported.module):
        return spelled(conversion, *defined(conversion, imported.module, imported.name))
    return None


def spelled(conversion: Conversion, module: str, name: str) -> tuple[str, str]:
    """transformers' own modular files write a name in any case (PaligemmaModel), as their converter ignores it."""
    path = modules.find(module) if conversion.module.package else None
    file = sources.load_module(module) if path else None
    if file is None or name in file.items or name in file.imports:
        return module, name
    same = [n for n in file.classes() if n.lower() == name.lower()]
    return module, same[0] if len(same) == 1 else name


def defined(conversion: Conversion, module: str, name: str) -> tuple[str, str]:
    """Where a name lies that a model's file only imports: LlamaConfig, taken from modeling_llama."""
    if not os.path.isabs(module) and module.count(".") == 2:  # from ..clip import CLIPTextModelWithProjection
        module = modules.public_classes().get(name, module)
    module = conversion.workspace.generated_module(module, name) if os.path.isabs(module) else module
    path = modules.find(module)
    file = conversion.workspace.load_module(module) if path else None
    imported = file.imports.get(name) if file is not None and name not in file.items else None
    if imported is None or imported.name is None or not modules.is_model_module(imported.module):
        return module, name
    return defined(conversion, imported.module, imported.name)


def own_module(conversion: Conversion, module: str) -> str | None:
    """`module` itself where it lies beside the modular file: it is not taken apart, as it stays there."""
    package = conversion.module.package
    return module if package and module.rpartition(".")[0] == package else None


def base_of(conversion: Conversion, node: ast.ClassDef) -> tuple[str, str, int] | None:
    """(module, class, number of the base) of the one base that is a model's class.

    Raises:
        UserError: two of them.
    """
    symbols = []
    for number, base in enumerate(node.bases):
        if isinstance(base, ast.Name):
            symbol = reference(conversion, base.id)
            if symbol is not None:
                file = original(symbol[0], conversion, node.lineno)
                if symbol[1] in file.items:
                    symbols.append((*symbol, number))
                elif symbol[1] not in file.imports:
                    raise UserError(
                        f"{conversion.path}:{node.lineno}: {modules.shown(symbol[0])} has no {symbol[1]}; it has "
                        f"{', '.join(file.classes()[:8])}"
                    )
    if len(symbols) > 1:
        first, second = (symbol[1] for symbol in symbols[:2])
        raise UserError(
            f"{conversion.path}:{node.lineno}: {node.name} has two bases of models, {first} and {second}; "
            "inherit from one, and write out what the other gives"
        )
    return symbols[0] if symbols else None


def original(module: str, conversion: Conversion, line: int = 0) -> Source:
    path = modules.find(module)
    if path is None:
        raise UserError(
            f"{conversion.path}:{line}: module {module} does not exist in this transformers; see what a model offers: "
            "pinfold convert --describe NAME"
        )
    return conversion.workspace.load_module(module)
