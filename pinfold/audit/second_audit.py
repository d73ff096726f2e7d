"""Whether automatic fixes leave a folder no worse: it is read again with them, in a copy, before any is offered."""

import shutil
import tempfile
from pathlib import Path

from pinfold.audit import ranges
from pinfold.audit.examine import examine, harm_of
from pinfold.audit.fixes.files import Fix
from pinfold.common.files import link_or_copy
from pinfold.folder.releases import every_minor


def not_worse(directory: Path, changes: list[Fix]) -> tuple[list[Fix], list[str]]:
    """The changes after which no release does worse by a second audit, and a line for each file that is left out."""
    before = _harm_with(directory, [])
    if _is_worse(before, _harm_with(directory, changes)):
        good = [fix for fix in changes if not _is_worse(before, _harm_with(directory, [fix]))]
        bad = [fix for fix in changes if fix not in good]
        if not _is_worse(before, _harm_with(directory, good)):
            return good, [
                f"{fix.file}: {', '.join(fix.codes)} is left: another fault would do more harm" for fix in bad
            ]
        return [], ["nothing was changed: together the fixes would do more harm than the faults"]
    return changes, []


def _harm_with(directory: Path, changes: list[Fix]) -> dict[str, str]:
    """Release -> the worst that the findings do there, once the changes are made."""
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        copy = Path(temporary) / (directory.resolve().name or "folder")
        shutil.copytree(directory, copy, copy_function=link_or_copy, symlinks=True)
        for fix in changes:
            place = copy / fix.path.relative_to(directory)
            place.unlink()  # a link to the original
            place.write_text(fix.after, encoding="utf-8", newline="")
        return harm_of(examine(copy, copy.name).findings, every_minor())


def _is_worse(before: dict[str, str], after: dict[str, str]) -> bool:
    order = [*ranges.EFFECTS, None]
    return any(order.index(stage) < order.index(before.get(release)) for release, stage in after.items())
