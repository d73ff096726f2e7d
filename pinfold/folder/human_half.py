"""card.md, the half of a model card that a person writes: metadata such as the license, and text."""

from dataclasses import dataclass, field
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.common.front_matter import FrontMatterError, read_front_matter, split_front_matter


@dataclass
class HumanHalf:
    """The content of card.md.

    Args:
        accepted: audit findings that the author accepts, finding -> reason. They are not part of the metadata.
    """

    metadata: dict = field(default_factory=dict)
    text: str = ""
    accepted: dict = field(default_factory=dict)


CARD = "write one that begins with these lines: ---, license: apache-2.0, ---"


def read_human_half(folder: Path) -> HumanHalf:
    """Read card.md.

    Raises:
        UserError: there is none, or its front matter has no licence.
    """
    path = folder / "card.md"
    if not path.exists():
        raise UserError(f"{folder} has no card.md; {CARD}")
    try:
        metadata, text = parse_card(path.read_text(encoding="utf-8-sig"), str(path))
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8; save it as UTF-8") from None
    tags = metadata.get("tags", [])
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        raise UserError(f"{path}: tags={tags!r} is not a list of words; write tags: [vision, digits]")
    if isinstance(metadata.get("license"), list):
        raise UserError(f"{path}: license={metadata['license']!r} must be one word; write license: apache-2.0")
    if not isinstance(metadata.get("license"), str):
        raise UserError(f"{path}: no license in its front matter; add a line such as license: apache-2.0")
    metadata.pop("include", None)  # files to publish; staging reads it
    accepted = metadata.pop("accepted_findings", None) or {}
    if not isinstance(accepted, dict) or not all(isinstance(word, str) for pair in accepted.items() for word in pair):
        raise UserError(f'{path}: accepted_findings is not a table; write lines such as "S07 modeling_x.py: reason"')
    return HumanHalf(metadata, text.strip(), accepted)


def parse_card(text: str, where: str) -> tuple[dict, str]:
    """Metadata and body of a Markdown file.

    >>> parse_card("---\\nlicense: mit\\n---\\nbody", "card.md")
    ({'license': 'mit'}, 'body')

    Raises:
        UserError: the metadata cannot be read.
    """
    try:
        return read_front_matter(text), split_front_matter(text)[1]
    except FrontMatterError as error:
        raise UserError(f"{where}: its front matter is {error}; fix it") from None
