"""What a push does before a Hub is asked: the releases are chosen, the files staged and audited.

Each refusal costs an author a push. So what one of them finds is said together with what the next would ask for.
"""

import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from packaging.version import Version

from pinfold.audit.finding import ERROR, Finding, errors
from pinfold.audit.rules.files import asked_of_transformers
from pinfold.audit.rules.model import REGISTERS_ON_LOAD
from pinfold.audit.run import audit
from pinfold.audit.security.run import accepted
from pinfold.card.sources import Sources, read_sources
from pinfold.common.errors import UserError
from pinfold.flatten import NeedsConsent
from pinfold.folder.human_half import HumanHalf, read_human_half
from pinfold.folder.model_folder import ModelFolder, read_folder
from pinfold.folder.releases import lowest_version
from pinfold.push.hints import hints
from pinfold.push.options import Inputs, PushOptions, resolve_inputs
from pinfold.push.progress import say_below, step
from pinfold.push.questions import probe_asked
from pinfold.staging.stage import Staged, stage, stage_tokenizer, write_manifest
from pinfold.verify import matrix


@dataclass(frozen=True)
class Releases:
    """transformers releases to verify with, and those that the folder declares it does not support.

    Args:
        below: by MIN_TRANSFORMERS. left_out: by what the folder asks pip for, which ``asked`` is.
    """

    chosen: list[str]
    below: list[str]
    left_out: list[str] = field(default_factory=list)
    asked: str = ""


@dataclass(frozen=True)
class Preparation:
    """The steps that need no Hub.

    Args:
        work: a directory that ends with the push.
    """

    options: PushOptions
    inputs: Inputs
    human: HumanHalf
    work: Path

    def choose_releases(self, folder: ModelFolder) -> Releases:
        """Those of --versions, or of the minimum matrix those that are installed."""
        lowest, versions = lowest_version(folder), self.options.versions
        chosen, below = matrix.choose(versions, lowest) if versions else matrix.at_hand(lowest, lambda line: None)
        asked = asked_of_transformers(folder)
        left_out = [version for version in chosen if not asked.contains(version)]
        if len(left_out) < len(chosen):
            chosen = [version for version in chosen if version not in left_out]
            return Releases(chosen, below, left_out, f"transformers{asked}")
        if versions:
            raise UserError(
                f"the folder asks for transformers{asked}, and {', '.join(left_out)} was chosen; add a release that "
                "it asks for, or change its requirements"
            )
        return Releases(chosen, below)

    def stage(self, folder: ModelFolder) -> tuple[Staged, Sources]:
        """The files exactly as they will be on the Hub, and what lies beside the weights for the card."""
        with step("stage") as done:
            self._check_space()
            directory = self.work / "staged"
            directory.mkdir()
            checkpoint, options = self.inputs.checkpoint, self.options
            if self.inputs.kind == "tokenizer":
                staged, sources = stage_tokenizer(directory, checkpoint), Sources()
            else:
                staged = stage(
                    folder, checkpoint, directory, options.max_shard_size, options.code_from, words=self.inputs.path
                )
                sources = read_sources(checkpoint, directory)
            write_manifest(staged)  # with the picture of the losses, which was added since
            megabytes = sum((staged.directory / name).stat().st_size for name in staged.files) / 1e6
            done(f"{len(staged.files)} files, {megabytes:.1f} MB")
        for name, size in staged.included:
            say_below(f"included: {name} ({size:,} bytes)")
        for hint in hints(staged):
            say_below(hint)
        reasons = sources.why_left_out()
        for name, reason in staged.left_out:
            if name not in staged.files:
                say_below(f"left out: {name} ({reasons.get(name, reason)})")
        return staged, sources

    def _check_space(self) -> None:
        needed = (
            sum(p.stat().st_size for p in self.inputs.checkpoint.glob("*.safetensors")) * 2
        )  # and downloaded again
        free = shutil.disk_usage(self.work).free
        if needed > free:
            raise UserError(
                f"{self.work} has {free / 1e9:.1f} GB free, but {needed / 1e9:.1f} GB are needed; set TMPDIR to a "
                "directory with more space"
            )

    def audit(self, staged: Staged, releases: Releases) -> list[Finding]:
        """The findings that do not stop the push.

        Args:
            releases: those to verify with; a warning about what fails in one of them stops it.

        Raises:
            UserError: with all that do.
        """
        with step("audit") as done:
            if staged.code_from:
                findings = audit(staged.directory, staged.folder, code_from=staged.code_from.repo)
            else:
                code = None if staged.tokenizer_only else read_folder(staged.directory)
                findings = audit(staged.directory, code, original=staged.folder.path)
            findings = accepted(findings, self.human.accepted)
            if any(Version(release) < Version(".".join(map(str, REGISTERS_ON_LOAD))) for release in releases.chosen):
                findings = [replace(f, severity=ERROR) if f.code == "P28" else f for f in findings]
            if bad := errors(findings):
                count = f"{len(bad)} error{'s' * (len(bad) > 1)}"
                others = [f"warning: {finding}" for finding in findings if finding not in bad]
                asked = probe_asked(staged, self.inputs.checkpoint, self.work, bad)
                text = "\n  ".join([f"the audit found {count}: {bad[0]}", *map(str, bad[1:]), *others])
                raise UserError("\n\n  ".join([text, *(f"then: {line}" for line in asked)]))
            done(f"{len(findings)} warning{'s' * (len(findings) != 1)}" if findings else "nothing found")
        for finding in findings:
            say_below(str(finding))
        return findings


def raise_with_all_else(options: PushOptions, inputs: Inputs) -> NoReturn:
    """Refuse a folder without card.md.

    Raises:
        UserError: with all else that it needs.
    """
    try:
        read_human_half(inputs.path)
    except UserError as error:
        raise UserError("\n\n  ".join([str(error), *_asked(options, inputs)])) from None
    raise AssertionError("card.md is not there")


def asked_of_flat(options: PushOptions, refused: NeedsConsent, checkpoint: Path) -> list[str]:
    """What a flat folder that is not written yet needs besides consent."""
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        path = Path(temporary) / refused.folder.resolve().name
        path.mkdir()
        own = [refused.folder / name for name in ("probe.json", "requirements.txt")]
        for source in own:
            if source.is_file():
                shutil.copyfile(source, path / source.name)
        for name, text in refused.flat.files.items():
            (path / name).write_text(text, encoding="utf-8", newline="\n")
        inputs = resolve_inputs(replace(options, path=path, checkpoint=checkpoint, flatten=None))
        return [line.replace(str(path), str(refused.folder)) for line in _asked(options, inputs)]


def _asked(options: PushOptions, inputs: Inputs) -> list[str]:
    if inputs.folder is None or inputs.kind != "model":
        return []
    with tempfile.TemporaryDirectory(prefix="pinfold-") as temporary:
        preparation = Preparation(options, inputs, HumanHalf(), Path(temporary))
        try:
            releases = preparation.choose_releases(inputs.folder)
            staged, _ = preparation.stage(inputs.folder)
            preparation.audit(staged, releases)
        except UserError as error:
            return [str(error)]
        return probe_asked(staged, inputs.checkpoint, preparation.work, [])
