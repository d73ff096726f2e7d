"""The steps of a push, in order: stage, audit, verify, card, commit, verify again from the Hub, pin.

A step that fails ends the push with one line; nothing is visible on the Hub before the commit.
"""

import contextlib
import functools
import importlib.util
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packaging.version import Version

from pinfold.audit.finding import Finding
from pinfold.card import card, snippet
from pinfold.card import check as card_check
from pinfold.card import facts as card_facts
from pinfold.card.facts import Facts
from pinfold.card.pipelines import Pipeline, Registry, promised, read_registry
from pinfold.card.sources import Sources
from pinfold.common.errors import UserError, plain_line
from pinfold.common.hub_data import old_data
from pinfold.convert.files import is_generated
from pinfold.fence.overlays import MINIMUM_MATRIX, NEWEST, find_overlay
from pinfold.flatten import NeedsConsent, Origin
from pinfold.folder.human_half import HumanHalf, read_human_half
from pinfold.folder.model_folder import ModelFolder, read_folder
from pinfold.push.card import draw_architecture, gather_facts, make_card, requirements
from pinfold.push.flat import flattened
from pinfold.push.options import Inputs, PushOptions, resolve_inputs
from pinfold.push.prepare import Preparation, Releases, asked_of_flat, raise_with_all_else
from pinfold.push.progress import say, say_below, say_how_to_load, say_meanwhile, step
from pinfold.push.verified import Verified, what_was_equal
from pinfold.remote.client import ConflictError, Remote, patience
from pinfold.remote.commits import commit_files, show_changes, tag_commit
from pinfold.remote.destination import opened
from pinfold.remote.snapshot import real_files
from pinfold.staging.stage import Staged
from pinfold.verify import matrix, verify


@dataclass(frozen=True)
class Published:
    """What a push made.

    ``revision`` is the commit that holds weights and code; ``changed`` says whether this push made it.
    """

    repo: str
    revision: str
    endpoint: str
    snippet: str
    changed: bool


def publish(options: PushOptions, token: str | None = None, model: Any = None) -> Published:
    """All steps of a push; prints one line a step.

    The order is what makes a push safe: whatever can fail on this machine fails before the commit, code is executed
    only after its audit, and a card that pins a commit comes after that commit was loaded from the Hub.
    """
    options, origin = _flattened(options)
    inputs = resolve_inputs(options)
    if not (inputs.path / "card.md").exists():
        raise_with_all_else(options, inputs)
    human = read_human(inputs)
    with workspace(options, inputs, human, token) as push:
        folder = push.fetch_code()
        releases = push.choose_releases(folder)  # a mistake in --versions is said before anything is computed
        staged, sources = push.stage(folder)
        findings = push.audit(staged, releases)
        push.verify_generated()
        verified = push.verify_staged(staged, releases, model, origin)
        facts = push.gather_facts(staged, findings, verified, sources)
        push.check_card(staged, facts)
        if options.dry_run:
            head = show_changes(push.remote, staged, push.exists, push.work, say)
            return Published(push.remote.repo, head, push.remote.destination.endpoint, "", False)
        code, changed = push.commit(staged)
        facts = push.verify_published(staged, verified.expected, code, facts)
        push.pin(staged, code, changed, facts)
        push.tag(code)
        lines = snippet.snippet(staged, push.remote.repo, code)
        published = Published(push.remote.repo, code, push.remote.destination.endpoint, lines, changed)
    say_how_to_load(published.repo, published.revision, changed, lines, push.remote.destination)
    return published


def _flattened(options: PushOptions) -> tuple[PushOptions, Origin | None]:
    """The options with the folder that --flatten writes.

    Raises:
        NeedsConsent: with all else that the folder needs.
    """
    try:
        return flattened(options)
    except NeedsConsent as refused:
        assert options.checkpoint is not None, "without weights nothing is written"
        raise refused.and_also(asked_of_flat(options, refused, options.checkpoint)) from None


def read_human(inputs: Inputs) -> HumanHalf:
    """card.md, if a Hub would take its metadata.

    Raises:
        UserError: it would not.
    """
    human = read_human_half(inputs.path)
    if problems := card_check.human_problems(human.metadata):
        raise UserError(f"{inputs.path / 'card.md'}: {problems[0]}")
    return human


