"""Command lines whose mistakes are said in one line."""

import argparse
import difflib
from collections.abc import Callable
from typing import Any, NoReturn

from pinfold.common.errors import printable

LARGEST = 10**9  # a number beyond it is a mistake; no option has a use for it


class OneLineParser(argparse.ArgumentParser):
    """argparse without the lines of usage above an error, which names what is allowed and where to read more."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.verbs: dict[str, Any] = {}
        self.set_defaults(parser=self)  # of the innermost verb, as its defaults are set last

    def add_subparsers(self, **kwargs: Any) -> Any:
        actions = super().add_subparsers(**kwargs)
        self.verbs[kwargs["metavar"]] = actions.choices
        return actions

    def parse_args(self, args: list[str] | None = None, namespace: Any = None) -> Any:
        """As argparse's, but it is the verb that knows its options, and not the whole command."""
        parsed, rest = self.parse_known_args(args, namespace)
        parser = parsed.__dict__.pop("parser")
        if rest:
            parser.error(f"unrecognized arguments: {' '.join(rest)}{parser.near(rest)}")
        return parsed

    def near(self, arguments: list[str]) -> str:
        """The option that the first unknown one may have been meant to be."""
        options = [option for option in self._option_string_actions if option.startswith("--")]
        wrong = next((text.split("=")[0] for text in arguments if text.startswith("--")), "")
        closest = difflib.get_close_matches(wrong, options, n=1)
        return f" (is it {closest[0]}?)" if closest else ""

    def error(self, message: str) -> NoReturn:
        """One line on stderr, exit code 2."""
        for name, choices in self.verbs.items():
            if message.endswith(f"required: {name}"):
                message += f", one of {', '.join(choices)}"
        self.exit(2, f"{self.prog}: {printable(' '.join(message.split()))}; see {self.prog} --help\n")


def add_action(actions: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    """A subcommand whose help says what it does and shows one way to call it."""
    return actions.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n\nExample:\n  pinfold {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def number(kind: type, low: float, high: float = LARGEST) -> Callable[[str], Any]:
    """An argparse type: a number within limits, both included."""

    def convert(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            what = "a whole number" if kind is int else "a number"
            too_large = value is not None and value > high
            limits = f"of at least {low}" if high == LARGEST and not too_large else f"from {low} to {high}"
            raise argparse.ArgumentTypeError(f"{text!r} must be {what} {limits}")
        return value

    return convert
