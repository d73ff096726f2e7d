"""bandit's rules as a second opinion, after the interpreter's findings.

Only rules about what remote code can do are used, and their messages are replaced by ours. bandit goes by the names
that a call spells out; run.py says why that is not enough alone.
"""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterable, Iterator

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.common.errors import UserError
from pinfold.folder.model_folder import Module

# bandit's test -> our code, severity, what the code does. Style, passwords, hashes and random numbers are left out;
# so are B102 and B307, which go by a name alone and take a parameter called eval for the builtin.
RULES = {
    "B103": ("S07", WARNING, "gives others access to a file"),
    "B202": ("S07", ERROR, "unpacks an archive, whose members can be written anywhere"),
    "B301": ("S06", ERROR, "unpickles, and a pickle runs whatever it names"),
    "B302": ("S06", ERROR, "reads marshalled code"),
    "B306": ("S07", WARNING, "makes a temporary file with a predictable name"),
    "B310": ("S03", ERROR, "reaches the network"),
    "B312": ("S03", ERROR, "reaches the network"),
    "B321": ("S03", ERROR, "reaches the network"),
    "B323": ("S03", ERROR, "reaches the network without checking who answers"),
    "B501": ("S03", ERROR, "reaches the network without checking who answers"),
    "B506": ("S06", ERROR, "builds any Python object that the text names"),
    "B507": ("S03", ERROR, "reaches another machine without checking which one answers"),
    "B601": ("S02", ERROR, "starts a program on another machine"),
    "B602": ("S02", ERROR, "starts a shell"),
    "B604": ("S02", ERROR, "starts a shell"),
    "B605": ("S02", ERROR, "starts a shell"),
    "B606": ("S02", ERROR, "starts another program"),
    "B607": ("S02", ERROR, "starts another program"),
    "B609": ("S02", ERROR, "starts a shell"),
    "B613": ("S15", ERROR, "holds characters that make text look different from what Python reads"),
    "B614": ("S06", ERROR, "loads a pickle with torch"),
    "B615": ("S03", WARNING, "downloads from a repository that no revision pins"),
}
# Without one of these words none of the rules can apply, and most model files contain none (bandit is slow).
MOST_SOURCE = 1 << 18
WORDS = re.compile(
    "chmod|tarfile|pickle|dill|shelve|marshal|mktemp|urlopen|urlretrieve|URLopener|telnet|ftplib|unverified|verify\\s*="
    "|yaml|paramiko|host_key|exec_command|shell|system|popen|Popen|spawn|exec[lv]|startfile|subprocess|commands"
    r"|\bload\b|from_pretrained\(|load_dataset|hf_hub_download|snapshot_download|[\u202a-\u202e\u2066-\u2069]"
)


def second_opinion(modules: Iterable[Module]) -> Iterator[Finding]:
    """What bandit finds in the programs of up to 256 KB, which no file or comment of the audited folder can change.

    Raises:
        UserError: bandit is not installed.
    """
    format_warning = warnings.formatwarning
    try:
        from bandit.core import metrics, node_visitor, test_set
        from bandit.core.config import BanditConfig
    except ImportError as error:
        raise UserError(f"the audit needs the package {error.name}; run: pip install 'bandit>=1.8'") from None
    finally:
        warnings.formatwarning = format_warning  # bandit replaces it when it is imported
    tests = test_set.BanditTestSet(BanditConfig(), profile={"include": list(RULES)})
    for module in modules:
        if len(module.source) > MOST_SOURCE or not WORDS.search(module.source):
            continue  # the interpreter reads every program
        source = io.BytesIO(module.source.encode("utf-8", "replace"))
        with _silenced(logging.getLogger("bandit")) as logger:
            visitor = node_visitor.BanditNodeVisitor(module.file, source, None, tests, False, {}, metrics.Metrics())
            try:
                visitor.process(module.source)
            except Exception:  # its rules fail on rare programs; the interpreter reports what it could not read
                logger.debug("bandit gave up on %s", module.file, exc_info=True)
        for issue in visitor.tester.results:
            if issue.test_id in RULES:
                code, severity, words = RULES[issue.test_id]
                sentence = f"{module.file}:{issue.lineno}: {words} (bandit {issue.test_id})."
                yield Finding(code, sentence, module.file, issue.lineno, severity=severity)


@contextlib.contextmanager
def _silenced(logger: logging.Logger) -> Iterator[logging.Logger]:
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield logger
    finally:
        logger.setLevel(level)