@contextlib.contextmanager
def workspace(options: PushOptions, inputs: Inputs, human: HumanHalf, token: str | None) -> Iterator["Push"]:
    """A directory for this push, and a Hub that is up and lets this user write."""
    checkpoint = inputs.checkpoint
    with (
        tempfile.TemporaryDirectory(prefix="pinfold-") as temporary,
        opened(options.repo, checkpoint.resolve().name, options.endpoint, token) as destination,
        patience(progress=sum(p.stat().st_size for p in checkpoint.glob("*.safetensors")) > 50e6),
    ):
        say(f"push to {destination}")
        if destination.embedded and (note := old_data(destination.embedded)):
            say_below(note)
        remote = Remote(destination, options.branch)
        exists = remote.check_access(options.private)
        yield Push(options, inputs, human, Path(temporary), remote, exists)


@dataclass(frozen=True)
class Push(Preparation):
    """A push under way; its methods are the steps.

    Args:
        exists: whether the repository did when the push began.
    """

    remote: Remote
    exists: bool

    def fetch_code(self) -> ModelFolder:
        """The folder with the code; with --code-from downloaded into the cache that verification loads from."""
        if self.inputs.folder is not None:
            return self.inputs.folder
        code_from, destination = self.options.code_from, self.remote.destination
        assert code_from is not None, "inputs without a folder are weights alone"
        with step("code") as done:
            repository = Remote(replace(destination, repo=code_from.repo), code_from.sha)
            if repository.head() != code_from.sha:
                raise UserError(
                    f"--code-from={code_from}: {destination.endpoint} has no such commit of {code_from.repo}; "
                    "copy the full hash from the list of its commits"
                )
            snapshot = repository.snapshot(code_from.sha, self.hub_home)
            folder = read_folder(real_files(snapshot, self.work / "code" / code_from.repo.split("/")[1]))
            done(f"{code_from.repo} at {code_from.sha}: {len(folder.modules)} files")
        return folder

    @property
    def hub_home(self) -> Path:
        """HF_HOME of loads from the Hub."""
        return self.work / "hub-home"

    def verify_generated(self) -> None:
        """Compare a folder that `pinfold convert` made with what it was made from.

        Raises:
            UserError: the first check that fails.
        """
        path = self.inputs.path
        if self.inputs.kind != "model" or not is_generated(path):
            return
        from pinfold.convert.verify import verify as verify_folder

        with step("convert") as done:
            verification = verify_folder(path, progress=False)
            if bad := verification.failed:
                where = f"{path}: {bad[0].cls or 'folder'}: {bad[0].name}"
                raise UserError(f"{where}: {bad[0].why}; for every check, run pinfold convert --verify")
            classes = dict.fromkeys(c.cls for c in verification.checks if c.cls)
            names = dict.fromkeys(c.name for c in verification.checks if c.cls)
            done(f"{len(classes)} generated classes: {', '.join(names)}")
        for note in verification.notes:
            say_below(note)

    def verify_staged(self, staged: Staged, releases: Releases, model: Any, origin: Origin | None = None) -> Verified:
        """Load the staged files in fresh, sandboxed processes, with every release that was chosen.

        Args:
            model: the one in memory that was staged, None on the command line.
            origin: the class in the package that the folder was written from.
        """
        in_memory = ""
        with step("verify") as done:
            expected = verify.reference(
                staged, self.inputs.checkpoint, self.work, in_memory=model, origin=vars(origin) if origin else None
            )
            if model is not None:
                in_memory = verify.compare_in_memory(model, snippet.main_auto_class(staged), expected) or ""
            # before the loads: they check the staged files as they will be published
            shown = draw_architecture(staged, expected)
            rows, answer = self._load_in_releases(staged, expected, releases.chosen)
            done(what_was_equal(sorted(answer["hashes"]), answer["checks"].get("D08") == "ok"))
        verified = Verified(expected, [row.version for row in rows], answer, shown)
        for line in [
            *self._sizes(verified),
            self._not_run(staged),
            in_memory,
            *self._left_unverified(releases),
            *verified.caveats(),
        ]:
            if line:
                say_below(line)
        return verified

    def _load_in_releases(
        self, staged: Staged, expected: verify.Reference, versions: list[str]
    ) -> tuple[list[matrix.Row], dict]:
        """Load the staged files in every release; the rows, and the answer of the newest.

        Raises:
            UserError: the first failure, and in which releases there is one.
        """
        answers: dict = {}
        hub_home = self.hub_home if staged.code_from else None
        code_revision = staged.code_from.sha if staged.code_from else None

        def loading(overlay: Path | None) -> dict:
            answers[overlay] = verify.staged_load(
                staged, expected, self.work, overlay=overlay, hub_home=hub_home, code_revision=code_revision
            )
            return answers[overlay]

        size = sum(path.stat().st_size for path in staged.weights)
        rows = matrix.run_matrix(versions, loading, size, expected.request.get("threads", 1), lambda row: None)
        failed = [row for row in rows if row.failure]
        if failed:
            by_cause = reversed(matrix.by_failure(failed).items())  # all of them, the newest release's first
            lines = [f"{failure} (transformers {', '.join(where)})" for failure, where in by_cause]
            raise UserError("\n  ".join(lines))
        if not matrix.agree(rows):
            raise UserError(f"D03 {matrix.summary(rows)}; what the folder's code computes depends on the release")
        return rows, answers[find_overlay(rows[-1].version)]

    def _sizes(self, verified: Verified) -> Iterator[str]:
        expected = verified.expected
        alone = self.inputs.kind == "tokenizer"
        size = f"{expected.vocabulary:,} tokens" if alone else f"{expected.parameters:,} parameters"
        yield f"{size}, transformers {', '.join(verified.releases)}"

    def _not_run(self, staged: Staged) -> str:
        """Where the checks of training, padding and saving are, which take minutes."""
        if staged.code_from or self.inputs.kind == "tokenizer":
            return ""
        what = "padding, accumulation, gradient checkpointing and more"
        return f"not tested: {what}; to test them, run pinfold check {self.inputs.path} --suite"

    def _left_unverified(self, releases: Releases) -> Iterator[str]:
        if releases.below:
            below = ", ".join(releases.below)
            yield f"not verified in transformers {below}: MIN_TRANSFORMERS in the folder is higher"
        if releases.left_out:
            yield f"not verified in transformers {', '.join(releases.left_out)}: the folder asks for {releases.asked}"
        known = (*releases.chosen, *releases.below, *releases.left_out, NEWEST)
        missing = [v for v in MINIMUM_MATRIX if v not in known]
        if missing and not self.options.versions:
            listed, words = ", ".join(missing), " ".join(missing)
            yield f"not verified in transformers {listed} (not installed); install with: pinfold compat make {words}"

    def gather_facts(self, staged: Staged, findings: list[Finding], verified: Verified, sources: Sources) -> Facts:
        """What the card will say besides the files."""
        facts = gather_facts(staged, verified.expected, verified.releases, findings, sources, verified.shown)
        answer = verified.answer
        task = card.metadata(staged, self.human, self.remote.repo, sources).get("pipeline_tag")
        return replace(
            facts,
            drawn=answer["formula"],
            unaligned=bool(answer.get("unaligned")),
            fails_in=verified.fails_in,
            not_finite=answer.get("not_finite", {}),
            limit=verified.limit,
            pipeline=promised(staged, task, _registries(verified.releases)),
        )

    def check_card(self, staged: Staged, facts: Facts) -> None:
        """Make the card before there is a commit to pin: one that a Hub would refuse stops the push here."""
        with step("card") as done:
            head = self.remote.head() or "main" if self.exists else ""
            old = self.remote.read("README.md", head, self.work) if head else None
            _, notes = make_card(staged, self.human, self.remote.repo, "0" * 40, facts, old)
            words = len(self.human.text.split())
            done("; ".join(notes) or f"license {self.human.metadata['license']}, {words} words of card.md")
        if missing := card_facts.missing(staged, facts):
            say_below(f"card: missing {', '.join(missing)}")
        if facts.pipeline.line:
            say_below(facts.pipeline.line)

    def commit(self, staged: Staged) -> tuple[str, bool]:
        """The commit that holds these files, and whether it is new."""
        with step("commit") as done:
            staged.check_unchanged()  # the folder's code has run since they were staged
            code, changed, words = commit_files(
                self.remote, staged, self.options, self.work, self.exists, card.pinned, say_meanwhile
            )
            done(words)
        return code, changed

    def verify_published(self, staged: Staged, expected: verify.Reference, code: str, facts: Facts) -> Facts:
        """Load the commit from the Hub as a user's first load does.

        The facts then have the example's output, and whether the pipeline runs.
        """
        with step("verify") as done:
            self.remote.snapshot(code, self.hub_home)
            sizes = card_facts.Sizes.read(expected.measured)
            seen = (sizes.inputs, sizes.outputs) if sizes else ()
            programs = snippet.examples(staged, self.remote.repo, code, *seen)
            load = functools.partial(
                verify.published_load, staged, expected, self.work, hub_home=self.hub_home, repo=self.remote.repo,
                revision=code, code_revision=self.options.code_from.sha if self.options.code_from else None,
            )  # fmt: skip
            try:
                loaded = load(examples=programs, pipeline=_to_try(facts.pipeline))
            except UserError:  # perhaps it was the example alone that failed
                loaded = load()
            equal = "ids" if self.inputs.kind == "tokenizer" else "tensors and outputs"
            done(f"loaded at {code[:12]} from an empty cache: {equal} equal")
        example = loaded.get("example")
        example = example if isinstance(example, dict) else {}
        if refused := snippet.why_not_for_sentences(programs, example):
            say_below(f"SentenceTransformer fails with what was published: {plain_line(refused, 300)}")
        facts = replace(facts, example={**example, "programs": programs})
        if why := loaded.get("pipeline"):
            facts = replace(facts, pipeline=replace(facts.pipeline, why_not=plain_line(why, 300)))
            say_below(facts.pipeline.line)
        return facts

    def pin(self, staged: Staged, code: str, changed: bool, facts: Facts) -> None:
        """A second commit that touches README.md only: a commit cannot contain its own sha."""
        if self.options.create_pr and not changed:
            say("Nothing changed, so no pull request was opened.")
        elif self.options.create_pr:
            say(f"The pull request's commit is {code}. After the merge: pinfold push {self.inputs.path} --pin SHA")
        else:
            with step("pin") as done:
                done(self._commit_card(staged, code, facts))

    def _commit_card(self, staged: Staged, code: str, facts: Facts) -> str:
        for attempt in (1, 2, 3):
            head = self.remote.head()
            old = self.remote.read("README.md", head, self.work)
            before = card.verified_in(old) if old is not None and card.pinned(old) == {code} else []
            facts = self._with_releases(staged, facts, before)
            text, notes = make_card(staged, self.human, self.remote.repo, code, facts, old)
            same_words = old is not None and card.human_part(old) == card.human_part(text)
            if old == text or (same_words and before and set(facts.versions) <= set(before)):
                return "the card already pins this commit"
            path = self.work / "README.md"
            path.write_text(text, encoding="utf-8", newline="\n")
            try:
                sha = self.remote.commit(f"Pin the card to {code[:12]}", head, {"README.md": path})
            except ConflictError:
                if attempt == 3:
                    raise
                continue  # someone's commit came in between; it stays, and ours goes on top of it
            return " ".join([f"README.md in {sha[:12]}", *(f"({note})" for note in notes)])
        raise AssertionError("the last attempt returns or raises")

    def _with_releases(self, staged: Staged, facts: Facts, before: list[str]) -> Facts:
        """The facts with the releases in which an earlier push has verified the same commit."""
        every = sorted({*facts.versions, *before}, key=Version)
        return replace(facts, versions=every, requirements=requirements(staged, every)) if before else facts

    def tag(self, code: str) -> None:
        """Give the commit the tag that was asked for; last, as a tag says that everything is there."""
        if self.options.tag:
            tag_commit(self.remote, self.options.tag, code)
            say(f"  tag      {self.options.tag} points to {code[:12]}")


def _registries(releases: list[str]) -> dict[str, Registry]:
    """Which pipelines each release has, by its own files; the newest last."""
    found = {}
    for release in sorted(releases, key=Version):
        overlay = find_overlay(release)
        spec = importlib.util.find_spec("transformers") if overlay is None else None
        package = Path(spec.origin).parent if spec and spec.origin else (overlay or Path()) / "transformers"
        file = package / "pipelines" / "__init__.py"
        found[release] = read_registry(file.read_text(encoding="utf-8")) if file.is_file() else Registry()
    return found


def _to_try(pipeline: Pipeline) -> list[str]:
    """What a load is asked to try: task and Auto class; nothing where a file is missing."""
    return [pipeline.task, pipeline.auto] if pipeline.task and not pipeline.why_not else []
