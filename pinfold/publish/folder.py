"""A model folder as its source text describes it: classes, Auto classes, and the files they need.

Nothing here imports or executes the folder; everything is read from the syntax tree.
"""

import ast
import re
from dataclasses import dataclass, field
from pathlib import Path

from pinfold.errors import UserError

# The roots of what transformers loads as remote code, and what their bases are called in its releases.
KINDS = {
    "config": {"PretrainedConfig", "PreTrainedConfig"},
    "model": {"PreTrainedModel"},
    "image_processor": {"BaseImageProcessor", "BaseImageProcessorFast", "ImageProcessingMixin"},
    "feature_extractor": {"SequenceFeatureExtractor", "FeatureExtractionMixin"},
    "tokenizer": {"PreTrainedTokenizer", "PreTrainedTokenizerFast", "PreTrainedTokenizerBase"},
    "processor": {"ProcessorMixin"},
}
DEFAULT_AUTO = {
    "config": "AutoConfig",
    "model": "AutoModel",
    "image_processor": "AutoImageProcessor",
    "feature_extractor": "AutoFeatureExtractor",
    "tokenizer": "AutoTokenizer",
    "processor": "AutoProcessor",
}
# Heads whose Auto class has the name of the class's own ending (transformers.models.auto.modeling_auto).
HEADS = (  # noqa: SIM905
    "AudioClassification AudioFrameClassification AudioXVector CausalLM CTC DepthEstimation "
    "DocumentQuestionAnswering ImageClassification ImageSegmentation ImageTextToText ImageToImage "
    "InstanceSegmentation KeypointDetection MaskedImageModeling MaskedLM MaskGeneration MultipleChoice "
    "NextSentencePrediction ObjectDetection PreTraining QuestionAnswering SemanticSegmentation Seq2SeqLM "
    "SequenceClassification SpeechSeq2Seq TableQuestionAnswering TextToSpectrogram TextToWaveform "
    "TimeSeriesPrediction TokenClassification UniversalSegmentation VideoClassification VisualQuestionAnswering "
    "ZeroShotImageClassification ZeroShotObjectDetection"
).split()
# transformers' loader finds a module's siblings with such a pattern, in docstrings as well.
RELATIVE_IMPORT = re.compile(r"^\s*(?:from\s+\.(\w+)\s+import|import\s+\.(\w+)\s*$)", re.MULTILINE)
DIGEST_LINE = re.compile(r"^CODE_DIGEST\s*(?::\s*str\s*)?=.*$", re.MULTILINE)


@dataclass
class Module:
    """One Python file of the folder."""

    name: str
    path: Path
    source: str
    tree: ast.Module

    @property
    def file(self) -> str:
        """The file's name, as messages quote it."""
        return self.path.name

    def siblings(self) -> list[str]:
        """Modules of the folder that this one imports, in order, without repetition."""
        found = [name for pair in RELATIVE_IMPORT.findall(self.source) for name in pair if name]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
                found.append(node.module.split(".")[0])
        return list(dict.fromkeys(found))


