"""Draw a model in a page on this machine, and get a folder that has been loaded.

The page compares kinds of attention too. Exported folders go to `pinfold push` as they are.

Example: pinfold builder --output runs/builder
"""

import argparse
from pathlib import Path

from pinfold.common.errors import UserError, missing_extra

OUTPUT = Path("runs/builder")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", type=Path, default=OUTPUT, metavar="DIR", help=f"where folders go (default {OUTPUT})"
    )
    parser.add_argument("--port", type=int, default=7860, help="port (default 7860); 0 picks a free one")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--folder", type=Path, metavar="PATH", help="open any model folder as a form")
    parser.add_argument(
        "--run", action="store_true", help="with --folder: run its code in the sandbox, after its audit"
    )
    parser.add_argument(
        "--space", type=Path, metavar="DIR", help="write the page as a folder for a Hugging Face Space"
    )


def main(args: argparse.Namespace) -> int:
    if args.run and not args.folder:
        raise UserError("--run is for a folder's code; add --folder PATH, or leave it out")
    if args.space:
        from pinfold.builder.server.space import write_space

        for line in write_space(args.space):
            print(line)
        return 0
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise missing_extra("builder", "builder", error) from None
    from pinfold.builder.server.serve import Options, serve

    form = None
    if args.folder:
        from pinfold.builder.export.form import open_form

        form = open_form(args.folder, args.run)
    serve(Options(args.output, args.host, args.port, form))
    return 0
