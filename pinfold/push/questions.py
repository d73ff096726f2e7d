"""What verification would ask the author for, said together with what the audit found: one push less."""

from pathlib import Path

from pinfold.audit.finding import Finding
from pinfold.common.errors import UserError
from pinfold.fenced.probe.declared import OWN
from pinfold.folder.outputs import PICTURES, WORDS, inputs_of
from pinfold.staging.stage import Staged
from pinfold.verify import verify


def unknown_inputs(staged: Staged, checkpoint: Path, work: Path, bad: list[Finding]) -> list[str]:
    """The question for a probe.json, ready to be answered; nothing where pinfold knows the inputs.

    The model is built and run for it, in the sandbox: only where no argument of its forward has a name that says what
    goes in, and never where the audit found something that the code could do besides computing. The names of sound
    do not say enough: some models have its frames first, others its bins.
    """
    takes = inputs_of(staged.folder, staged.architecture)
    if staged.code_from or staged.tokenizer_only or any(not finding.code.startswith("P") for finding in bad):
        return []
    if takes is None or takes[0] & (WORDS | PICTURES) or (staged.folder.path / OWN).exists():
        return []
    try:
        verify.reference(staged, checkpoint, work)
    except UserError as error:  # what else is wrong may follow from what the audit found
        return [f"then: {line.strip()}" for line in str(error).splitlines() if OWN in line]
    return []
