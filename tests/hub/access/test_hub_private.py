"""Nothing of a private repository is shown to others or changed by them, and it looks like a missing one.

The requests come from the server's own list of routes: one that is added is asked too, or fails here for a parameter
that no value is known for.
"""

import hashlib
import http.client
import itertools
import json
import re
import statistics
import time

import pytest
from helpers.hub.hub_support import ThreadServer, file, large, sha256

from pinfold.hub import app

WEIGHTS = b"canary weights" * 50
HIDDEN, OLD, ABSENT = "hidden", "before", "absent"  # of one length, as an answer may name what was asked for
QUERIES = [
    "?full=1&search=NAME&author=owner&expand=siblings&cursor=0",
    "?cardData=1&config=1&sort=lastModified",
    "?blobs=true&securityStatus=true&recursive=1&expand=true&diff=1",
    "?service=git-upload-pack",
    "?service=git-receive-pack&token=TOKEN",
    "?operation=download&size=700&expires=9999999999&signature=00",
]
HEADERS = [
    {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"},
    {"Range": "bytes=0-5"},
    {"If-None-Match": "*"},
    {"Git-Protocol": "version=2"},
    {"Git-Protocol": "version=1", "User-Agent": "git/2.39"},
    {"X-Forwarded-User": "owner", "X-HTTP-Method-Override": "PUT", "Cookie": "token=owner"},
    {"Accept": "image/avif,image/webp,*/*", "Sec-Fetch-Dest": "image"},
]


def spellings(path: str) -> list[str]:
    """Other ways to write the address of owner/NAME."""
    repo = "owner/NAME"
    written = [
        path.replace(repo, each)
        for each in (
            *("owner//NAME", "/owner/NAME", "owner/NAME/", "owner/./NAME", "owner/x/../NAME", "./owner/NAME"),
            *("owner/%2e/NAME", "other/%2e%2e/owner/NAME", "other/..%2fowner/NAME", "owner%2FNAME", "owner/%4EAME"),
            *("%6Fwner/NAME", "OWNER/NAME", "owner/UPPER", "owner/NAME.git", "owner/NAME.git.git", "owner/NAME."),
            *("owner/NAME%20", "owner/NAME%00", "owner/NAME%0a", "owner/NAME;v=1", "owner/NAME%3f", "owner%5CNAME"),
            *("models/owner/NAME", "datasets/owner/NAME", "spaces/owner/NAME", "owner/NAME.moved", "owner/.NAME"),
        )
    ]
    return [*written, f"{path}/", f"/{path}", f"{path}/../..", f"{path}%2e%2e", path.replace("/api/", "/API/")]


class Client:
    """Requests of one user, over one connection."""

    def __init__(self, server, token: str | None):
        self.server, self.token, self.count = server, token, 0
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str):
        """(status, headers, body) without what differs from one moment to the next."""
        self.count += 1
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        self.connection.request(method, path, body, headers)
        reply = self.connection.getresponse()
        content = reply.read()
        sent = sorted((name.lower(), value) for name, value in reply.getheaders() if name.lower() != "date")
        return reply.status, sent, content


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A user whose repositories are all private, two of them under an old name, and another user with a public one."""
    with ThreadServer(tmp_path_factory.mktemp("hub") / "data") as running:
        running.owner, running.other = (running.token(name) for name in ("owner", "other"))
        running.reader = running.token("other", "read")
        hide(running)
        running.create("other/model", running.other)
        card = (
            "---\nbase_model: [owner/hidden, owner/before, owner/absent]\ntags: [seen]\n---\n[hidden](/owner/hidden)"
        )
        assert running.commit("other/model", running.other, file("README.md", card)).status == 200
        yield running


def hide(server) -> None:
    lines = [file("notes.txt", "canary text"), file("README.md", "---\ntags: [canary]\n---\n# Canary")]
    lines += [file("config.json", '{"canary": 1}'), large("w.safetensors", WEIGHTS)]
    for kind in ("model", "dataset", "space"):
        settings = {"sdk": "static"} if kind == "space" else {}
        server.create(f"owner/{OLD}", server.owner, type=kind, private=True, **settings)
        url = f"/api/{kind}s/owner/{OLD}"
        at = f"/{'' if kind == 'model' else f'{kind}s/'}owner/{OLD}.git/info/lfs/objects/batch"
        request = {"operation": "upload", "objects": [{"oid": sha256(WEIGHTS), "size": len(WEIGHTS)}]}
        upload = server.http("POST", at, request, server.owner).json["objects"][0]["actions"]["upload"]["href"]
        assert server.put(upload, WEIGHTS).status == 200
        body = "\n".join(json.dumps(each) for each in ({"key": "header", "value": {"summary": "canary"}}, *lines))
        for path, content in (
            ("/commit/main", body),
            ("/branch/side", {}),
            ("/tag/main", {"tag": "v1", "message": "canary"}),
            ("/discussions", {"title": "canary", "description": "canary", "pullRequest": True}),
            ("/discussions", {"title": "canary", "description": "canary"}),
        ):
            assert server.http("POST", f"{url}{path}", content, server.owner).status == 200
        moved = {"fromRepo": f"owner/{OLD}", "toRepo": f"owner/{HIDDEN}", "type": kind}
        assert server.http("POST", "/api/repos/move", moved, server.owner).status == 200


def routes(server):
    """(method, path) of every route there is, with values for what its path names. Those of datasets and spaces are
    the same code as those of models, so that OPTIONS and HEAD are tried with models alone."""
    sha = server.head(f"owner/{HIDDEN}", server.owner)
    details = server.http("GET", f"/api/models/owner/{HIDDEN}/discussions/2", token=server.owner).json
    values = {
        "namespace": ["owner"],
        "name": ["NAME"],
        "revision": ["main", sha],
        "branch": ["side"],
        "range": ["main..side"],
        "path": ["notes.txt"],
        "number": ["2"],
        "comment": [details["events"][0]["id"]],
        "oid": [sha256(WEIGHTS)],
        "user": ["owner"],
        "what": ["pending"],
        "file": ["style.css"],
    }
    for route in server.server.config.app.app.routes:
        names = re.findall(r"\{(\w+)", route.path)
        pattern = re.sub(r"\{(\w+)[^}]*\}", r"{\1}", route.path)
        for chosen in itertools.product(*(values[name] for name in names)):
            path = pattern.format(**dict(zip(names, chosen, strict=True)))
            if "namespace" in names or "name" not in names:  # else it is of repositories without a namespace
                apart = re.match("/(api/)?(datasets|spaces)/", path)
                for method in sorted((route.methods | {"OPTIONS"}) - ({"OPTIONS", "HEAD"} if apart else set())):
                    yield method, path


def body_of(method: str, path: str, name: str) -> tuple[bytes | None, dict[str, str]]:
    """What a request sends along; where several things may be meant, all of them."""
    if method in ("GET", "HEAD", "OPTIONS"):
        return None, {}
    if "/commit/" in path:
        lines = [{"key": "header", "value": {"summary": "x"}}, {"key": "deletedFile", "value": {"path": "notes.txt"}}]
        return "\n".join(map(json.dumps, lines)).encode(), {}
    if "/paths-info/" in path:
        return b"paths=notes.txt&expand=true", {}
    if path.endswith("git-upload-pack"):
        want = b"want " + b"0" * 40 + b" side-band-64k multi_ack_detailed\n"
        body = b"%04x" % (len(want) + 4) + want + b"00000009done\n"
        return body, {"Content-Type": "application/x-git-upload-pack-request"}
    everything = {
        **{"name": name, "organization": "owner", "type": "model", "private": False, "visibility": "public"},
        **{"fromRepo": f"owner/{name}", "toRepo": "other/mine", "repository": "other/copy", "content": "x"},
        **{"title": "x", "description": "x", "comment": "x", "status": "closed", "tag": "x", "operation": "download"},
        **{"objects": [{"oid": sha256(WEIGHTS), "size": len(WEIGHTS)}], "files": [{"path": "notes.txt", "size": 1}]},
    }
    if path.endswith("/settings"):
        everything = {"private": False}
    return json.dumps(everything).encode(), {"Content-Type": "application/json"}


def asked(client: Client, method: str, path: str, name: str, **headers: str):
    """The answer about one name, in which the name itself is blotted out."""
    content, more = body_of(method, path, name)
    encoded = path.replace("%4EAME", f"%{ord(name[0]):02X}{name[1:]}").replace("UPPER", name.upper())
    status, sent, body = client.ask(method, encoded.replace("NAME", name), content, **more, **headers)
    named = name.encode() in body.lower()
    sent = [(key, blotted(value, name)) for key, value in sent if not (key == "etag" and named)]
    return status, sent, blotted(body.decode("latin-1"), name)


def blotted(text: str, name: str) -> str:
    return (
        re.sub(re.escape(f"%{ord(name[0]):02X}{name[1:]}"), "NAME", text)
        .replace(name, "NAME")
        .replace(name.upper(), "NAME")
    )


def state(server) -> dict[str, str]:
    """All that is kept of everybody."""
    files = [path for path in server.data.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def strangers(server, monkeypatch):
    """Those who may read nothing of owner's, and a check that nothing was changed or shown by what they asked."""
    monkeypatch.setattr(app, "HIDDEN", 0)  # the time is another test's
    before = state(server)
    yield {
        "nobody": Client(server, None),
        "other": Client(server, server.other),
        "reader": Client(server, server.reader),
    }
    assert state(server) == before