@dataclass
class ModelFolder:
    """A folder of remote code."""

    path: Path
    modules: dict[str, Module]
    classes: dict[str, tuple[Module, ast.ClassDef]] = field(default_factory=dict)

    def kind(self, name: str, seen: frozenset = frozenset()) -> str | None:
        """What transformers takes a class for: a key of KINDS, or None for an ordinary class."""
        if name not in self.classes or name in seen:
            return None
        for base in self.classes[name][1].bases:
            text = ast.unparse(base).split("[")[0].split(".")[-1]
            for kind, roots in KINDS.items():
                if text in roots:
                    return kind
            if kind := self.kind(text, seen | {name}):
                return kind
        return None

    def attribute(self, cls: str, attribute: str, seen: frozenset = frozenset()) -> ast.expr | None:
        """The value assigned to a class attribute, here or in a base class of this folder."""
        if cls not in self.classes or cls in seen:
            return None
        node = self.classes[cls][1]
        for statement in node.body:
            targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
            if any(isinstance(t, ast.Name) and t.id == attribute for t in targets):
                return statement.value
        for base in node.bases:
            value = self.attribute(ast.unparse(base).split(".")[-1], attribute, seen | {cls})
            if value is not None:
                return value
        return None

    def registrations(self) -> dict[str, str]:
        """Auto class -> "module.Class" for each ``X.register_for_auto_class(...)`` in the folder."""
        found: dict[str, str] = {}
        for module in self.modules.values():
            for statement in module.tree.body:
                call = statement.value if isinstance(statement, ast.Expr) else None
                if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)):
                    continue
                if call.func.attr != "register_for_auto_class" or not isinstance(call.func.value, ast.Name):
                    continue
                cls = call.func.value.id
                given = [*call.args, *(k.value for k in call.keywords)]
                if given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, str):
                    auto = given[0].value
                else:
                    auto = DEFAULT_AUTO.get(self.kind(cls) or "", "AutoModel")
                if cls in self.classes:
                    found[auto] = f"{self.classes[cls][0].name}.{cls}"
        return found

    def auto_map(self) -> dict[str, str]:
        """The complete auto_map: what the folder registers, else what its class names say."""
        found = self.registrations()
        if not any(auto.startswith("AutoModel") for auto in found):
            models = [name for name in self.classes if self.kind(name) == "model" and self.is_concrete(name)]
            bases = [name for name in models if self.head(name) is None]
            for name in models:
                if auto := self.head(name):
                    found.setdefault(auto, f"{self.classes[name][0].name}.{name}")
            if bases:  # the one that heads are named after, else the last one written
                named = [n for n in bases if n.endswith("Model")]
                chosen = (named or bases)[-1]
                found.setdefault("AutoModel", f"{self.classes[chosen][0].name}.{chosen}")
        if "AutoConfig" not in found and (config := self.config_class(found)):
            found["AutoConfig"] = f"{self.classes[config][0].name}.{config}"
        for name in self.classes:
            kind = self.kind(name)
            if kind not in (None, "config", "model"):
                found.setdefault(DEFAULT_AUTO[kind], f"{self.classes[name][0].name}.{name}")
        return dict(sorted(found.items()))

    def config_class(self, auto_map: dict[str, str]) -> str | None:
        """The configuration class that the models name, else the only one there is."""
        for value in auto_map.values():
            named = self.attribute(value.split(".")[-1], "config_class")
            if isinstance(named, ast.Name) and self.kind(named.id) == "config":
                return named.id
        configs = [name for name in self.classes if self.kind(name) == "config"]
        return configs[-1] if len(configs) == 1 else None

    def is_concrete(self, cls: str, seen: frozenset = frozenset()) -> bool:
        """Whether the class itself can be called: it defines or inherits ``forward`` in this folder."""
        _, node = self.classes[cls]
        if any(isinstance(s, ast.FunctionDef) and s.name == "forward" for s in node.body):
            return True
        parents = {ast.unparse(base).split(".")[-1] for base in node.bases} - seen - {cls}
        return any(self.is_concrete(parent, seen | {cls}) for parent in parents if parent in self.classes)

    @staticmethod
    def head(cls: str) -> str | None:
        """The Auto class that a head's name asks for: ``XForMaskedLM`` -> ``AutoModelForMaskedLM``."""
        endings = [head for head in HEADS if cls.endswith(f"For{head}")]
        return f"AutoModelFor{max(endings, key=len)}" if endings else None

    def closure(self, entries: list[str]) -> list[Module]:
        """The modules that the given ones reach through relative imports, themselves included, sorted."""
        reached: dict[str, Module] = {}
        queue = [name for name in entries if name in self.modules]
        while queue:
            name = queue.pop()
            if name not in reached:
                reached[name] = self.modules[name]
                queue += [s for s in self.modules[name].siblings() if s in self.modules]
        return [reached[name] for name in sorted(reached)]


def read_folder(path: str | Path) -> ModelFolder:
    """Read every Python file directly in a folder.

    Raises:
        UserError: no such folder, no modeling file in it, or a file that is not Python.
    """
    path = Path(path)
    if not path.is_dir():
        raise UserError(f"{path}: no such folder; give a folder with configuration_*.py and modeling_*.py")
    folder = ModelFolder(path, {})
    for file in sorted(path.glob("*.py")):
        try:
            source = file.read_text(encoding="utf-8")
            tree = ast.parse(source, filename=file.name)
        except SyntaxError as error:
            raise UserError(f"{file}:{error.lineno}: {error.msg}; this file is not valid Python") from None
        except (UnicodeDecodeError, ValueError, RecursionError) as error:
            raise UserError(f"{file}: {error}; a model folder holds Python source in UTF-8") from None
        module = folder.modules[file.stem] = Module(file.stem, file, source, tree)
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                folder.classes.setdefault(node.name, (module, node))
    if not any(folder.kind(name) == "model" for name in folder.classes):
        found = ", ".join(m.file for m in folder.modules.values()) or "no Python files"
        raise UserError(
            f"{path}: no file here defines a PreTrainedModel (found {found}); "
            "a model folder has configuration_*.py and modeling_*.py"
        )
    return folder
