"""What asks for a password and what does not, what may be kept, whose credentials count, how fast strangers write."""

import itertools
import re
import socket

import pytest
from helpers.hub.hub_document import Document
from helpers.hub.hub_support import ThreadServer, file, large, sha256

from pinfold.hub.server import rate
from pinfold.hub.server.rate import Rate

PAGE, PICTURE = {"Accept": "text/html,*/*;q=0.8"}, {"Accept": "image/avif,image/webp,*/*;q=0.8"}
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 100


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """me/open and me/secret, each with a picture and a large file; other is another user."""
    with ThreadServer(tmp_path_factory.mktemp("hub") / "data") as running:
        running.me, running.other = running.token("me"), running.token("other")
        for name, private in (("open", False), ("secret", True)):
            running.create(f"me/{name}", running.me, private=private)
            running.upload(f"me/{name}", running.me, b"weights")
            lines = [file("p.png", PNG), file("README.md", "# A card"), large("w.bin", b"weights")]
            assert running.commit(f"me/{name}", running.me, *lines).status == 200
        yield running


# Passwords ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [PAGE, PICTURE, {}], ids=["page", "picture", "none"])
@pytest.mark.parametrize("credentials", [{}, {"Authorization": "Basic bWU6eA=="}, {"Authorization": "Bearer x"}])
def test_nothing_that_a_page_embeds_asks_for_a_password(server, headers, credentials):
    for path in (
        *("/me/secret/resolve/main/p.png", "/datasets/me/none/resolve/main/p.png", "/spaces/a/b/resolve/main/c"),
        *("/api/models/me/secret", "/api/whoami-v2", "/api/models/me/secret/tree/main"),
    ):
        reply = server.http("GET", path, **headers, **credentials)
        assert reply.status == 401 and reply.headers.get_all("WWW-Authenticate") == ['Bearer realm="pinfold"'], path


def test_git_and_pages_that_a_person_opens_ask(server):
    for method, path in (
        ("GET", "/me/secret/info/refs?service=git-upload-pack"),
        ("GET", "/me/secret.git/info/refs?service=git-upload-pack"),
        ("POST", "/me/secret/git-upload-pack"),
        ("GET", "/login"),
        ("GET", "/me/secret"),
        ("GET", "/me/secret/tree/main/resolve/main"),
    ):
        reply = server.http(method, path, **PAGE)
        assert reply.status == 401 and reply.headers["WWW-Authenticate"].startswith("Basic "), path
        for purpose in ("image", "iframe", "empty", "script"):
            reply = server.http(method, path, Sec_Fetch_Dest=purpose, **PAGE)
            assert reply.status == 401 and reply.headers["WWW-Authenticate"].startswith("Bearer "), (path, purpose)
        assert server.http(method, path, Sec_Fetch_Dest="document", **PAGE).headers["WWW-Authenticate"][:5] == "Basic"


ELSEWHERE = [
    *("/login", "/me/secret", "/", "//login", "/me/secret/tree/main", "/me/secret/blob/main/p.png", "/api/whoami-v2"),
    *("/me/open/resolve/../../../login", "/me/open/resolve/%2e%2e/%2E%2e/%2e./login", "/me/open/resolve/main/.%2e/x"),
    *("/me/open/resolve", "/me/open/resolve/main", "/x/me/open/resolve/main/p.png", "/login?/a/b/resolve/main/p.png"),
    *("/login#/a/b/resolve/main/p.png", "/me/open/info/refs?service=git-upload-pack", ".", "#x", "?x"),
    *("/me/open/./resolve/main/../../../../login", "http:/login", "https:login", "/static/icon.svg"),
]
FILES = [
    "p.png",
    "/me/open/resolve/main/p.png",
    "/datasets/a/b/resolve/main/p.png?download=true",
    "../../p.png",
    "./p.png",
]