def secrets_of(server) -> list[str]:
    """What only the private repositories have."""
    repos = [server.http("GET", f"/api/{kind}/owner/{HIDDEN}", token=server.owner).json for kind in KINDS]
    return [*(each["sha"] for each in repos), "canary", "Canary"]


KINDS = ("models", "datasets", "spaces")


def differences(answers: dict, path: str, secrets: list[str]) -> list[str]:
    """How the answers about a private name give it away."""
    wrong = [f"{name} is not as the missing one" for name in answers if answers[name] != answers[ABSENT]]
    for name, (_, headers, body) in answers.items():
        for secret in secrets:
            echoes = secret in path  # as an error does, of what was asked for
            if not echoes and (secret in body or any(secret in value for _, value in headers)):
                wrong.append(f"{name}: {secret} is in it")
    return wrong


def test_every_route_for_everybody_who_may_not_read(server, strangers):
    secrets, wrong = secrets_of(server), {}
    for who, client in strangers.items():
        for method, path in routes(server):
            of_models = not re.match("/(api/)?(datasets|spaces)", path)
            if who != "nobody" and (method in ("OPTIONS", "HEAD") or (who == "reader" and not of_models)):
                continue  # the same answers as to nobody, and the same code as for models
            names = (HIDDEN, OLD, ABSENT) if who == "other" and of_models else (HIDDEN, ABSENT)
            if "NAME" not in path and method in ("GET", "OPTIONS", "HEAD"):  # one request, which names nothing
                names = (ABSENT,)
            answers = {name: asked(client, method, path, name) for name in names}
            if problems := differences(answers, path, secrets):
                wrong[who, method, path] = problems
    assert not wrong, json.dumps({str(key): value for key, value in wrong.items()}, indent=1)[:4000]
    count = sum(client.count for client in strangers.values())
    assert count >= 1000, count


