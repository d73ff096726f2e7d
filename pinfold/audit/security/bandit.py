"""bandit's rules as a second opinion: those that are about what remote code can do, in its own words' place."""

import io
import logging
import re
import warnings
from collections.abc import Iterable, Iterator

from pinfold.audit.finding import ERROR, WARNING, Finding
from pinfold.common.errors import UserError
from pinfold.folder.model_folder import Module

# bandit's test -> our code, severity, what is done. Style, passwords in tests, hashes and random numbers are left out;
# so are B102 and B307, which go by a name alone and take a parameter called eval for the builtin.
RULES = {
    "B103": ("S07", WARNING, "opens a file's permissions"),
    "B202": ("S07", ERROR, "unpacks an archive, whose members can lie anywhere"),
    "B301": ("S06", ERROR, "unpickles, and a pickle runs whatever it names"),
    "B302": ("S06", ERROR, "reads marshalled code"),
    "B306": ("S07", WARNING, "makes a temporary file that others can foresee"),
    "B310": ("S03", ERROR, "reaches the network"),
    "B312": ("S03", ERROR, "reaches the network"),
    "B321": ("S03", ERROR, "reaches the network"),
    "B323": ("S03", ERROR, "reaches the network without checking whom it talks to"),
    "B501": ("S03", ERROR, "reaches the network without checking whom it talks to"),
    "B506": ("S06", ERROR, "builds any Python object that the text names"),
    "B507": ("S03", ERROR, "reaches another machine without checking which"),
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
# Without one of these words none of the rules has anything to say, and most model files hold none.
WORDS = re.compile(
    "chmod|tarfile|pickle|dill|shelve|marshal|mktemp|urlopen|urlretrieve|URLopener|telnet|ftplib|unverified|verify\\s*="
    "|yaml|paramiko|host_key|exec_command|shell|system|popen|Popen|spawn|exec[lv]|startfile|subprocess|commands"
    r"|\bload\b|from_pretrained\(|load_dataset|hf_hub_download|snapshot_download|[\u202a-\u202e\u2066-\u2069]"
)


def second_opinion(modules: Iterable[Module]) -> Iterator[Finding]:
    """What bandit finds in the programs of up to 256 KB (it is slow).

    No file of theirs configures it, and no comment of theirs silences it.

    Raises:
        UserError: bandit is not installed.
    """
    shown_warning = warnings.formatwarning
    try:
        from bandit.core import metrics, node_visitor, test_set
        from bandit.core.config import BanditConfig
    except ImportError as error:
        raise UserError(f"the audit needs the package {error.name}; run: pip install 'bandit>=1.8'") from None
    finally:
        warnings.formatwarning = shown_warning  # bandit puts its own there
    tests = test_set.BanditTestSet(BanditConfig(), profile={"include": list(RULES)})
    logger = logging.getLogger("bandit")
    for module in modules:
        if len(module.source) > 1 << 18 or not WORDS.search(module.source):
            continue  # our own reading goes through every program
        level = logger.level
        logger.setLevel(logging.CRITICAL + 1)
        visitor = node_visitor.BanditNodeVisitor(
            module.file,
            io.BytesIO(module.source.encode("utf-8", "replace")),
            None,
            tests,
            False,
            {},
            metrics.Metrics(),
        )
        try:
            visitor.process(module.source)
        except Exception:  # its rules trip over rare programs; our own reading says what it could not read
            logger.debug("bandit gave up on %s", module.file, exc_info=True)
        finally:
            logger.setLevel(level)
        for issue in visitor.tester.results:
            if issue.test_id in RULES:
                code, severity, words = RULES[issue.test_id]
                sentence = f"{module.file}:{issue.lineno}: {words} (bandit {issue.test_id})."
                yield Finding(code, sentence, module.file, issue.lineno, severity=severity)
