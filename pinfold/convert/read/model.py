"""What a conversion is made of: renamed files of architectures, and the definitions that are taken from them."""

import ast
import symtable
from dataclasses import dataclass, field

from pinfold.convert.read import modules, names, sources
from pinfold.convert.read.sources import Item, Source

# what a class's name ends with decides its file; longer ends first
KINDS = (
    ("ImageProcessorKwargs", "image_processing"),
    ("ImageProcessorPil", "image_processing_pil"),
    ("ImageProcessorFast", "image_processing_fast"),
    ("VideoProcessorInitKwargs", "video_processing"),
    ("VideosKwargs", "processing"),
    ("VideoProcessor", "video_processing"),
    ("ImageProcessor", "image_processing"),
    ("FeatureExtractor", "feature_extraction"),
    ("ProcessorKwargs", "processing"),
    ("ImagesKwargs", "processing"),
    ("TextKwargs", "processing"),
    ("Processor", "processing"),
    ("TokenizerFast", "tokenization_fast"),
    ("Tokenizer", "tokenization"),
    ("Config", "configuration"),
)


def kind_of(name: str) -> str:
    """The kind of the file that a class goes into."""
    return next((kind for end, kind in KINDS if name.endswith(end)), "modeling")


def global_names(text: str) -> frozenset[str]:
    """Names that a text takes from its module; locals are not among them."""
    taken: set[str] = set()

    def visit(table: symtable.SymbolTable) -> None:
        for symbol in table.get_symbols():
            if symbol.is_global() or (table.get_type() == "module" and symbol.is_referenced()):
                taken.add(symbol.get_name())
        for child in table.get_children():
            visit(child)

    visit(symtable.symtable(text, "text", "exec"))
    for part in ast.walk(ast.parse(text)):
        if isinstance(part, (ast.arg, ast.AnnAssign)) and part.annotation is not None:
            taken |= sources.quoted_names(part.annotation)
        elif isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) and part.returns is not None:
            taken |= sources.quoted_names(part.returns)
    return frozenset(taken)


@dataclass
class Vendored:
    """One architecture's file under its new names."""

    module: str
    original: Source
    renamed: Source
    renaming: names.Renaming | None
    beside: dict[str, str] = field(default_factory=dict)  # names that another architecture's definition has already
    keep: frozenset[str] = frozenset()  # functions that the modular file takes by name, or a Hub's kernels replace
    others: dict[str, str] = field(default_factory=dict)  # words of the renamed text that another rule renames

    def rename(self, name: str) -> str:
        if (
            self.renaming is None
            or name in self.keep
            or (name in self.original.imports and not modules.is_model_module(self.original.imports[name].module))
        ):
            return name
        new = self.renaming.word(name)
        return self.others.get(new, new)

    def was(self, item: Item) -> str:
        """The name that a renamed item has upstream."""
        return next(name for name, old in self.original.items.items() if old.line == item.line)


@dataclass
class Definition:
    """Something that one of the generated files holds."""

    name: str
    text: str
    kind: str
    order: tuple
    context: Vendored | None
    names: tuple[str, ...] = ()
    uses: frozenset[str] = frozenset()
    origin: str = ""  # what it was made from: "transformers.models.llama.modeling_llama.LlamaMLP"
