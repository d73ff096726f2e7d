"""Another Hub, read for a mirror: what a revision holds, and its bytes, resumed where a connection broke."""

import contextlib
import http.client
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pinfold.common.errors import UserError, printable

CHUNK = 2**20
TIMEOUT = 60  # seconds without a byte
TRIES = 5
MAX_JSON = 256 * 2**20
_BROKEN = (OSError, ValueError, http.client.HTTPException, RecursionError)  # what a server's answer can end in


@dataclass(frozen=True)
class RemoteFile:
    path: str
    size: int
    blob: str  # git's sha1 of the file or of its pointer
    sha256: str | None  # of a large file


@dataclass(frozen=True)
class Source:
    """One repository of a Hub. The token goes to that Hub alone, also when it redirects to a store of files."""

    endpoint: str
    kind: str
    repo_id: str
    token: str | None

    @property
    def url(self) -> str:
        prefix = "" if self.kind == "models" else f"{self.kind}/"
        return f"{self.endpoint}/{prefix}{self.repo_id}"

    def remote_files(self, revision: str) -> tuple[str, bool, list[RemoteFile]]:
        """(commit, private, files) of a revision."""
        quoted = urllib.parse.quote(revision, safe="")
        described = self._json(f"{self.endpoint}/api/{self.kind}/{self.repo_id}/revision/{quoted}?blobs=true")
        try:
            sha = re.fullmatch(r"[0-9a-f]{40}", described["sha"])[0]
            files = [self._file(each) for each in described["siblings"]]
            return sha, bool(described.get("private")), files
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise UserError(f"{self.endpoint} does not answer as a Hub; check --from") from error

    @staticmethod
    def _file(described: dict) -> RemoteFile:
        """One file as the source describes it. Its hashes become names of files here, so they have to be hashes."""
        path, size, blob = described["rfilename"], described["size"], described.get("blobId") or ""
        sha256 = (described.get("lfs") or {}).get("sha256")
        if not isinstance(path, str) or type(size) is not int or size < 0:
            raise ValueError("a file without a name or a size")
        if (blob and not re.fullmatch(r"[0-9a-f]{40}", blob)) or (
            sha256 and not re.fullmatch(r"[0-9a-f]{64}", sha256)
        ):
            raise ValueError("not a hash")
        return RemoteFile(path, size, blob, sha256 or None)

    def download(self, sha: str, path: str, target: Path, size: int, report: Callable[[int], None]) -> None:
        """A file of a commit, into `target`. What is there already is kept, and only the rest is asked for."""
        url = f"{self.url}/resolve/{sha}/{urllib.parse.quote(path)}"
        target.touch()
        for attempt in range(TRIES):
            have = target.stat().st_size
            if have >= size:
                return
            try:
                with self._open(url, {"Range": f"bytes={have}-"} if have else {}) as reply, target.open("ab") as file:
                    if have and reply.status != 206:
                        file.truncate(0)
                        report(-have)
                    while chunk := reply.read(CHUNK):
                        file.write(chunk)
                        report(len(chunk))
                        if file.tell() > size:
                            raise UserError(f"{printable(path)} is longer than the {size} bytes announced")
            except _BROKEN as error:
                if attempt == TRIES - 1 or (isinstance(error, urllib.error.HTTPError) and error.code < 500):
                    raise UserError(
                        f"{self.endpoint}: {printable(path)}: {_reason(error)}; run it again to go on"
                    ) from error
        raise UserError(f"{self.endpoint}: {printable(path)} ends before its {size} bytes; run it again to go on")

    def _json(self, url: str) -> dict:
        try:
            with self._open(url, {}) as reply:
                return json.loads(reply.read(MAX_JSON))
        except urllib.error.HTTPError as error:
            if error.code in (401, 403, 404):
                raise UserError(
                    f"{self.endpoint} has no {self.kind[:-1]} {self.repo_id} at that revision that may be read so"
                    f" ({error.code}); check --type, the name and --revision, or give --token-from-env"
                ) from error
            raise UserError(f"{self.endpoint}: {_reason(error)}") from error
        except _BROKEN as error:
            raise UserError(f"{self.endpoint}: {_reason(error)}; check --from") from error

    def _open(self, url: str, headers: dict[str, str]):
        headers = {"Accept-Encoding": "identity", "User-Agent": "pinfold", **headers}
        request = urllib.request.Request(url, headers=headers)
        if self.token:  # unredirected: another host, where the bytes may lie, is not to see it
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        return urllib.request.build_opener(_SameScheme).open(request, timeout=TIMEOUT)


class _SameScheme(urllib.request.HTTPRedirectHandler):
    """A redirect from https to http would let anybody on the way change the bytes, and from http to file read ours."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if urllib.parse.urlsplit(newurl).scheme not in ("https", urllib.parse.urlsplit(req.full_url).scheme):
            raise urllib.error.HTTPError(req.full_url, 502, "redirected to an unsafe address", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _reason(error: Exception) -> str:
    with contextlib.suppress(AttributeError):
        return printable(f"{error.code} {error.reason}")[:200]
    return printable(str(getattr(error, "reason", error)).strip() or type(error).__name__)[:200]