@pytest.mark.slow
def test_every_spelling_query_and_header(server, strangers):
    secrets, wrong, client = secrets_of(server), {}, strangers["other"]
    sha = secrets[0]
    paths = {path for method, path in routes(server) if method == "GET" and "owner/NAME" in path}
    paths = sorted(path for path in paths if sha not in path and "refs%2F" not in path and "safetensors" not in path)
    paths += [f"/api/resolve-cache/{kind}/owner/NAME/{sha}/notes.txt" for kind in KINDS]
    paths += [f"/api/v{number}/models/owner/NAME" for number in (1, 2)]
    few = [path for path in paths if not path.startswith(("/datasets", "/spaces", "/api/datasets", "/api/spaces"))]
    cases = [(each, {}) for path in few for each in spellings(path)]
    cases += [(f"{path}{query}", {}) for path in [*paths, "/", "/api/models", "/datasets"] for query in QUERIES]
    cases += [(path, headers) for path in paths for headers in HEADERS]
    cases = [(path.replace("TOKEN", server.other), headers) for path, headers in cases]
    for path, headers in cases:
        answers = {
            name: asked(client, "GET", path, name, **headers)
            for name in ((HIDDEN, ABSENT) if "NAME" in path else (ABSENT,))
        }
        if problems := differences(answers, path, secrets):
            wrong[path, str(headers)] = problems
    assert not wrong, json.dumps({str(key): value for key, value in wrong.items()}, indent=1)[:4000]
    assert client.count >= 1000, client.count


def test_the_same_requests_show_the_owner_what_is_there(server):
    """Else the tests above would have asked for nothing."""
    client = Client(server, server.owner)
    shown = set()
    for method, path in routes(server):
        if method == "GET" and path != "/login":
            _, _, body = asked(client, method, path, HIDDEN)
            shown |= {path} if "anary" in body else set()
    assert len(shown) > 50, sorted(shown)


