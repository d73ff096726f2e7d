"""Show kinds of attention side by side: what each sees, how far, and what it costs on this machine.

How it works:
- The masks are those of bert_model's own mask function; every pair has a reason.
- How many layers it takes until every token sees every token is computed exactly.
- Time and memory are measured here, all kinds taking turns. Density and measured cost are shown apart: a kind that
  sees less can be slower, and the words say where.
- Outputs and gradients are compared with attention by the dense mask.

Example: pinfold compare full local strided random --length 4096 --window 64 --picture attention.png
"""

import argparse
import json
import sys
from pathlib import Path

from pinfold.builder.attention.settings import LIMITS, Settings
from pinfold.cli.parser import number
from pinfold.common.errors import UserError, missing_extra
from pinfold.common.files import check_output

ENDINGS = (".png", ".svg")
NUMBERS = {
    "length": "tokens of a row",
    "window": "local: tokens seen on either side",
    "stride": "strided: every such key is seen",
    "keys": "random: keys that each block of 64 queries draws",
    "globals": "first tokens that see all and are seen by all",
    "heads": "heads of the attention that is measured",
    "width": "width of a head",
    "layers": "layers over which the receptive field is followed",
    "pads": "tokens at the end of the row that are padding",
    "seed": "of the random keys",
    "repeats": "turns that each kind is timed",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of the verb."""
    add = parser.add_argument
    add("kinds", nargs="*", metavar="KIND", help="two to four of full, local, strided and random")
    for name, words in NUMBERS.items():
        default = getattr(Settings(()), name)
        add(f"--{name}", type=number(int, *LIMITS[name]), default=default, metavar="N", help=f"{words} ({default})")
    add(
        "--lengths",
        type=several,
        default=(),
        metavar="N,N,...",
        help="lengths at which time and memory are measured, besides --length (an eighth, a quarter and half of it)",
    )
    add("--no-measure", dest="measure", action="store_false", help="leave out time and memory")
    add("--picture", type=Path, metavar="FILE", help="also draw it, as .png or .svg")
    add("--json", action="store_true", help="print one JSON object in place of the table")


def several(text: str) -> tuple[int, ...]:
    """An argparse type: whole numbers with commas between them."""
    return tuple(number(int, *LIMITS["length"])(part) for part in text.split(","))


def main(args: argparse.Namespace) -> int:
    """Compare kinds of attention, and print what was seen."""
    if args.picture:
        check_picture(args.picture)
    settings = Settings(
        kinds=tuple(args.kinds),
        lengths=args.lengths,
        measure=args.measure,
        **{name: vars(args)[name] for name in NUMBERS},
    )
    from tqdm import tqdm

    from pinfold.builder.attention.compare import compare
    from pinfold.builder.attention.words import lines

    with tqdm(
        total=1, file=sys.stderr, disable=None, leave=False, bar_format="{desc} {bar} {n_fmt}/{total_fmt}"
    ) as bar:

        def progress(done: int, steps: int, say: str) -> None:
            bar.total, bar.n = steps, done
            bar.set_description_str(say)

        result = compare(settings, progress)
    if args.picture:
        from pinfold.builder.attention.picture import draw

        draw(result, args.picture)
        print(f"wrote {args.picture}", file=sys.stderr)
    print(json.dumps(result, allow_nan=False) if args.json else "\n".join(lines(result)))
    return 0


def check_picture(file: Path) -> None:
    """Refuse a picture that cannot be drawn, before anything is measured.

    Raises:
        UserError: another ending, no such directory, or matplotlib is missing.
    """
    if file.suffix.lower() not in ENDINGS:
        raise UserError(f"--picture {file}: only PNG and SVG are drawn; name a file that ends in .png or .svg")
    check_output("--picture", file)
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing_extra("compare --picture", "viz", error) from None
