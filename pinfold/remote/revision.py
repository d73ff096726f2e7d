"""A repository at a revision, opened to be read."""

import contextlib
import re
from collections.abc import Iterator

from pinfold.common.errors import UserError
from pinfold.common.hub_data import hub_data, old_data
from pinfold.remote.client import Remote
from pinfold.remote.destination import EMBEDDED, opened


@contextlib.contextmanager
def open_revision(target: str, endpoint: str | None) -> Iterator[tuple[Remote, str]]:
    """A repository to read, and the commit that ``owner/name@revision`` names.

    Raises:
        UserError: no such repository or revision.
    """
    name, _, revision = target.partition("@")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII):
        raise UserError(f"{target}: no such folder; give a directory, or a repository as owner/name@revision")
    local = endpoint == EMBEDDED or (endpoint is None and name.startswith("local/"))
    if local and not hub_data().exists():
        cure = old_data(hub_data()) or "name another with --endpoint, or push to it first"
        raise UserError(f"{target}: no embedded Hub in {hub_data()}; {cure}")
    with opened(name, name, EMBEDDED if local else endpoint, reading=True) as destination:
        remote = Remote(destination, revision or "main")
        sha = remote.head()
        if sha is None:
            older = old_data(destination.embedded) if destination.embedded else ""
            cure = older or "give a directory or owner/name@revision"
            raise UserError(f"{target} is not on {destination.hub}, or needs a token; {cure}")
        yield remote, sha
