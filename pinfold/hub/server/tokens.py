"""Tokens: who a request is from. Only their hashes are kept.

A token comes as Bearer, or as the password of Basic from git and browsers. A browser sends Basic by itself, also with
a form of a foreign page, so Basic never permits a change.
"""

import base64
import binascii
import hashlib
import json
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError
from pinfold.common.files import lock, write_atomically
from pinfold.common.private import FILE
from pinfold.hub.storage.errors import Refused
from pinfold.hub.storage.store import RESERVED, SEGMENT, Store
from pinfold.hub.storage.times import LAST_TIME

ID = 12  # hex digits of a hash that name a token
ROLES = ("read", "write")
BASIC_READS = "Basic credentials only read here; send the token as Authorization: Bearer"
_INVALID = "Invalid credentials in Authorization header"


@dataclass(frozen=True)
class User:
    name: str
    role: str
    token_name: str
    is_session: bool = False  # by the token that only this machine's user can read, as pushes do


class Tokens:
    """DATA/tokens.json, read again whenever another process has replaced it, and one token for this run only."""

    def __init__(self, data: Path):
        self.path = data / "tokens.json"
        self._stamp: tuple[int, ...] | None = None
        self._users: dict[str, User] = {}
        self._session: dict[str, User] = {}

    def create(self, user: str, role: str) -> str:
        """Make a token; only its hash is kept, so this is the one time it can be seen."""
        if not re.fullmatch(SEGMENT, user) or user.lower() in RESERVED:
            raise UserError(f"{user!r} cannot be a user name; use letters, digits, '-', '_' and '.', up to 96")
        if role not in ROLES:
            raise UserError(f"role {role!r} is unknown; use {' or '.join(ROLES)}")
        token = f"pinfold_{secrets.token_hex(20)}"
        with lock(self.path.with_name("tokens.lock"), mode=FILE):
            stored = self._stored()
            if twin := self._twin(user, stored):
                raise UserError(f"{user} differs from {twin} in case alone, and that is one name here; use {twin}")
            stored[token_hash(token)] = {"user": user, "role": role, "created": int(time.time())}
            self._write(stored)
        return token

    def listed(self) -> list[tuple[str, str, str, int]]:
        """(id, user, role, when made) of every token; the id is the end of its hash."""
        stored = self._stored()
        return [(key[-ID:], it["user"], it["role"], it.get("created", 0)) for key, it in stored.items()]

    def revoke(self, token_id: str) -> tuple[str, str]:
        """Forget a token, named by its id. A running server refuses it from its next request on."""
        with lock(self.path.with_name("tokens.lock"), mode=FILE):
            stored = self._stored()
            matching = [key for key in stored if len(token_id) >= ID and key.endswith(token_id)]
            if len(matching) != 1:
                raise UserError(f"there is no token {token_id!r}; pinfold hub tokens lists them by id")
            gone = stored.pop(matching[0])
            self._write(stored)
        return gone["user"], gone["role"]

    def _stored(self) -> dict[str, dict]:
        """What the file says, by the hashes of the tokens."""
        try:
            stored = json.loads(self.path.read_text())
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            raise self._damaged("it is not JSON") from error
        if not isinstance(stored, dict):
            raise self._damaged("it is not a JSON object")
        for each in stored.values():
            if not isinstance(each, dict) or not isinstance(each.get("user"), str) or each.get("role") not in ROLES:
                raise self._damaged("a token has no user or no role")
            if not isinstance(each.get("created", 0), int) or not 0 <= each.get("created", 0) <= LAST_TIME:
                raise self._damaged("a token has an invalid creation time")
        return stored

    def _damaged(self, reason: str) -> UserError:
        return UserError(f"{self.path} is damaged: {reason}; put a copy back, or remove it and make new tokens")

    def _twin(self, user: str, stored: dict[str, dict]) -> str | None:
        known = {each["user"] for each in stored.values()}
        if user in known:
            return None
        return next((each for each in known if each.lower() == user.lower()), Store(self.path.parent).twin(user))

    def _write(self, stored: dict[str, dict]) -> None:
        write_atomically(self.path, json.dumps(stored, indent=1).encode(), mode=FILE)

    def open_session(self, user: str) -> str:
        """A write token that dies with this process."""
        token = f"pinfold_{secrets.token_hex(20)}"
        self._session[token_hash(token)] = User(user, "write", "session", is_session=True)
        return token

    def user(self, authorization: str | None, basic: bool = True) -> User | None:
        """Whose token an Authorization header carries. None without a header; an unknown token is refused.

        ``basic`` is False for requests that change something.
        """
        if authorization is None:
            return None
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() == "basic" and not basic:
            raise Refused(403, BASIC_READS)
        self._refresh()
        key = token_hash(_password(token) if scheme.lower() == "basic" else token.strip())
        user = self._session.get(key) or self._users.get(key)
        if scheme.lower() not in ("bearer", "basic") or user is None:
            # The clients compare the header with this text, so the cure is in the body only.
            headers = {"X-Error-Message": _INVALID}
            raise Refused(
                401, f"{_INVALID}; this server knows only tokens made by: pinfold hub token", headers=headers
            )
        return user

    def _refresh(self) -> None:
        try:
            stat = os.stat(self.path)
        except FileNotFoundError:
            self._stamp, self._users = None, {}
            return
        stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if stamp != self._stamp:
            try:
                stored = self._stored()
            except UserError as error:
                raise Refused(503, "tokens.json on the server is damaged; pinfold hub verify says how") from error
            self._users = {key: User(it["user"], it["role"], f"{it['user']}-{key[:6]}") for key, it in stored.items()}
            self._stamp = stamp


def _password(encoded: str) -> str:
    """The part after the colon: git asks for a user name as well, and any will do."""
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def token_hash(token: str) -> str:
    """Tokens are 160 random bits: a plain hash cannot be guessed back and needs no salt."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
