"""A JSON object as text: its top-level keys can be set and removed, and every other byte stays."""

import json
import re

SPACE = re.compile(r"[ \t\r\n]*")


class JsonText:
    """The text of a JSON object.

    Args:
        text: the file's text, with its own line ends.

    Raises:
        ValueError: it is not a JSON object. RecursionError: it is nested too deeply.
    """

    def __init__(self, text: str):
        self.before = self.text = text
        self.value: dict = json.loads(text)
        if not isinstance(self.value, dict):
            raise ValueError("not a JSON object")

    def _members(self) -> list[tuple[str, int, int, int]]:
        """(key, where it begins, where its value begins, where that ends) of each member."""
        decoder = json.JSONDecoder()
        members: list[tuple[str, int, int, int]] = []
        place = self.text.index("{") + 1
        while True:
            place = self._skip_space(place)
            if self.text[place] == "}":
                return members
            key, after = decoder.raw_decode(self.text, place)
            value = self._skip_space(self._skip_space(after) + 1)
            _, end = decoder.raw_decode(self.text, value)
            members.append((key, place, value, end))
            place = self._skip_space(end)
            if self.text[place] == ",":
                place += 1

    def _skip_space(self, place: int) -> int:
        """The next place that holds no white space."""
        space = SPACE.match(self.text, place)
        return space.end() if space else place

    def set(self, key: str, value: object) -> None:
        """Set a key where it is, or as the last one."""
        members = self._members()
        existing = [member for member in members if member[0] == key]
        if existing:
            _, _, first, last = existing[-1]
            self.text = self.text[:first] + self._written(value) + self.text[last:]
        elif members:
            end, gap = members[-1][3], self._gap(members)
            colon = ": " if re.search(r'":\s', self.text) or len(members) < 1 else ":"
            comma = "," if gap or colon == ":" else ", "
            new = f"{comma}{gap}{json.dumps(key)}{colon}{self._written(value)}"
            self.text = self.text[:end] + new + self.text[end:]
        else:
            start, end = self.text.index("{"), self.text.rindex("}")
            self.text = f"{self.text[:start]}{{{json.dumps(key)}: {self._written(value)}}}{self.text[end + 1 :]}"
        self.value[key] = value

    def remove(self, key: str) -> None:
        """Take a key away, with its comma; nothing is done where it is missing."""
        while key in [member[0] for member in self._members()]:
            members = self._members()
            position = [member[0] for member in members].index(key)
            if position + 1 < len(members):
                first, last = members[position][1], members[position + 1][1]
            else:
                first = members[position - 1][3] if position else members[position][1]
                last = members[position][3]
            self.text = self.text[:first] + self.text[last:]
        self.value.pop(key, None)

    def _gap(self, members: list) -> str:
        """The line end and the white space in front of the first key; nothing where all is on one line."""
        before = self.text[self.text.index("{") + 1 : members[0][1]]
        if "\n" not in before:
            return ""
        return ("\r\n" if "\r\n" in before else "\n") + before.rpartition("\n")[2]

    def _written(self, value: object) -> str:
        """A value in the layout of the rest."""
        members = self._members()
        gap = self._gap(members) if members else ""
        if not gap:
            return json.dumps(value, ensure_ascii=self.before.isascii())
        indent = gap.rpartition("\n")[2]
        return json.dumps(value, indent=indent, ensure_ascii=self.before.isascii()).replace("\n", gap)