@pytest.mark.parametrize(
    "written", ["![x]({})", '<img src="{}">', '<picture><source srcset="{}"><img src="{}"></picture>']
)
def test_pictures_of_a_card_come_from_resolve_alone(server, written):
    name = f"me/card{len(written)}"
    server.create(name, server.me)
    for addresses, count in ((ELSEWHERE, 0), (FILES, len(FILES))):
        text = "\n\n".join(written.replace("{}", each) for each in addresses)
        assert server.commit(name, server.me, file("README.md", text)).status == 200
        document = Document(server.http("GET", f"/{name}", **PAGE).content.decode())
        shown = [*document.all("img", "src"), *document.all("source", "srcset")]
        assert all(re.match(r"/(datasets/)?[\w-]+/[\w-]+/resolve/main/[^.]", each) for each in shown), shown
        assert len(set(shown)) <= count and len(shown) >= count, shown


# What may be kept -----------------------------------------------------------------------------


def test_nobody_keeps_what_is_private(server):
    """Neither a browser nor a proxy, and a public answer is asked for again, as the repository may become private."""
    parts = ("", "/tree/main", "/resolve/main/p.png", "/resolve/main/w.bin", "/commits/main", "/discussions")
    paths = [f"/me/NAME{part}" for part in parts]
    paths += ["/api/models/me/NAME", "/api/models/me/NAME/tree/main", "/me/NAME/info/refs?service=git-upload-pack"]
    for path, (name, token, keeping) in itertools.product(
        paths,
        [
            ("secret", server.me, "private, no-store"),
            ("open", server.me, "private, no-cache"),
            ("open", None, "no-cache"),
            ("secret", None, "private, no-store"),
            ("secret", server.other, "private, no-store"),
            ("none", None, "private, no-store"),
        ],
    ):
        for more in (PAGE, {"If-None-Match": "*"}):
            headers = {**more, "Authorization": f"Bearer {token}"} if token else more
            reply = server.http("GET", path.replace("NAME", name), **headers)
            assert reply.headers.get_all("Cache-Control") == [keeping], (path, name, token, more)
            (varies,) = reply.headers.get_all("Vary")
            assert {"Authorization", "Cookie"} <= {each.strip() for each in varies.split(",")}, path
    for path in ("/api/models", "/", "/api/whoami-v2", "/api/settings/repositories"):
        assert server.http("GET", path, token=server.me).headers["Cache-Control"] == "private, no-store", path


def test_a_signed_address_is_not_kept_either(server):
    request = {"operation": "download", "objects": [{"oid": sha256(b"weights"), "size": 7}]}
    batch = server.http("POST", "/me/secret.git/info/lfs/objects/batch", request, server.me)
    href = batch.json["objects"][0]["actions"]["download"]["href"].removeprefix(server.url)
    reply = server.http("GET", href)
    assert (reply.status, reply.content, reply.headers["Cache-Control"]) == (200, b"weights", "private, no-store")


# Credentials that are none ----------------------------------------------------------------------


def raw(server, *lines: str, path: str = "/me/secret/resolve/main/p.png") -> bytes:
    """What the server answers to these header lines."""
    request = "\r\n".join([f"GET {path} HTTP/1.1", *lines, "Connection: close", "", ""])
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request.encode("latin-1"))
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_two_credentials_are_refused(server):
    good, bad = (f"Authorization: Bearer {token}" for token in (server.me, server.other))
    basic = "Authorization: Basic bWU6eA=="
    for pair in itertools.product((good, bad, basic), repeat=2):
        answer = raw(server, "Host: localhost", *pair)
        assert answer.startswith(b"HTTP/1.1 400") and b"two Authorization headers" in answer, pair
    assert raw(server, "Host: localhost", good, good.lower()).startswith(b"HTTP/1.1 400")
    assert raw(server, "Host: localhost", good).startswith(b"HTTP/1.1 200")


def test_two_credentials_in_one_line_are_refused(server):
    for joined in (
        f"Bearer {server.me}, Bearer {server.other}",
        "Bearer x,basic bWU6eA==",
        f"Basic x ,  BEARER {server.me}",
    ):
        answer = raw(server, "Host: localhost", f"Authorization: {joined}")
        assert answer.startswith(b"HTTP/1.1 400") and b"two credentials" in answer, joined


