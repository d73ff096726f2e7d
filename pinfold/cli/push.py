"""Publish a model folder and its weights: audited, verified before and after, pinned to the commit.

Without --repo the destination is the embedded Hub of this machine. The steps, in order: stage, audit, verify, card,
commit, verify again from the Hub, pin. Where they apply, flatten and code come first (a class of a package or script
becomes a folder; code on a Hub is fetched), and convert after the audit (a converted folder is compared with its
source). A step that fails ends the push with one line and exit code 2.

PATH may also be a tokenizer's directory, without a model; its card.md lies in it.

Example: pinfold push resnet_model --checkpoint runs/resnet-digits --repo me/resnet-digits
"""

import argparse
from pathlib import Path

from pinfold.common.hub_data import in_help
from pinfold.push.options import DEMO, PushOptions
from pinfold.push.steps import publish
from pinfold.remote.destination import EMBEDDED
from pinfold.staging.checkpoint import CodeFrom


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pinfold push``."""
    add = parser.add_argument
    own = f"default: local/<name of the checkpoint> on the embedded Hub, whose data are in {in_help()}"
    add("path", nargs="?", type=Path, metavar="PATH", help=f"model folder (default: the demo, {DEMO[0]})")
    add(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help="what save_pretrained wrote (default: PATH, or the only fitting directory in runs/)",
    )
    add(
        "--flatten",
        metavar="MODULE:CLASS",
        help="write a class of a package (my.package.module:Class), a script or a notebook (train.py:Class) as a flat "
        "folder, to PATH or <model_type>_model, and push that; the package is read, not imported",
    )
    add("--yes", action="store_true", help="publish code taken from a script or a notebook without asking")
    add("--repo", metavar="OWNER/NAME", help=own)
    add("--private", action="store_true", help="create the repository as private")
    add("--branch", default="main", help="branch to commit to; created when missing (default: main)")
    add("--create-pr", action="store_true", help="open a pull request instead; pin it after the merge with --pin")
    add("--tag", help="also give the commit this tag")
    add("--dry-run", action="store_true", help="do all but the upload, and show what would change on the Hub")
    add("--endpoint", metavar="URL", help=f'a Hub\'s address, or "{EMBEDDED}"; overrides HF_ENDPOINT')
    add("--max-shard-size", default="5GB", metavar="SIZE", help="split weights that are larger (default: 5GB)")
    add("--message", help="title of the commit")
    add(
        "--prune",
        action="store_true",
        help="also delete files on the Hub that no push wrote; asks first",
    )
    add(
        "--code-from",
        metavar="OWNER/NAME@SHA",
        help="publish weights for code that is in another repository, pinned as well (PATH then holds card.md)",
    )
    add(
        "--versions",
        nargs="+",
        metavar="VERSION",
        help="transformers releases to verify with, or minimum / all (default: those of minimum that are installed)",
    )
    add(
        "--pin",
        metavar="SHA",
        help="upload nothing; pin the card to this existing commit (such as a merged pull request)",
    )


def main(args: argparse.Namespace) -> int:
    """Run a push from the command line."""
    values = {name: value for name, value in vars(args).items() if name not in ("verb", "code_from")}
    publish(PushOptions(**values, code_from=CodeFrom.parse(args.code_from) if args.code_from else None))
    return 0
