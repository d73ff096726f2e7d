"""Serve the embedded Hub on this machine, or look after its data. Without an action it serves.

Example:
  pinfold hub --port 7870
  pinfold hub token me --role write
  pinfold hub import runs/my_model me/model
"""

import argparse
import contextlib
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pinfold.cli.parser import add_action
from pinfold.common.errors import UserError, missing_extra, printable
from pinfold.common.hub_data import hub_data, in_help, old_data

KIND_NAMES = ("model", "dataset", "space")
NEEDS_DATA = ("tokens", "revoke", "gc", "verify")  # useless on an empty directory, so none is made for them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from pinfold.hub.options import HOST, PART_SIZE, PORT

    where = f"where repositories are kept (default: PINFOLD_HUB if it is set; here {in_help()})"
    parser.add_argument("--data", type=_directory, help=where)
    parser.add_argument("--port", type=int, default=PORT, help=f"port (default {PORT}); 0 picks a free one")
    parser.add_argument("--quiet", action="store_true", help="do not log requests")
    parser.add_argument("--read-only", action="store_true", help="refuse every change")
    parser.add_argument(
        "--host",
        default=HOST,
        help=f"address to listen on (default {HOST}: this machine only). For any other address make a token first; "
        "every request then needs one",
    )
    parser.add_argument("--public-read", action="store_true", help="with --host: public repositories need no token")
    parser.add_argument(
        "--allowed-host",
        action="append",
        default=[],
        metavar="NAME",
        help="with --host: a name that clients use for this machine",
    )
    parser.add_argument(
        "--idle-timeout",
        type=float,
        default=60,
        metavar="SECONDS",
        help="close a connection that sends nothing for so long (default 60)",
    )
    parser.add_argument("--fault", help=argparse.SUPPRESS)
    parser.add_argument("--part-size", type=int, default=PART_SIZE, help=argparse.SUPPRESS)  # for tests: small parts
    _add_actions(parser.add_subparsers(dest="action", metavar="ACTION", title="instead of serving"), where)


