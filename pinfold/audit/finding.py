"""What an audit says: one finding, one sentence, one thing to do."""

from dataclasses import dataclass

ERROR, WARNING = "error", "warning"
# What code could do to a machine, the most harmful first; what breaks a load comes after it.
HARM = (
    *("S10", "S02", "S01", "S05", "S06", "S08", "S03", "S04", "S07", "S11"),
    *("S15", "S14", "S12", "S13", "S09"),
)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a folder or a repository.

    Args:
        code: stays the same from release to release ("P10", "S03"), so that it can be searched for and accepted.
        sentence: what is wrong, whole; it names the file and the line where the fault has a place.
        file, line: the same place for programs; line 0 is the file as a whole.
        fix: what to do, where the sentence does not say it already.
        severity: ERROR stops a push, WARNING is shown.
        releases: the transformers releases that it concerns, where those are known one by one.
        reason: the maintainer's, where card.md accepts the finding; it is a WARNING then.
        case: what the laboratory measured of it, a key of ranges.json; "" for the case of its code (examine.py).
        where: the condition on which it does harm, where a load decides: "where config.ntk is set".
    """

    code: str
    sentence: str
    file: str = ""
    line: int = 0
    fix: str = ""
    severity: str = ERROR
    releases: tuple[str, ...] = ()
    reason: str = ""
    case: str = ""
    where: str = ""

    def __str__(self) -> str:
        fix = f" {self.fix}" if self.fix else ""
        accepted = f" (accepted: {self.reason})" if self.reason else ""
        return f"{self.code} {self.sentence}{fix}{accepted}"


def by_harm(finding: Finding) -> tuple:
    """The order of a report: errors first, and among them what could do most harm."""
    rank = HARM.index(finding.code) if finding.code in HARM else len(HARM)
    return finding.severity != ERROR, rank, finding.code, finding.file, finding.line


def errors(findings: list[Finding]) -> list[Finding]:
    """Those that stop a push."""
    return [finding for finding in findings if finding.severity == ERROR]
