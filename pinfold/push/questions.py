"""What verification would ask the author for, said together with what was refused before it: one push less."""

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from pinfold.audit.finding import Finding
from pinfold.audit.fixes import fix
from pinfold.audit.fixes.files import apply
from pinfold.common.errors import UserError
from pinfold.common.files import link_or_copy
from pinfold.fenced.probe.declared import OWN
from pinfold.folder.model_folder import read_folder, read_modules
from pinfold.folder.outputs import PICTURES, WORDS, inputs_of, required_of
from pinfold.staging.stage import Staged
from pinfold.verify import verify

MASKS = {"attention_mask", "decoder_attention_mask", "position_ids", "token_type_ids"}


def probe_asked(staged: Staged, checkpoint: Path, work: Path, bad: list[Finding]) -> list[str]:
    """The question for a probe.json, ready to be answered; nothing where pinfold knows the inputs.

    The model is built and run for it, in the sandbox. Beside errors of the audit that is done only where the names of
    what forward has to be given do not say what goes in, and never where the code could do something besides
    computing. The names of sound do not say enough: some models have its frames first, others its bins.

    Args:
        bad: what the audit refuses. A copy of the folder has it corrected, as far as pinfold can, before it is run.
    """
    if staged.code_from or staged.tokenizer_only or any(not finding.code.startswith("P") for finding in bad):
        return []
    if (staged.folder.path / OWN).exists() or (bad and _are_known(staged)):
        return []
    try:
        verify.reference(_corrected(staged, work) if bad else staged, checkpoint, work)
    except UserError as error:  # what else is wrong may follow from what was refused: it is left to the next push
        why = str(error).rpartition(" failed: ")[2]  # without the names of directories that end with the push
        return [laid_out(why)] if f"{OWN} beside card.md" in why else []
    return []


def laid_out(why: str) -> str:
    """A question that ends with a ready probe.json, with the file on lines of its own.

    >>> print(laid_out('write this one: {"x": {"values": 1}, "y": {"values": 2}}'))
    write this one:
    <BLANKLINE>
      {
        "x": {"values": 1},
        "y": {"values": 2}
      }
    """
    lead, mark, own = why.rpartition(" this one: ")
    try:
        probe = json.loads(own) if mark else {}
    except ValueError:  # cut off, as it is very long
        return why
    if not isinstance(probe, dict) or not probe:
        return why
    arguments = ",\n".join(f"    {json.dumps(name)}: {json.dumps(words)}" for name, words in probe.items())
    return f"{lead}{mark.rstrip()}\n\n  {{\n{arguments}\n  }}"


def _are_known(staged: Staged) -> bool:
    """Whether each argument that forward has to be given is words or pictures, or a mask of them, and one is."""
    takes = inputs_of(staged.folder, staged.architecture)
    named = WORDS | PICTURES
    if takes is None:
        return True
    return bool(takes[0] & named) and required_of(staged.folder, staged.architecture) <= named | MASKS


def _copied(source: str, target: str) -> None:
    """A file for the corrected copy: what is written into is the copy's own, and weights are not copied."""
    copy = shutil.copyfile if source.endswith((".py", ".json")) else link_or_copy
    copy(source, target)


def _corrected(staged: Staged, work: Path) -> Staged:
    """The same with the folder's source corrected by the automatic fixes: a configuration that cannot be built keeps
    the question from being asked."""
    copy = Path(tempfile.mkdtemp(prefix="corrected-", dir=work)) / staged.folder.path.resolve().name
    shutil.copytree(staged.folder.path, copy, copy_function=_copied)
    for settings in staged.directory.glob("*.json"):  # a finding may follow from what the checkpoint says
        (copy / settings.name).unlink(missing_ok=True)
        shutil.copyfile(settings, copy / settings.name)
    try:
        code = [each for each in fix.propose(copy, read_modules(copy)).changes if each.path.suffix == ".py"]
        apply(code)
        return replace(staged, folder=read_folder(copy))
    except UserError:  # what cannot be corrected is run as it is
        return staged