def _add_actions(actions: Any, where: str) -> None:
    """The subcommands, each with an example."""

    def action(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        parser = add_action(actions, name, summary, f"hub {example}")
        # Without SUPPRESS this default would overwrite a --data given before the action.
        parser.add_argument("--data", type=_directory, default=argparse.SUPPRESS, help=where)
        return parser

    token = action("token", "make a token, printed once", "token me --role write")
    token.add_argument("name", help="user name, and the namespace that its tokens may write to")
    token.add_argument("--role", choices=("read", "write"), default="read", help="default read")

    action("tokens", "list the tokens by id, never the tokens themselves", "tokens")

    revoke = action("revoke", "revoke tokens, also for a running server", "revoke 0123456789ab")
    revoke.add_argument("id", nargs="+", help="id of the token, from pinfold hub tokens")

    gc = action("gc", "delete objects that no branch, tag or pull request uses", "gc --older-than 30 --dry-run")
    gc.add_argument(
        "--older-than", type=_days, default=14.0, metavar="DAYS", help="keep objects younger than this (default 14)"
    )
    gc.add_argument("--dry-run", action="store_true", help="print what would be deleted, and delete nothing")

    action("verify", "read every object and list what is missing or damaged", "verify")

    copy = action(
        "import",
        "create a repository from a folder, or mirror one from another Hub with its history",
        "import runs/my_model me/model\n  pinfold hub import org/model org/model --from https://huggingface.co "
        "--revision SHA --token-from-env HF_TOKEN",
    )
    copy.add_argument("source", help="a folder; with --from the repository's name there")
    copy.add_argument("name", help="its name here, NAMESPACE/NAME")
    copy.add_argument("--from", dest="endpoint", metavar="URL", help="the other Hub's address")
    copy.add_argument("--revision", help="with --from: commit, branch or tag (default main)")
    copy.add_argument("--token-from-env", metavar="VAR", help="with --from: the variable that holds a token for it")
    copy.add_argument("--type", choices=KIND_NAMES, default="model", help="default model")
    copy.add_argument("--private", action="store_true", help="only tokens of its namespace can read it")


def _days(text: str) -> float:
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < 1e5:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days; give from 0 to 99999, such as 30")
    return days


def _directory(text: str) -> Path:
    """The value of --data. An empty one is a variable that was not set, and would mean the directory we are in."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the directory's name is empty; give one, or leave --data out")
    return Path(text)


def main(args: argparse.Namespace) -> int:
    try:
        import uvicorn  # noqa: F401

        from pinfold.hub.admin.data_directory import in_use
        from pinfold.hub.options import Options
        from pinfold.hub.serve import serve
        from pinfold.hub.storage import faults
    except ImportError as error:
        raise missing_extra("hub", "hub", error) from error
    older = ""
    if args.data is None:
        args.data = hub_data()
        older = old_data(args.data)
    if args.action in NEEDS_DATA and not args.data.is_dir():
        cure = older or "name the one that pinfold hub serves"
        raise UserError(f"--data {args.data}: the directory does not exist; {cure}")
    if older:
        print(f"pinfold hub: {printable(older)}", file=sys.stderr)
    with in_use(args.data):
        if args.action:
            return ACTIONS[args.action](args)
        if args.fault:
            faults.arm(args.fault)
        serve(
            Options(
                data=args.data,
                host=args.host,
                port=args.port,
                quiet=args.quiet,
                read_only=args.read_only,
                public_read=args.public_read,
                allowed_hosts=tuple(args.allowed_host),
                idle_timeout=args.idle_timeout,
                part_size=args.part_size,
            )
        )
    return 0


def _token(args: argparse.Namespace) -> int:
    from pinfold.hub.server.tokens import Tokens

    token = Tokens(args.data).create(args.name, args.role)
    print(f"A {args.role} token for {args.name}; only its hash is kept, so it is shown this once.", file=sys.stderr)
    print(token)
    return 0


def _tokens(args: argparse.Namespace) -> int:
    from pinfold.hub.server.tokens import Tokens

    listed = Tokens(args.data).listed()
    if not listed:
        print("No tokens; make one with: pinfold hub token NAME --role write", file=sys.stderr)
    for token_id, user, role, created in listed:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(created)) if created else "-"
        print(f"{token_id}  {role:5}  {made:16}  {user}")
    return 0


def _revoke(args: argparse.Namespace) -> int:
    from pinfold.hub.server.tokens import Tokens

    for token_id in args.id:
        user, role = Tokens(args.data).revoke(token_id)
        print(f"Revoked {token_id}, a {role} token of {user}.")
    return 0


def _gc(args: argparse.Namespace) -> int:
    from pinfold.hub.admin.data_directory import claimed
    from pinfold.hub.admin.maintenance import garbage

    faults: list[str] = []
    total, verb = 0, "would remove" if args.dry_run else "removed"
    with claimed(args.data):
        for removable in garbage(args.data, args.older_than, faults):
            total += removable.size
            said = str(removable)
            if not args.dry_run:
                removable.remove()
            print(f"{verb} {said}", flush=True)
    for fault in faults:
        print(printable(fault), file=sys.stderr)
    print(f"{verb} {total} bytes in all")
    return 1 if faults else 0


def _verify(args: argparse.Namespace) -> int:
    from pinfold.hub.admin.verify import Verified, verify

    seen, faults = Verified(), 0
    for fault in verify(args.data, seen):
        faults += 1
        print(printable(fault), flush=True)
    what = f"{seen.repositories} repositories, {seen.objects} git objects, {seen.large} large files, {seen.size} bytes"
    print(f"{what}: {f'{faults} faults' if faults else 'no fault'}", file=sys.stderr)
    return 1 if faults else 0


def _import(args: argparse.Namespace) -> int:
    from pinfold.hub.admin import mirror
    from pinfold.hub.admin.source import Source
    from pinfold.hub.storage.store import KINDS, Store

    _check_name(args.name)
    store, kind = Store(args.data), KINDS[args.type]
    if args.endpoint is None:
        if args.revision or args.token_from_env:
            raise UserError("--revision and --token-from-env only apply with --from URL; add it, or drop them")
        folder = Path(args.source)
        with _progress(mirror.size_of(folder)) as report:
            sha = mirror.import_folder(store, kind, args.name, folder, args.private, report)
        print(f"{args.name} is at {sha}")
        return 0
    source = Source(_endpoint(args.endpoint), kind, _check_name(args.source), _variable(args.token_from_env))
    with contextlib.ExitStack() as stack:
        sha, same = mirror.mirror(
            store,
            args.name,
            source,
            args.revision or "main",
            args.private,
            lambda text: print(text, file=sys.stderr),
            lambda total: stack.enter_context(_progress(total)),
        )
    print(f"{args.name} is at {sha}" + (", as at its source: a pin of it loads from here" if same else ""))
    return 0


def _check_name(name: str) -> str:
    from pinfold.hub.storage.store import RESERVED, SEGMENT

    namespace, _, short = name.partition("/")
    if not all(re.fullmatch(SEGMENT, part) for part in (namespace, short)) or namespace.lower() in RESERVED:
        raise UserError(f"{name!r} is not a repository name; use NAMESPACE/NAME of letters, digits, '-', '_', '.'")
    return name


def _endpoint(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and not parts.username and not parts.query
        good = good and parts.port != 0 and re.fullmatch(r"[!-~]+", url)
    except ValueError:  # brackets without an end, a port that is not a number
        good = False
    if not good:
        raise UserError(f"--from {url!r} must be an address such as https://huggingface.co, without a user or a query")
    return url.rstrip("/")


def _variable(name: str | None) -> str | None:
    if name is None:
        return None
    if not (value := os.environ.get(name, "").strip()):
        raise UserError(f"--token-from-env {name}: the variable is not set; export it first")
    if not re.fullmatch(r"[!-~]+", value):  # never shown: what is wrong with it is in the middle of a secret
        raise UserError(
            f"--token-from-env {name}: the variable does not hold a token: there are spaces or line ends inside"
        )
    return value


@contextlib.contextmanager
def _progress(total: int) -> Iterator[Callable[[int], object]]:
    from tqdm import tqdm

    with tqdm(total=total, unit="B", unit_scale=True, delay=2, disable=None) as bar:
        yield bar.update


ACTIONS = {
    "token": _token,
    "tokens": _tokens,
    "revoke": _revoke,
    "gc": _gc,
    "verify": _verify,
    "import": _import,
}
