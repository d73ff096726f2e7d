"""What attributes of a configuration can be, by the folder's own config.json.

Code can change its configuration, and a user can load another one. So a text from there is one of the things that an
attribute can be, and never lowers what is said of a name that is computed at run time (``Const.soft``).
"""

# ruff: noqa: SIM905 (a table of words is read more easily than a list of strings)

import ast
import re

from pinfold.audit.security.values import Const, Settings, Values, count_values, known_strings, sequence_of

CONFIG = re.compile(r"^(?:\w+_)?(?:config|cfg)$")  # how programs call a configuration
CONFIG_CLASS = re.compile(r"Pre[tT]rainedConfig$")
MODEL_CLASS = re.compile(r"PreTrainedModel$")
MOST_ENTRIES = 300
LONGEST_LIST = 100
LONGEST_TEXT = 4096
DEEPEST = 6
SAME_AGAIN = frozenset("to_dict to_diff_dict copy __deepcopy__".split())  # methods that give the settings back
# What transformers writes and reads, and names of classes, which are not places.
LEFT_OUT = frozenset(
    "_name_or_path name_or_path auto_map architectures model_type transformers_version torch_dtype dtype id2label "
    "label2id _commit_hash chat_template".split()
)


MORE = "..."  # stands for the end of an address that is not known
FIELD = re.compile(r"%(?!%)|\{(?!\{)")
ADDRESS = re.compile(
    r"^(?:https?|ftps?|s3|gs|gcs|hf|hf-hub|hf_hub|ssh|sftp|wss?|tcp|git\+https?)(?:://|:)", re.IGNORECASE
)


def address_begun(values: Values) -> Values:
    """An address whose end is not known, of the texts that something unknown is put behind."""
    begun = [text for text in known_strings(values) if ADDRESS.match(text)]
    return tuple(Const(text if text.endswith(MORE) else text + MORE, soft=True) for text in begun[:1])


def address_formatted(values: Values) -> Values:
    """The same of texts with fields, by ``%`` or ``format``: what is in front of the first field is known."""
    return address_begun(tuple(Const(FIELD.split(text, maxsplit=1)[0]) for text in known_strings(values)))


def address_after(kind: type[ast.operator], values: Values) -> Values:
    """What is known of ``values + unknown`` and ``values % unknown``."""
    return address_begun(values) if kind is ast.Add else address_formatted(values) if kind is ast.Mod else ()


def settings_of(config: object, depth: int = 0) -> Settings | None:
    """The texts and switches of a parsed JSON object, and the tables and lists of them in it."""
    if not isinstance(config, dict) or len(config) > MOST_ENTRIES or depth > DEEPEST:
        return None
    entries = [(key, values) for key, value in config.items() if (values := _values(key, value, depth))]
    return Settings(tuple(entries), sum(count_values(values) for _, values in entries) + 1)


def _values(key: str, value: object, depth: int) -> Values:
    if key in LEFT_OUT:
        return ()
    if isinstance(value, bool):
        return (Const(value, soft=True),)
    if isinstance(value, str):
        return (Const(value, soft=True),) if 0 < len(value) <= LONGEST_TEXT else ()
    if isinstance(value, dict):
        inner = settings_of(value, depth + 1)
        return (inner,) if inner is not None and inner.entries else ()
    if isinstance(value, list) and len(value) <= LONGEST_LIST and depth <= DEEPEST:
        rows = [_values("", item, depth + 1) for item in value]
        return sequence_of(rows) if any(rows) else ()
    return ()


def entry(settings: Settings, name: str) -> Values:
    """What a key of the settings has."""
    return next((values for key, values in settings.entries if key == name), ())


def part(settings: Settings, name: str) -> Settings:
    """The settings that a name like text_config stands for: a table of that name, or the whole."""
    return next((v for v in entry(settings, name) if isinstance(v, Settings)), settings)