def test_two_hosts_are_refused(server):
    """One would be checked, and the other one named in the addresses of the answer."""
    for hosts in (("localhost", "evil.example"), ("evil.example", "localhost"), ("localhost", "localhost")):
        answer = raw(server, *(f"Host: {each}" for each in hosts), path="/api/models")
        assert answer.startswith(b"HTTP/1.1 400") and b"evil.example" not in answer, hosts


@pytest.mark.parametrize(
    "value",
    ["", " ", "Bearer", "Bearer ", "bearer\t", "Basic", "Basic Og==", "Basic OjphOg==", "\xff\xfe", "Bearer \xe9",
     "Digest a=1, b=2", "Bearer " + "x" * 20_000, "Token TOKEN", "TOKEN", "Bearer TOKENTOKEN", "Bearer TOKEN\x00"],
)  # fmt: skip
def test_credentials_that_are_none_show_nothing(server, value):
    answer = raw(server, "Host: localhost", f"Authorization: {value.replace('TOKEN', server.me)}")
    assert re.match(rb"HTTP/1.1 4(00|01|31) ", answer) and b"PNG" not in answer, answer[:200]


# How fast strangers write -------------------------------------------------------------------------


def write(server, token: str, what: str = "", **body: str):
    body = body or {"title": "t", "description": "d"}
    return server.http("POST", f"/api/models/me/open/discussions{what}", body, token)


def test_a_stranger_has_to_wait_and_its_owner_has_not(server, monkeypatch):
    monkeypatch.setattr(rate, "AT_ONCE", 5)
    fast, other = server.token("fast"), server.token("patient")
    replies = [write(server, fast)]
    number = replies[0].json["num"]
    replies += [write(server, fast, f"/{number}/comment", comment="x") for _ in range(2)]
    comment = replies[-1].json["newMessage"]["id"]
    replies += [write(server, fast, f"/{number}/comment/{comment}/edit", content="y")]
    replies += [write(server, fast, f"/{number}/title", title="other")]
    assert [each.status for each in replies] == [200] * 5
    for what, body in (
        ("", {}),
        (f"/{number}/comment", {"comment": "x"}),
        (f"/{number}/comment/{comment}/edit", {"content": "z"}),
        (f"/{number}/comment/{comment}/hide", {"x": "x"}),
        (f"/{number}/title", {"title": "third"}),
        (f"/{number}/status", {"status": "closed"}),
    ):
        reply = write(server, fast, what, **body)
        assert reply.status == 429 and 1 <= int(reply.headers["Retry-After"]) <= 10, (what, reply)
        assert reply.json["error"].startswith("fast has written 5 times to what is others'; there is one more in ")
    assert write(server, other).status == 200, "each has an own rate"
    assert {write(server, server.me).status for _ in range(20)} == {200}, "the owner has none"
    assert server.http("GET", f"/api/models/me/open/discussions/{number}").json["title"] == "other"


def test_pushes_of_this_machine_have_no_rate(server, monkeypatch):
    monkeypatch.setattr(rate, "AT_ONCE", 2)
    session = server.server.config.app.hub.tokens.open_session("local")
    assert {write(server, session).status for _ in range(6)} == {200}


def test_writes_come_back_with_time():
    now = [0.0]
    limited = Rate(lambda: now[0])
    assert [limited.take("a") for _ in range(32)] == [0] * 30 + [10, 10]
    now[0] = 9.5
    assert (limited.take("a"), limited.take("b")) == (1, 0)
    now[0] = 10.0
    assert [limited.take("a") for _ in range(2)] == [0, 10]
    now[0] = 1e6
    assert [limited.take("a") for _ in range(31)] == [0] * 30 + [10], "and no more are saved up"
    for number in range(20_000):
        limited.take(str(number))
    assert len(limited._used) <= rate.REMEMBERED