def test_names_of_others_are_neither_taken_nor_free(server, strangers):
    """Who makes, moves or copies a repository into a namespace of another is refused before it is looked at."""
    client = strangers["other"]
    for what, request in (
        ("/api/repos/create", {"name": "NAME", "organization": "owner"}),
        ("/api/repos/create", {"name": "NAME", "organization": "owner", "type": "space", "sdk": "static"}),
        ("/api/repos/move", {"fromRepo": "other/model", "toRepo": "owner/NAME"}),
        ("/api/repos/move", {"fromRepo": "owner/NAME", "toRepo": "other/mine"}),
        ("/api/repos/move", {"fromRepo": "owner/NAME", "toRepo": "owner/other-name"}),
        ("/api/models/other/model/duplicate", {"repository": "owner/NAME"}),
        ("/api/models/owner/NAME/duplicate", {"repository": "other/mine"}),
    ):
        answers = []
        for name in (HIDDEN, ABSENT):
            body = json.dumps(request).replace("NAME", name).encode()
            status, headers, content = client.ask("POST", what.replace("NAME", name), body)
            answers.append((status, headers, blotted(content.decode(), name)))
        assert answers[0] == answers[1] and answers[0][0] in (403, 404), (what, answers)


def test_a_page_of_another_user_links_to_nothing_hidden(server, strangers):
    html = {"Accept": "text/html"}
    _, _, body = strangers["other"].ask("GET", "/other/model", **html)
    links = re.findall(rb'href="(/owner/[^"]*)"', body)
    assert links == [b"/owner/hidden"], "the author's own link alone, which says nothing"
    assert [strangers["nobody"].ask("GET", f"/api/users/{name}/overview")[0] for name in ("owner", "nobdy")] == [
        404
    ] * 2


def test_a_damaged_private_repository_is_missing_to_others(server, strangers):
    path = server.data / f"repos/datasets/owner/{HIDDEN}.git/hub.json"
    content = path.read_bytes()
    try:
        for damaged in (b"", b"{", b"[]", b'{"private": "no"}', b'{"private": null}', b"[" * 100_000):
            path.write_bytes(damaged)
            for who, (method, at) in itertools.product(
                ("nobody", "other"),
                [
                    ("GET", "/api/datasets/owner/NAME"),
                    ("GET", "/datasets/owner/NAME"),
                    ("DELETE", "/api/repos/delete"),
                ],
            ):
                answers = [asked(strangers[who], method, at, name) for name in (HIDDEN, ABSENT)]
                assert answers[0] == answers[1], (damaged[:20], who, at)
    finally:
        path.write_bytes(content)


def median_ratio(client: Client, path: str, name: str, pairs: int = 60) -> tuple[float, float]:
    """(the median of the ratios of pairs of requests, the median of their milliseconds), one of each in turn."""
    times: dict[str, list[float]] = {name: [], ABSENT: []}
    for number in range(pairs + 5):
        for asked_name in (name, ABSENT) if number % 2 else (ABSENT, name):
            started = time.perf_counter()
            client.ask("GET", path.replace("NAME", asked_name))
            times[asked_name].append((time.perf_counter() - started) * 1e3)
    ratios = [hidden / absent for hidden, absent in zip(times[name][5:], times[ABSENT][5:], strict=True)]
    return statistics.median(ratios), statistics.median(times[ABSENT][5:])


@pytest.mark.slow
def test_a_private_name_takes_as_long_as_a_missing_one(server, capsys):
    """A request for each in turn, sixty times. What other processes do meanwhile may spoil two of three tries."""
    cases = ("/api/models/owner/NAME", "/owner/NAME/resolve/main/notes.txt", "/owner/NAME")
    cases += ("/owner/NAME/info/refs?service=git-upload-pack", "/api/datasets/owner/NAME/tree/main")
    tokens = {"nobody": None, "other": server.other}
    with capsys.disabled():
        print()
        for path, who, name in itertools.product(cases, tokens, (HIDDEN, OLD)):
            for _ in range(3):
                ratio, milliseconds = median_ratio(Client(server, tokens[who]), path, name)
                print(f"  {ratio:.3f} of {milliseconds:.1f} ms  {who} {name} {path}")
                if 1 / 1.05 <= ratio <= 1.05:
                    break
            else:
                raise AssertionError((path, who, name, ratio))
