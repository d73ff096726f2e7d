"""The command line: one subcommand per verb and nothing else.

Each verb is a module with ``add_arguments(parser)`` and ``main(args) -> int``; only the
module of the verb that was asked for is imported.
"""

import argparse
import errno
import importlib
import os
import signal
import sys
import threading

from pinfold import __version__
from pinfold.cli.parser import OneLineParser
from pinfold.common.errors import UserError, printable

VERBS = {
    "convert": ("pinfold.cli.convert", "turn modular_x.py into a folder that needs nothing of the original"),
    "push": ("pinfold.cli.push", "publish a model folder and its weights, verified and pinned"),
    "check": ("pinfold.cli.check", "show what code a repository would run, and whether it still works"),
    "train": ("pinfold.cli.train", "train or fine-tune the model of a folder"),
    "tokenizer": ("pinfold.cli.tokenizer", "train a tokenizer on text, or add tokens to one"),
    "summarize": ("pinfold.cli.summarize", "say what a model is made of, what each part costs and what a step shows"),
    "export": ("pinfold.cli.export", "make a graph of a model that runs without its code, and prove it"),
    "builder": ("pinfold.cli.builder", "draw a model in a page, and get a folder that has been loaded"),
    "compare": ("pinfold.cli.compare", "show what kinds of attention see, and what each costs on this machine"),
    "compat": ("pinfold.cli.compat", "load a published model in several transformers releases"),
    "hub": ("pinfold.cli.hub", "serve the embedded Hub on this machine"),
}


CURES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "free some space"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "choose a directory you may write"),
    **dict.fromkeys((errno.ENOENT, errno.ENOTDIR, errno.EISDIR), "name a file in a directory that exists"),
    **dict.fromkeys((errno.ENAMETOOLONG, errno.ELOOP), "use a shorter path, without links in a circle"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb. Returns the exit code: 0 done, 1 findings, 2 a user's mistake, 130 Ctrl-C."""
    argv = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):  # a console or a pipe without Unicode gets question marks, no traceback
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    name = " ".join(["pinfold", *argv[:1]])
    try:
        return run(argv)
    except UserError as error:
        print(f"{name}: {printable(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"\n{name}: stopped by Ctrl-C", file=sys.stderr)
        return 130
    except BrokenPipeError:  # "pinfold ... | head" closed our output: nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in CURES:
            raise
        cure = CURES[error.errno]
        where = printable(str(error.filename or "writing"))[:200]
        print(f"{name}: {where}: {error.strerror}; {cure}", file=sys.stderr)
        return 2
    except (RecursionError, MemoryError) as error:  # what was given is built to be read without an end
        print(f"{name}: {type(error).__name__}: nested too deeply or too large to read", file=sys.stderr)
        return 2


def run(argv: list[str]) -> int:
    """Read the command line and run its verb."""
    parser = OneLineParser(prog="pinfold", description=sys.modules["pinfold"].__doc__)
    parser.add_argument("--version", action="version", version=f"pinfold {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, (module, summary) in VERBS.items():
        chosen = name in argv[:1]
        verb = verbs.add_parser(
            name,
            help=summary,
            description=importlib.import_module(module).__doc__ if chosen else summary,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        if chosen:
            importlib.import_module(module).add_arguments(verb)
    args = parser.parse_args(argv)
    if args.verb != "hub" and threading.current_thread() is threading.main_thread():
        # the Hub's server ends in its own way; elsewhere temporary files and fenced processes have to go
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    return importlib.import_module(VERBS[args.verb][0]).main(args)


if __name__ == "__main__":
    sys.exit(main())
