"""The Hub's pages as they come over HTTP: what they say, what they never say, and to whom."""

import base64
import itertools
import json
import re
import shutil
import struct
import time
from urllib.parse import unquote

import pytest
from dulwich.repo import Repo
from helpers.hub import hub_site
from helpers.hub.hub_document import Document
from helpers.hub.hub_support import Server, ThreadServer, Tokens, file, large, sha256

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
REPO = "/alice/resnet50d"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    # a process apart, as several tests measure how long an answer takes
    with Server(tmp_path_factory.mktemp("hub") / "data", "--quiet") as running:
        running.made = hub_site.build(running)
        running.tokens = {name: running.token(name) for name in ("alice", "bob", "carol")}
        yield running


def basic(token: str, user: str = "anybody") -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()}


def get(server: Server, path: str, status: int = 200, **headers: str) -> str:
    reply = server.http("GET", path, **{**HTML, **headers})
    assert reply.status == status, reply
    return reply.content.decode()


def section(html: str, start: str, end: str) -> str:
    return html.partition(start)[2].partition(end)[0]


def says(html: str, text: str) -> bool:
    """Whether a page shows these words, with its signs for minus and times written plainly."""
    shown = Document(html).text.replace("\u2212", "-").replace("\u00d7", "x")
    return text in " ".join(shown.split())


# The list -------------------------------------------------------------------------------------


def test_the_list_shows_task_parameters_and_date(server):
    page = get(server, "/")
    row = section(page, '<ul class="rows">', "</ul>")
    assert says(row, f"alice/resnet50d image-classification {hub_site.PARAMETERS / 1000:.1f} k parameters")
    assert re.search(r'<time datetime="20[0-9-]+T[0-9:]+Z" title="[^"]+ UTC">20\d\d-\d\d-\d\d</time>', row)
    assert get(server, "/models") == page
    assert "/datasets/alice/digits" in Document(get(server, "/datasets")).all("a", "href")


@pytest.mark.parametrize(
    ("search", "found"), [("RESNET", True), ("alice/", True), ("nothing", False), ("%2525", False)]
)
def test_search_looks_into_names(server, search, found):
    assert (REPO in Document(get(server, f"/?search={search}")).all("a", "href")) is found


def test_private_repositories_are_listed_for_their_owner_only(server):
    assert "alice/secret" not in get(server, "/")
    assert "alice/secret" not in get(server, "/", **basic(server.tokens["bob"]))
    page = get(server, "/", **basic(server.tokens["alice"]))
    assert "alice/secret" in page and '<span class="badge private">private</span>' in page


@pytest.mark.slow
def test_a_list_of_hundreds_has_pages_and_is_quick(tmp_path):
    """Copies of one repository: the front door makes 40 a second, and the list does not care. Timed, so a process."""
    with Server(tmp_path / "data", "--quiet") as server:
        token = server.token("many")
        server.create("many/r0000", token)
        server.upload("many/r0000", token, hub_site.WEIGHTS)
        lines = file("README.md", hub_site.CARD), large("model.safetensors", hub_site.WEIGHTS)
        assert server.commit("many/r0000", token, *lines).status == 200
        home = server.data / "repos" / "models" / "many"
        for number in range(1, 300):
            shutil.copytree(home / "r0000.git", home / f"r{number:04}.git")
        first = get(server, "/")
        assert says(first, "Models 300") and says(first, "Page 1 of 8")
        shown = [
            row for number in range(1, 9) for row in re.findall(r">many/(r\d+)<", get(server, f"/?page={number}"))
        ]
        assert shown == [f"r{number:04}" for number in range(300)]
        assert "page=2" in section(first, 'class="pager"', "</nav>")
        assert says(get(server, "/?search=r002&page=1"), "Models 10")
        assert get(server, "/?page=999").count("<li>") == 0
        times = []
        for _ in range(7):
            started = server.cpu_seconds()
            get(server, "/")
            times.append(server.cpu_seconds() - started)
        assert min(times) < 0.2, times
        # what is remembered is never out of date
        assert (
            server.commit("many/r0299", token, file("README.md", "---\npipeline_tag: fill-mask\n---\n")).status == 200
        )
        assert says(section(get(server, "/"), '<ul class="rows">', "</li>"), "many/r0299 fill-mask")
        shutil.rmtree(home / "r0001.git")
        assert says(get(server, "/"), "Models 299")


SPOILT = {  # what is wrong with a repository on the disk: how to make it so
    "list": lambda at: (at / "hub.json").write_text("[]"),
    "cut": lambda at: (at / "hub.json").write_text("{"),
    "empty": lambda at: (at / "hub.json").write_text(""),
    "text": lambda at: (at / "hub.json").write_text('{"private": false, "created": "yesterday"}'),
    "far": lambda at: (at / "hub.json").write_text('{"private": false, "created": 1e30}'),
    "endless": lambda at: (at / "hub.json").write_text('{"private": false, "created": ' + "9" * 5000 + "}"),
    "ref": lambda at: (at / "refs/heads/main").write_text("garbage"),
    "nowhere": lambda at: (at / "refs/heads/main").write_text("0" * 39 + "1\n"),
    "binary": lambda at: (at / "refs/heads/main").write_bytes(b"\xff" * 100),
    "config": lambda at: (at / "config").write_text("[core\n"),
    "objects": lambda at: [each.write_bytes(b"x") for each in at.glob("objects/??/*") if each.chmod(0o644) is None],
    "gone": lambda at: shutil.rmtree(at / "objects"),
}


@pytest.mark.slow
def test_a_damaged_repository_is_a_row_and_everybody_elses_go_on_working(tmp_path):
    with Server(tmp_path / "data", "--quiet") as server:
        token = server.token("me")
        card = "---\nlicense: mit\npipeline_tag: fill-mask\nbase_model: me/list\n---\n"
        for name in (*SPOILT, "whole"):
            server.create(f"me/{name}", token)
            assert server.commit(f"me/{name}", token, file("README.md", card)).status == 200
        home = server.data / "repos/models/me"
        for name, spoil in SPOILT.items():
            spoil(home / f"{name}.git")
        page = get(server, "/", **basic(token))
        rows = section(page, '<ul class="rows">', "</ul>").split("</li>")[:-1]
        rows = {re.search(r">me/(\w+)<", row)[1]: row for row in rows}
        assert rows.keys() == {*SPOILT, "whole"}
        assert {name for name, row in rows.items() if "damaged" in row} == set(SPOILT), page
        assert says(rows["whole"], "me/whole fill-mask")
        assert "me/whole" in get(server, "/") and "me/list" not in get(server, "/")  # it may have been private
        for query in ("", "?filter=license:mit", "?sort=createdAt&full=true&cardData=true", "?expand=safetensors"):
            reply = server.http("GET", f"/api/models{query}", token=token)
            assert reply.status == 200 and [each["id"] for each in reply.json] == ["me/whole"], (query, reply)
        assert "license:mit" in str(server.http("GET", "/api/models-tags-by-type").json)
        assert server.http("GET", "/api/users/me/overview").json["numModels"] >= 1
        get(server, "/me/whole")  # whose base model is a damaged one
        log = server.read_log()
        assert "Traceback" not in log and "me/list: hub.json is damaged" in log
        before = log.count("\n")
        get(server, "/", **basic(token))
        assert server.read_log().count("\n") == before  # said once


WILD = {  # content that a stranger may push: none of it is anybody else's error
    "bool": {"README.md": "---\nx: !!bool maybe\n---\n"},
    "int": {"README.md": '---\nx: !!int ""\n---\n'},
    "time": {"README.md": "---\nx: !!timestamp x\n---\n"},
    "hex": {"README.md": f"---\nlicense: 0x{'f' * 6000}\ntags: [0x{'f' * 900}]\n? 0x{'e' * 900}\n: 1\n---\n"},
    "sixty": {"README.md": f"---\nx: {':'.join(['1'] * 100_000)}\n---\n"},
    "deep": {"README.md": "---\nx: " + "[" * 90 + "]" * 90 + "\n---\n"},
    "nan": {"config.json": '{"model_type": "x", "quantization_config": {"x": NaN, "y": 1e999}}'},
    "nested": {"config.json": '{"quantization_config": ' + "[" * 900 + "]" * 900 + "}"},
    "weights": {"model.safetensors": b"w"},
}


@pytest.mark.slow
def test_strange_metadata_is_no_error_for_anybody(server):
    token = server.tokens["carol"]
    header = json.dumps({"w": {"dtype": "X9", "shape": [2**62] * 30, "data_offsets": [0, 0]}}).encode()
    weights = struct.pack("<Q", len(header)) + header
    for name, files in WILD.items():
        server.create(f"carol/wild-{name}", token)
        lines = [file(path, weights if content == b"w" else content) for path, content in files.items()]
        assert server.commit(f"carol/wild-{name}", token, *lines).status == 200
    started = time.perf_counter()
    page = get(server, "/?search=wild-")
    assert time.perf_counter() - started < 5
    assert "/carol/wild-nan" in page and "damaged" not in page
    for path in ("", "?full=true&config=true", "?filter=license:mit", "?num_parameters=min:0,max:1B"):
        assert server.http("GET", f"/api/models{path}").status == 200
    for path in ("/api/models-tags-by-type", "/api/users/carol/overview"):
        assert server.http("GET", path).status == 200
    for name in WILD:
        get(server, f"/carol/wild-{name}")
        assert server.http("GET", f"/api/models/carol/wild-{name}").status == 200
    reply = server.http("GET", "/api/models/carol/wild-nan?expand=config").json
    assert reply["config"]["quantization_config"] == {"x": "nan", "y": "inf"}
    page = get(server, "/carol/wild-weights/blob/main/model.safetensors")
    assert says(page, "has a shape of more numbers than it has bits")
    assert says(get(server, "/carol/wild-bool"), "The front matter of README.md is not valid.")


def test_a_commit_of_a_year_that_no_calendar_has_is_shown(tmp_path):
    """A mirrored history says any time."""
    with ThreadServer(tmp_path / "data") as server:
        server.create("me/far", server.token("me"))
        git = Repo(str(server.data / "repos/models/me/far.git"))
        commit = git[git.refs[b"refs/heads/main"]]
        commit.commit_time = commit.author_time = 10**13
        git.object_store.add_object(commit)
        git.refs[b"refs/heads/main"] = commit.id
        git.close()
        for path in ("/", "/me/far", "/me/far/commits/main", "/me/far/tree/main"):
            assert says(get(server, path), "9999-12-31"), path
        reply = server.http("GET", "/api/models")
        assert reply.json[0]["lastModified"] == "9999-12-31T23:59:59.000Z"


def test_a_slash_at_the_end_of_an_address_leads_to_the_card(server):
    for path in (REPO, "/datasets/alice/digits"):
        reply = server.http("GET", f"{path}/", **HTML)
        assert (reply.status, reply.headers["Location"]) == (308, path)


# The card -------------------------------------------------------------------------------------


def test_the_card_pins_the_commit_it_shows(server):
    page, sha = get(server, REPO), server.made["main"]
    assert Document(section(page, '<code id="page-snippet">', "</code>")).text == (
        "from transformers import AutoModelForImageClassification\n\n"
        f'model = AutoModelForImageClassification.from_pretrained("alice/resnet50d", revision="{sha}", '
        "trust_remote_code=True)"
    )
    assert f'data-copy="{sha}"' in page


def test_the_card_names_exactly_the_code_that_loading_runs(server):
    notice = section(get(server, REPO), "Loading runs code", "</section>")
    sha = server.made["main"]
    assert Document(notice).all("a", "href") == [
        f"{REPO}/blob/{sha}/{name}" for name in ("configuration_resnet.py", "modeling_resnet.py", "layers_resnet.py")
    ]


def test_code_is_followed_through_folders_and_what_is_missing_or_elsewhere_is_said(server):
    token = server.tokens["carol"]
    server.create("carol/nested", token)
    auto_map = {
        "AutoConfig": "core/configuration_x.XConfig",
        "AutoModel": ["core/modeling_x.XModel", None],
        "AutoModelForCausalLM": "gone.XForCausalLM",
        "AutoTokenizer": "other/repo--tokenization_x.XTokenizer",
    }
    files = {
        "config.json": json.dumps({"auto_map": auto_map, "architectures": ["XModel"]}),
        "core/configuration_x.py": "from ..shared.base import (\n    Base,\n)\n",
        "core/modeling_x.py": "if 1:\n    from . import blocks, configuration_x as c\nfrom transformers.x import y\n",
        "core/blocks.py": "import torch\nfrom .blocks import me\n",
        "shared/base.py": "",
        "core/unused.py": "from .modeling_x import XModel\n",
        "pytorch_model.bin": "x",
    }
    assert server.commit("carol/nested", token, *[file(*each) for each in files.items()]).status == 200
    page = get(server, "/carol/nested")
    notice = section(page, "Loading runs code", "</section>")
    links = [unquote(each).partition("/blob/")[2][41:] for each in Document(notice).all("a", "href")]
    code = ["core/configuration_x.py", "core/modeling_x.py", "shared/base.py", "core/blocks.py"]
    assert sorted(links) == sorted([*code, "pytorch_model.bin"])
    assert says(notice, "gone.py missing") and says(notice, "other/repo") and says(notice, "A pickle can run code")
    assert "AutoModel.from_pretrained(" in page  # the architecture's own class


def test_code_of_tokenizers_and_processors_is_named_too(server):
    token = server.tokens["carol"]
    server.create("carol/words", token)
    files = {
        "config.json": '{"model_type": "bert"}',
        "tokenizer_config.json": json.dumps({"auto_map": {"AutoTokenizer": ["tokenization_x.X", None]}}),
        "preprocessor_config.json": json.dumps({"auto_map": {"AutoImageProcessor": "processing_x.X"}}),
        "tokenization_x.py": "",
        "processing_x.py": "",
    }
    assert server.commit("carol/words", token, *[file(*each) for each in files.items()]).status == 200
    notice = section(get(server, "/carol/words"), "Loading runs code", "</section>")
    assert says(notice, "tokenization_x.py") and says(notice, "processing_x.py")


EVIL_MAP = json.dumps({"auto_map": {"AutoModel": "modeling_x.X"}})
MODEL_INDEX = {"_class_name": ["pipe", "P"], "unet": ["net", "Net"], "vae": ["diffusers", "V"]}


class Lfs(str):
    """The content of a file that is pushed as a large one."""


def imports(source: str) -> dict[str, str]:
    return {"config.json": EVIL_MAP, "modeling_x.py": source, "evil.py": ""}


def maps(path: str, content: object) -> dict[str, str]:
    return {path: json.dumps(content), "modeling_x.py": ""}


RUNS = {  # what a repository holds, the file that its page must name, and what is said of it
    "config as a large file": ({"config.json": Lfs(EVIL_MAP), "modeling_x.py": ""}, "modeling_x.py", ""),
    "long config": (
        maps("config.json", {"x": "y" * 2**20, **json.loads(EVIL_MAP)}),
        "config.json",
        "longer than 1048576 bytes: assume that it runs code",
    ),
    "broken config": ({"tokenizer_config.json": "{"}, "tokenizer_config.json", "not valid JSON: assume"),
    "custom generate": (
        {"custom_generate/generate.py": "from .evil import x\n", "custom_generate/evil.py": ""},
        "custom_generate/evil.py",
        "",
    ),
    "module as a large file": (imports(Lfs("from .evil import x\n")), "evil.py", ""),
    "form feed": (imports("\fimport os\n\ffrom .evil import x\n"), "evil.py", ""),
    "semicolon": (imports("import os; from .evil import x\n"), "evil.py", ""),
    "continued line": (imports("from \\\n  .evil import x\n"), "evil.py", ""),
    "old line ends": (imports("import os\rfrom .evil import x\r"), "evil.py", ""),
    "named in a text": (imports('"""\n\u3000from .evil import x\n"""'), "evil.py", ""),
    "after a comment": (
        imports("#" * 2**20 + "\nfrom .evil import x\n"),
        "modeling_x.py",
        "could not be read longer than 524288 bytes: assume that it runs code",
    ),
    "another encoding": (
        imports("# coding: utf-7\n+AGYAcgBvAG0- .evil import x\n"),
        "evil.py",
        "",
    ),
    "not Python": (imports("(" * 5000), "modeling_x.py", "not Python that this server understands"),
    "long reference": (maps("config.json", {"auto_map": {"A": f"modeling_x.{'X' * 400}"}}), "modeling_x.py", ""),
    "pipeline": (maps("config.json", {"custom_pipelines": {"a": {"impl": "modeling_x.P"}}}), "modeling_x.py", ""),
    "video": ({"video_preprocessor_config.json": EVIL_MAP, "modeling_x.py": ""}, "modeling_x.py", ""),
    "nested map": (maps("processor_config.json", {"image": [json.loads(EVIL_MAP)]}), "modeling_x.py", ""),
    "list": (maps("tokenizer_config.json", {"auto_map": ["modeling_x.X", None]}), "modeling_x.py", ""),
    "backends": (maps("config.json", {"auto_map": {"A": {"pil": "modeling_x.X"}}}), "modeling_x.py", ""),
    "another name": (maps("anything.json", json.loads(EVIL_MAP)), "modeling_x.py", ""),
    "sentence-transformers": (
        maps("modules.json", [{"type": "sentence_transformers.models.Pooling"}, {"type": "modeling_x.Module"}]),
        "modeling_x.py",
        "",
    ),
    "diffusers": ({**maps("model_index.json", MODEL_INDEX), "pipe.py": "", "unet/net.py": ""}, "unet/net.py", ""),
}


@pytest.mark.parametrize("what", RUNS)
def test_code_that_hides_is_named_or_what_cannot_be_read_is(server, what):
    files, named, reason = RUNS[what]
    token, name = server.tokens["carol"], f"carol/runs-{what.replace(' ', '-')}"
    server.create(name, token)
    for content in files.values():
        if isinstance(content, Lfs):
            server.upload(name, token, content.encode())
    lines = [
        large(path, content.encode()) if isinstance(content, Lfs) else file(path, content)
        for path, content in files.items()
    ]
    assert server.commit(name, token, *lines).status == 200
    page = get(server, f"/{name}")
    assert "Loading runs no code" not in page
    notice = section(page, '<section class="runs warns">', "</section>")
    assert f"/{name}/blob/{server.head(name)}/{named}" in Document(notice).all("a", "href")
    assert says(notice, reason) and ("could not be read" in notice) is bool(reason)


def test_settings_whose_large_file_is_not_here_may_run_code(server):
    token, content = server.tokens["carol"], EVIL_MAP.encode()
    server.create("carol/absent", token)
    server.upload("carol/absent", token, content)
    assert server.commit("carol/absent", token, large("config.json", content), file("modeling_x.py", "")).status == 200
    stored = next((server.data / "repos/models/carol/absent.git/lfs/objects").glob(f"*/*/{sha256(content)}"))
    away = stored.rename(stored.with_suffix(".away"))
    page = get(server, "/carol/absent")
    assert says(page, "Loading may run code config.json could not be read missing on the server's disk: assume")
    away.rename(stored)  # as when a mirror gets its large files later
    assert says(get(server, "/carol/absent"), "Loading runs code")


def test_more_code_than_is_followed_is_said(server):
    token = server.tokens["carol"]
    server.create("carol/many-modules", token)
    lines = [file(f"m{number}.py", f"from .m{number + 1} import x\n") for number in range(210)]
    lines.append(file("config.json", '{"auto_map": {"A": "m0.X"}}'))
    assert server.commit("carol/many-modules", token, *lines).status == 200
    page = get(server, "/carol/many-modules")
    assert says(page, "m199.py and more: only the first 200 files are listed")


def test_vocabularies_and_indices_are_no_settings(server):
    token = server.tokens["carol"]
    server.create("carol/vocabulary", token)
    lines = [file("tokenizer.json", json.dumps({"x": "y" * 2**20})), file("vocab.json", "{")]
    assert server.commit("carol/vocabulary", token, *lines, file("config.json", "{}")).status == 200
    assert says(get(server, "/carol/vocabulary"), "Loading runs no code")


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    ["from . import (\n" * 34_000, "\n" * 2**19, "from " * 100_000, "-" * 2**19, "(" * 2**19, "x = 1, 2\n" * 58_000,
     "from . import (\n" * 60_000,
     "from .a" + " " * 500_000, "# coding: punycode\n" + "x" * 500_000, "a" + ".b" * 250_000],
)  # fmt: skip
def test_code_made_to_be_slow_to_look_through_is_not(server, source):
    token, name = server.tokens["carol"], f"carol/look{sha256(source.encode())[:8]}"
    server.create(name, token)
    assert server.commit(name, token, file("config.json", EVIL_MAP), file("modeling_x.py", source)).status == 200
    started = server.cpu_seconds()
    assert says(get(server, f"/{name}"), "modeling_x.py")
    assert server.cpu_seconds() - started < 5


def test_two_variants_of_the_weights_are_one_model(server):
    token = server.tokens["carol"]
    server.create("carol/variants", token)
    lines = [file(f"model.{each}.safetensors", hub_site.WEIGHTS) for each in ("bf16", "fp16")]
    assert server.commit("carol/variants", token, *lines).status == 200
    assert says(get(server, "/carol/variants"), "Parameters 14.2 k")


def test_text_that_turns_around_what_stands_beside_it_is_shown_as_an_escape(server):
    token, turn = server.tokens["carol"], "\u202e"
    server.create("carol/turned", token)
    code = file(f"photo{turn}gnp.py", f"# {turn} turned \u2066\nx = '{turn}'\n")
    reply = server.commit("carol/turned", token, code, summary=f"Title{turn} more", description=f"{turn}b")
    assert reply.status == 200
    address, sha = "/carol/turned/blob/main/photo%E2%80%AEgnp.py", reply.json["commitOid"]
    tree = get(server, "/carol/turned/tree/main")
    pages = [tree, get(server, address), get(server, "/carol/turned/commits/main")]
    for page in (*pages, get(server, f"/carol/turned/commit/{sha}")):
        assert turn not in page and "\u2066" not in page and "\\u202e" in page
    assert "<mark>\\u202e</mark>" in pages[1] and "<mark>\\u2066</mark>" in pages[1]
    assert r"<bdi>photo\u202egnp.py</bdi>" in tree and address in Document(tree).all("a", "href")


def test_the_snippet_is_at_the_commit_that_the_card_pins_while_the_files_are_the_same(server):
    token, repo = server.tokens["carol"], "carol/pinned"
    server.create(repo, token)
    assert server.commit(repo, token, file("config.json", '{"model_type": "bert"}')).status == 200
    pinned = server.head(repo)
    card = f'```python\nAutoModel.from_pretrained("{repo}", revision="{pinned}")\n```'
    assert server.commit(repo, token, file("README.md", card)).status == 200
    shown = section(get(server, f"/{repo}"), 'id="page-use"', "</section>")
    assert pinned in shown and server.head(repo) not in shown and says(shown, "Pinned by the card: commit")
    assert server.commit(repo, token, file("more.txt", "x")).status == 200  # the pin is of other files now
    shown = section(get(server, f"/{repo}"), 'id="page-use"', "</section>")
    assert server.head(repo) in shown and pinned not in shown
    assert server.commit(repo, token, file("README.md", card.replace(pinned, "f" * 40))).status == 200
    assert server.head(repo) in section(get(server, f"/{repo}"), 'id="page-use"', "</section>")


def test_a_repository_without_code_says_so(server):
    token = server.tokens["carol"]
    server.create("carol/plain", token)
    assert says(get(server, "/carol/plain"), "No code in this repository.")
    assert says(get(server, "/carol/plain"), "This repository has no README.md.")
    assert 'snapshot_download("carol/plain", revision="' in Document(get(server, "/carol/plain")).text
    assert server.commit("carol/plain", token, file("config.json", '{"model_type": "bert"}')).status == 200
    snippet = Document(section(get(server, "/carol/plain"), 'id="page-snippet">', "</code>")).text
    assert snippet.endswith(f'AutoModel.from_pretrained("carol/plain", revision="{server.head("carol/plain")}")')
    assert "trust_remote_code" not in snippet


def test_the_card_has_a_table_of_metadata(server):
    facts = section(get(server, REPO), '<table class="facts">', "</table>")
    for row in (
        "Parameters 14.2 k",
        "Types F32 9.47 k, BF16 4.74 k",
        "License apache-2.0",
        "Task image-classification",
        "Library transformers",
        "Language en",
        "Base model timm/resnet50d",
        "Datasets imagenet-1k",
        "Tags custom_code vision resnet",
        "in 11 files",
    ):
        assert says(facts, row), row
    results = section(get(server, REPO), ">Results<", "</table>")
    assert says(results, "ImageNet-1k Top-1 accuracy 80.53 ImageNet-1k Top-5 accuracy 95.16")


def test_a_base_model_on_this_server_is_linked_unless_it_is_somebody_elses_private_one(server):
    token = server.tokens["carol"]
    server.create("carol/child", token)
    card = "---\nbase_model: [alice/resnet50d, alice/secret, Alice/none]\ndatasets: alice/digits\n---\n"
    assert server.commit("carol/child", token, file("README.md", card)).status == 200
    facts = Document(section(get(server, "/carol/child"), '<table class="facts">', "</table>")).all("a", "href")
    assert facts[:2] == ["/alice/resnet50d", "/datasets/alice/digits"] and "/alice/secret" not in facts


@pytest.mark.parametrize("front", ["a: [", "- a", "a: &x 1\nb: *x", "x" * 300_000])
def test_a_card_with_bad_front_matter_says_what_is_wrong_and_still_shows(server, front):
    token = server.tokens["carol"]
    name = f"carol/front{abs(hash(front)) % 10**8}"
    server.create(name, token)
    assert server.commit(name, token, file("README.md", f"---\n{front}\n---\n# Here **it** is\n")).status == 200
    page = get(server, f"/{name}")
    assert says(page, "The front matter of README.md is not valid. the metadata") and "<strong>it</strong>" in page


def test_links_and_pictures_of_a_card_lead_into_the_repository(server):
    article = section(get(server, REPO), "<article", "</article>")
    document = Document(article)
    links = document.all("a", "href")
    assert f"{REPO}/blob/main/modeling_resnet.py" in links and "#h-use" in links
    assert "h-use" in document.all("h3", "id")
    assert document.all("img", "src") == [f"{REPO}/resolve/main/pictures/architecture.svg"] * 2
    assert document.all("source", "srcset") == [f"{REPO}/resolve/main/pictures/architecture.svg"]
    assert "https://img.example.org/curve.png" in links and "img.example.org/badge" not in article
    assert says(article, "Licence A remote picture")
    picture = server.http("GET", f"{REPO}/resolve/main/pictures/architecture.svg")
    assert picture.headers["Content-Type"] == "image/svg+xml"
    assert picture.headers["Content-Security-Policy"] == "sandbox; default-src 'none'; style-src 'unsafe-inline'"
    assert picture.headers["X-Content-Type-Options"] == "nosniff"


def test_a_file_in_a_folder_is_rendered_with_links_from_there(server):
    token = server.tokens["carol"]
    server.create("carol/docs", token)
    text = "[a](other.md) [b](../x.py) [c](../../../x) [d](/alice/resnet50d) [e](a%20b.md#Part-Two) ![p](p.png)"
    text += " [l](x.py#L3)\n"
    assert server.commit("carol/docs", token, file("docs/deep/page.md", text)).status == 200
    assert server.http("POST", "/api/models/carol/docs/branch/a%2Fb%20c", {}, token).status == 400
    assert server.http("POST", "/api/models/carol/docs/branch/a%2Fb", {}, token).status == 200
    document = Document(section(get(server, "/carol/docs/blob/a%2Fb/docs/deep/page.md"), "<article", "</article>"))
    blob = "/carol/docs/blob/a%2Fb"
    assert document.all("a", "href") == [
        f"{blob}/docs/deep/other.md",
        f"{blob}/docs/x.py",
        f"{blob}/x",
        "/alice/resnet50d",
        f"{blob}/docs/deep/a%20b.md#h-part-two",
        f"{blob}/docs/deep/x.py#L3",
    ]
    assert document.all("img", "src") == ["/carol/docs/resolve/a%2Fb/docs/deep/p.png"]


def test_headings_of_a_card_fit_the_page(server):
    levels = [int(tag[1]) for tag, _ in Document(get(server, REPO)).elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1 and all(after - before <= 1 for before, after in itertools.pairwise(levels))


# Markup from users ----------------------------------------------------------------------------

EXPECTED = {"html", "head", "meta", "title", "link", "script", "body", "header", "nav", "a", "form", "label", "input"}
EXPECTED |= {"button", "main", "footer", "p", "div", "span", "h1", "h2", "h3", "h4", "ul", "li", "time", "code", "pre"}
EXPECTED |= {
    "aside",
    "section",
    "article",
    "table",
    "caption",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "details",
    "summary",
}
EXPECTED |= {"abbr", "bdi", "strong", "em", "img", "i", "select", "option", "mark", "br", "hr"}


def test_markup_in_everything_a_user_writes_stays_text(server):
    for what, path in hub_site.attack(server).items():
        reply = server.http("GET", path, **HTML)
        assert reply.status == (404 if what == "error" else 200), (what, reply)
        page = Document(reply.content.decode())
        assert {tag for tag, _ in page.elements} <= EXPECTED, what
        for tag, attributes in page.elements:
            assert not [
                name for name in attributes if name.startswith("on") or name in ("style", "formaction", "srcdoc")
            ]
            for name in ("href", "src", "srcset", "action"):
                address = attributes.get(name, "")
                remote = tag == "a" and address.startswith(("https://evil.example/", "//evil.example/", "/%5Cevil"))
                assert remote or not re.match(r"[a-z]+:|//", address.lower()), f"{what}: {tag} {name}={address}"
            if tag == "form":
                assert attributes["action"].startswith("/") and not attributes["action"].startswith("//")
            if tag == "img":
                assert attributes["src"].startswith("/mallory/attack/resolve/")
        assert page.all("script", "src") == ["/static/script.js"] and page.all("link", "href") == [
            "/static/icon.svg",
            "/static/style.css",
        ]
        assert len(page.all("meta", "charset")) == 1 and not page.all("meta", "http-equiv")
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids)), what


@pytest.mark.parametrize("path", ["/", REPO, f"{REPO}/tree/none", "/login", "/static/style.css", f"{REPO}/refs"])
def test_every_page_carries_its_policy(server, path):
    headers = server.http("GET", path, **HTML).headers
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in headers


@pytest.mark.parametrize(
    "text",
    ["*" * 30_000, "[" * 30_000, "<div>" * 20_000, "> " * 20_000 + "x", "`" * 30_000, "|a" * 20_000, "<!--" * 10_000,
     "![" * 10_000 + "](x)" * 10_000, "#" * 30_000, "- " * 3000 + "x", "<a href=x>" * 5000, "&" * 50_000],
)  # fmt: skip
def test_a_card_made_to_be_slow_is_not(server, text):
    token = server.tokens["carol"]
    name = f"carol/slow{abs(hash(text)) % 10**8}"
    server.create(name, token)
    assert server.commit(name, token, file("README.md", text)).status == 200
    started = time.perf_counter()
    get(server, f"/{name}")
    assert time.perf_counter() - started < 5


# Files ----------------------------------------------------------------------------------------


def test_a_folder_lists_size_hash_and_the_commit_that_changed_each_file_last(server):
    page = get(server, f"{REPO}/tree/main")
    rows = {Document(row).text.split()[0]: row for row in section(page, "<tbody>", "</tbody>").split("</tr>")[:-1]}
    assert list(rows)[:3] == ["notes/", "pictures/", ".gitattributes"]
    weights = rows["model.safetensors"]
    assert (
        says(weights, "LFS")
        and says(weights, f"{len(hub_site.WEIGHTS) / 1000:.1f} kB")
        and says(weights, "Add weights")
    )
    assert f'data-copy="{sha256(hub_site.WEIGHTS)}"' in weights
    assert f"{REPO}/commit/{server.made['Add weights']}" in weights
    assert f"{REPO}/resolve/main/model.safetensors" in weights
    assert says(rows["config.json"], "Add the architecture") and says(rows["README.md"], "Write the card")
    assert says(rows["modeling_resnet.py"], "Scale the output") and says(rows["notes/"], "Scale the output")
    assert says(rows[".gitattributes"], "initial commit")
    assert "train.yaml" in get(server, f"{REPO}/tree/main/notes")
    links = Document(section(page, '<div class="menu">', "</div>")).all("a", "href")
    assert {f"{REPO}/tree/try%2Fwider", f"{REPO}/tree/v1.0", f"{REPO}/refs"} <= set(links)


@pytest.mark.slow
def test_paths_of_a_large_folder_are_looked_up_in_one_reading(server):
    """Each path used to cost a reading of the folder: anybody could keep the server busy for a minute."""
    token, repo = server.tokens["carol"], "carol/paths"
    server.create(repo, token)
    lines = [file(f"n{number:05}.txt", "x") for number in range(10_000)]
    lines += [file(f"d{number:03}/inside.txt", "x") for number in range(300)]
    assert server.commit(repo, token, *lines).status == 200

    def asked(paths: list[str]):
        body = "&".join(f"paths={path}" for path in paths)
        return server.http("POST", f"/api/models/{repo}/paths-info/main", body)

    for paths in (
        [f"n{number:05}.txt" for number in range(500)],
        [f"d{number:03}/inside.txt" for number in range(300)],
        ["d001", "n00001.txt", "d002/inside.txt"],
    ):
        started = time.perf_counter()
        reply = asked([*paths, "none", "none/none", "n00001.txt/x"])
        assert time.perf_counter() - started < 3
        assert [each["path"] for each in reply.json] == paths
        assert all(each["type"] == ("file" if each["path"].endswith(".txt") else "directory") for each in reply.json)
    assert asked([f"x{number}" for number in range(5001)]).status == 413


def test_the_text_of_a_file_has_numbered_lines(server):
    page = get(server, f"{REPO}/blob/main/modeling_resnet.py")
    lines = re.findall(r'<span class="line" id="L(\d+)">', page)
    assert lines == [str(number) for number in range(1, hub_site.MODELING.count("\n") + 1)]
    shown = Document(section(page, '<pre class="lines">', "</pre>"))
    text = re.sub(r"^\d+", "", shown.text, flags=re.M)
    assert text == hub_site.MODELING and '<span class="kn">import</span>' in page


def test_a_card_is_rendered_with_a_link_to_its_source(server):
    assert "<h2 id=" in get(server, f"{REPO}/blob/main/README.md")
    assert f"{REPO}/blob/main/README.md?source=1" in get(server, f"{REPO}/blob/main/README.md")
    source = get(server, f"{REPO}/blob/main/README.md?source=1")
    assert says(source, "license: apache-2.0") and "<h2 id=" not in source


def test_a_folder_asked_for_as_a_file_leads_to_the_folder(server):
    reply = server.http("GET", f"{REPO}/blob/main/notes", **HTML)
    assert (reply.status, reply.headers["Location"]) == (303, f"{REPO}/tree/main/notes")


def test_what_cannot_be_shown_is_offered_for_download(server):
    token = server.tokens["carol"]
    server.create("carol/odd", token)
    lines = [file("data.dat", b"a\0b"), file("long.txt", "x\n" * 20_000), file("big.txt", "x" * 2_000_000)]
    lines += [
        file("empty.txt", ""),
        file("latin.txt", "\xe9".encode("latin-1")),
        file("crlf.py", "a = 1\r\nb = 2\r\n"),
    ]
    assert server.commit("carol/odd", token, *lines).status == 200
    for name, reason in {"data.dat": "A binary file", "long.txt": "10,000 lines", "big.txt": "1 MB"}.items():
        page = get(server, f"/carol/odd/blob/main/{name}")
        assert says(page, reason) and f"/carol/odd/resolve/main/{name}" in page
    assert says(get(server, "/carol/odd/blob/main/empty.txt"), "This file is empty.")
    assert says(get(server, "/carol/odd/blob/main/latin.txt"), "\ufffd")
    assert get(server, "/carol/odd/blob/main/crlf.py").count('<span class="line"') == 2


def test_weights_are_shown_from_their_header_alone(server):
    page = get(server, f"{REPO}/blob/main/model.safetensors")
    assert says(page, f"5 tensors, {hub_site.PARAMETERS:,} parameters: F32 9.47 k, BF16 4.74 k.")
    assert says(page, "model.stem.weight F32 64 x 3 x 7 x 7 9,408") and says(page, "logit_scale F32 scalar 1")
    assert says(page, "format pt")


def test_gigabytes_of_weights_are_not_read(server):
    """A sparse file: reading it all would take its time, and a gigabyte of memory."""
    token = server.tokens["carol"]
    server.create("carol/huge", token)
    text = json.dumps({"w": {"dtype": "F32", "shape": [2**28], "data_offsets": [0, 2**30]}}).encode()
    small = struct.pack("<Q", len(text)) + text
    server.upload("carol/huge", token, small)
    assert server.commit("carol/huge", token, large("model.safetensors", small)).status == 200
    oid = sha256(small)
    stored = server.data / "repos/models/carol/huge.git/lfs/objects" / oid[:2] / oid[2:4] / oid
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(small) + 2**30}\n"
    with open(stored, "ab") as grown:
        grown.truncate(len(small) + 2**30)
    assert server.commit("carol/huge", token, file("model.safetensors", pointer)).status == 200
    started = time.perf_counter()
    assert says(get(server, "/carol/huge/blob/main/model.safetensors"), "1 tensor, 268,435,456 parameters")
    assert says(get(server, "/carol/huge"), "Parameters 268 M, F32") and time.perf_counter() - started < 2


def test_a_header_beyond_the_limit_is_not_read(server):
    header = b"{" + b" " * (16 * 2**20) + b"}"
    page = weights_page(server, struct.pack("<Q", len(header)) + header)
    assert says(page, f"its header has {len(header)} bytes; at most 16777216 are read here")


TENSOR = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "body", "reason"),
    [
        (b"{", b"", "not JSON"),
        (b"[" * 100_000, b"", "not JSON"),
        (b"[]", b"", "not a JSON object"),
        (b"\xff\xfe", b"", "not JSON"),
        (json.dumps({"w": 1}).encode(), b"", "lacks a dtype or a shape"),
        (json.dumps({"w": {**TENSOR, "shape": [True]}}).encode(), b"\0" * 8, "lacks a dtype or a shape"),
        (json.dumps({"w": {**TENSOR, "shape": [2**70]}}).encode(), b"\0" * 8, "lacks a dtype or a shape"),
        (json.dumps({"w": {**TENSOR, "shape": [1] * 100}}).encode(), b"\0" * 8, "lacks a dtype or a shape"),
        (json.dumps({"w": TENSOR}).encode(), b"", "lies outside the file"),
        (json.dumps({"w": {**TENSOR, "data_offsets": [8, 0]}}).encode(), b"\0" * 8, "lies outside the file"),
        (json.dumps({"w": {**TENSOR, "shape": [3]}}).encode(), b"\0" * 8, "another size than its shape says"),
        (json.dumps({"__metadata__": {"a": 1}}).encode(), b"", "does not map texts to texts"),
        (b'{"a": ' + b"9" * 5000 + b"}", b"", "not JSON"),
    ],
)
def test_a_malformed_header_is_a_message(server, header, body, reason):
    page = weights_page(server, struct.pack("<Q", len(header)) + header + body)
    assert says(page, "This is not a safetensors file that can be shown") and says(page, reason)


@pytest.mark.parametrize("content", [b"", b"\1", struct.pack("<Q", 2**63) + b"{}", struct.pack("<Q", 100) + b"{}"])
def test_a_header_longer_than_the_file_is_a_message(server, content):
    assert says(weights_page(server, content), "it announces a header of")


def weights_page(server: Server, content: bytes) -> str:
    token, name = server.tokens["carol"], "carol/malformed"
    if server.http("GET", f"/api/models/{name}").status != 200:
        server.create(name, token)
    if len(content) > 2**20:
        server.upload(name, token, content)
    line = large("model.safetensors", content) if len(content) > 2**20 else file("model.safetensors", content)
    assert server.commit(name, token, line).status == 200
    assert get(server, f"/{name}")  # the card does without
    return get(server, f"/{name}/blob/main/model.safetensors")


# History --------------------------------------------------------------------------------------


def test_commits_are_listed_with_hashes_to_copy_and_pages(server):
    page = get(server, f"{REPO}/commits/main")
    assert f'data-copy="{server.made["Add weights"]}"' in page and says(page, "Add weights alice 20")
    token = server.tokens["carol"]
    server.create("carol/long", token)
    for number in range(55):
        assert server.commit("carol/long", token, file("n.txt", str(number)), summary=f"number {number}").status == 200
    first = get(server, "/carol/long/commits/main")
    (older,) = [each for each in Document(first).all("a", "href") if "?from=" in each]
    assert says(first, "number 54") and not says(first, "number 4 ")
    second = get(server, older)
    assert says(second, "number 4") and says(second, "initial commit") and not says(second, "number 5 ")
    assert first.count("<li>") == 50 and second.count("<li>") == 6
    assert get(server, "/carol/long/commits/main?from=main", 400)


def test_a_commit_shows_what_it_changed(server):
    page = get(server, f"{REPO}/commit/{server.made['main']}")
    assert says(page, "3 files, +4 -1 lines")
    diff = section(page, "modeling_resnet.py</bdi></span>", "</section>")
    assert re.search(r'class="del"><i>25</i><i></i>-        return hidden if', diff)
    assert re.search(r'class="add"><i></i><i>25</i>\+        return hidden \* 0\.5 if', diff)
    weights = get(server, f"{REPO}/commit/{server.made['Add weights']}")
    assert says(weights, "A large file: its content is not compared. After: 47.9 kB, sha256")
    assert sha256(hub_site.WEIGHTS) in weights
    first = get(server, f"{REPO}/commits/main")
    root = re.findall(rf'href="({REPO}/commit/[0-9a-f]{{40}})"', first)[-1]
    assert says(get(server, root), ".gitattributes added")


@pytest.mark.slow
def test_renamed_binary_and_endless_files_are_named_and_not_printed(server):
    token = server.tokens["carol"]
    server.create("carol/moves", token)
    many = [file(f"z{number:03}.txt", "a\n") for number in range(600)]
    endless = "".join(f"{number}\n" for number in range(7000))
    lines = [file("old.py", "x = 1\n"), file("data.dat", b"\0\1"), file("endless.txt", endless), *many]
    lines.append(file("slow.txt", "a\nb\n" * 2900))
    assert server.commit("carol/moves", token, *lines).status == 200
    lines = [{"key": "deletedFile", "value": {"path": "old.py"}}, file("new.py", "x = 1\n"), file("data.dat", b"\0\2")]
    lines += [file("endless.txt", endless + "x\n"), file("tail.txt", "no end"), file("slow.txt", "b\na\nc\n" * 1900)]
    lines += [file(f"z{number:03}.txt", "b\n") for number in range(600)]
    reply = server.commit("carol/moves", token, *lines)
    started = time.perf_counter()
    page = get(server, f"/carol/moves/commit/{reply.json['commitOid']}")
    assert time.perf_counter() - started < 8
    assert says(page, "old.py → new.py renamed") and says(page, "Renamed without changes.")
    assert says(page, "A binary file: its content is not compared. Before: 2 B, git")
    assert says(page, "More than 6,000 lines") and says(page, "No newline at end of file")
    assert says(page, "more files are not shown")


def test_two_revisions_are_compared_by_their_code_or_all(server):
    code = get(server, f"{REPO}/compare/main..try%2Fwider")
    everything = get(server, f"{REPO}/compare/main..try%2Fwider?files=all")
    assert says(code, "1 file, +1 -1 lines") and "train.yaml" not in code and says(code, "1 commit")
    assert says(everything, "2 files, +2 -3 lines") and "train.yaml" in everything
    reply = server.http("GET", f"{REPO}/compare?base=main&head=try/wider", **HTML)
    assert (reply.status, reply.headers["Location"]) == (303, f"{REPO}/compare/main..try%2Fwider")
    assert says(get(server, f"{REPO}/compare/v1.0..main"), "No file differs.")
    get(server, f"{REPO}/compare/main", 400)
    get(server, f"{REPO}/compare/main..none", 404)


def test_refs_lists_branches_tags_and_pull_requests(server):
    page = Document(get(server, f"{REPO}/refs"))
    assert {f"{REPO}/tree/main", f"{REPO}/tree/try%2Fwider", f"{REPO}/tree/v1.0", f"{REPO}/tree/refs%2Fpr%2F1"} <= set(
        page.all("a", "href")
    )
    assert f"{REPO}/compare/main..try%2Fwider" in page.all("a", "href")
    assert server.made["Wider stages"] in page.all("button", "data-copy")


def test_discussions_and_pull_requests_are_shown(server):
    page = get(server, f"{REPO}/discussions")
    assert says(page, "Does it need square pictures? #2 closed bob") and says(
        page, "Say more #1 open pull request alice"
    )
    page = get(server, f"{REPO}/discussions/2")
    assert "<strong>tall</strong>" in page and f"{REPO}/blob/main/config.json" in page
    assert says(page, "alice changed the status to closed")
    page = get(server, f"{REPO}/discussions/1")
    assert says(page, "revision refs/pr/1") and says(page, "1 file, +2 -0 lines")
    get(server, f"{REPO}/discussions/99", 404)
    get(server, f"{REPO}/discussions/x", 404)


# Errors and credentials -----------------------------------------------------------------------


@pytest.mark.parametrize("path", [f"{REPO}/tree/none", f"{REPO}/blob/main/none", f"{REPO}/tree/main/none", "/a/b/c/d"])
def test_an_error_is_a_page_for_browsers_and_json_for_clients(server, path):
    html = server.http("GET", path, **HTML)
    assert html.status == 404 and html.headers["Content-Type"].startswith("text/html")
    for accept in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        reply = server.http("GET", path, **accept)
        assert reply.status == 404 and reply.json["error"]
        assert reply.code == html.headers["X-Error-Code"]


def test_unknown_api_calls_stay_json_404(server):
    assert server.http("GET", "/api/agent-harnesses").json["error"].startswith("Not Found")
    assert server.http("GET", "/api/agent-harnesses/x").status == 404
    assert server.http("POST", "/api/agent-harnesses/x").status == 404


@pytest.mark.parametrize("path", ["", "/tree/main", "/blob/main/README.md", "/commits/main", "/refs", "/discussions"])
def test_a_private_page_asks_for_a_token_and_shows_itself_to_its_owner(server, path):
    path = f"/alice/secret{path}"
    for accept in (HTML, {}):
        reply = server.http("GET", path, **accept)
        assert reply.status == 401 and reply.headers["WWW-Authenticate"].startswith('Basic realm="pinfold"')
        assert reply.code == "RepoNotFound"
    assert server.http("GET", path, **basic(server.tokens["bob"])).status == 404
    assert server.http("GET", path, **basic("wrong")).status == 401
    assert server.http("GET", path, **basic(server.tokens["alice"])).status == 200
    assert server.http("HEAD", path, **basic(server.token("alice", "read"))).status == 200


def test_where_nobody_gets_in_without_a_token_a_browser_is_asked_for_one(tmp_path):
    """Its stylesheet comes with the same credentials, and asks for none by itself."""
    Tokens(tmp_path).create("me", "read")
    with Server(tmp_path, "--quiet", "--host", "0.0.0.0") as server:
        for path, challenge in (("/", "Basic "), ("/static/style.css", "Bearer ")):
            reply = server.http("GET", path, **HTML)
            assert reply.status == 401 and reply.headers["WWW-Authenticate"].startswith(challenge)
            assert server.http("GET", path, **HTML, **basic(server.token("you", "read"))).status == 200


def test_an_old_name_of_a_moved_repository_still_shows_it(server):
    token = server.tokens["carol"]
    server.create("carol/before", token)
    request = {"fromRepo": "carol/before", "toRepo": "carol/after", "type": "model"}
    assert server.http("POST", "/api/repos/move", request, token).status == 200
    assert "/carol/after/tree/main" in get(server, "/carol/before")
    assert "/carol/before" not in get(server, "/?search=carol/before")


def test_login_asks_until_the_token_is_right(server):
    for headers in ({}, basic("wrong"), {"Authorization": "Basic ???"}):
        reply = server.http("GET", "/login", **HTML, **headers)
        assert reply.status == 401 and reply.headers["WWW-Authenticate"].startswith('Basic realm="pinfold"')
    reply = server.http("GET", "/login", **basic(server.tokens["alice"]))
    assert (reply.status, reply.headers["Location"]) == (303, "/")


def test_what_a_browser_sends_by_itself_changes_nothing(server):
    credentials = basic(server.tokens["alice"])
    calls = [
        ("POST", "/api/repos/create", {"name": "forged"}),
        ("POST", "/api/models/alice/resnet50d/branch/forged", {}),
        ("POST", "/api/models/alice/resnet50d/discussions", {"title": "a", "description": "b"}),
        ("DELETE", "/api/repos/delete", {"name": "resnet50d"}),
        ("PUT", "/api/models/alice/secret/settings", {"private": False}),
        ("POST", "/api/models/alice/resnet50d/commit/main", {"key": "header", "value": {"summary": "forged"}}),
    ]
    for method, path, body in calls:
        reply = server.http(method, path, body, **credentials)
        assert reply.status in (401, 403), (path, reply)
    assert server.http("GET", "/api/models/alice/forged", token=server.tokens["alice"]).status == 404


@pytest.mark.parametrize("path", ["/", REPO, f"{REPO}/tree/main"])
def test_a_page_asked_for_again_keeps_its_policy(server, path):
    """A browser puts the headers of a 304 in the place of those it has kept."""
    reply = server.http("GET", path, **HTML)
    if "ETag" in reply.headers:
        again = server.http("GET", path, If_None_Match=reply.headers["ETag"], **HTML)
        assert again.status == 304 and again.headers["Content-Security-Policy"] in (None, POLICY)


def test_static_files_are_revalidated(server):
    for name, kind in {"style.css": "text/css", "script.js": "text/javascript", "icon.svg": "image/svg+xml"}.items():
        reply = server.http("GET", f"/static/{name}")
        assert reply.status == 200 and reply.headers["Content-Type"].startswith(kind)
        again = server.http("GET", f"/static/{name}", If_None_Match=reply.headers["ETag"])
        assert again.status == 304 and again.content == b""
    for name in ("base.html", "..%2Fweb.py", "x"):
        assert server.http("GET", f"/static/{name}").status == 404


def test_no_template_has_a_script_or_style_inside():
    from pinfold.hub.pages.page import STATIC, TEMPLATES

    for path in TEMPLATES.glob("*.html"):
        text = path.read_text()
        assert not re.search(r"<style|\bstyle=|<script(?! src)|\son\w+=|\|\s*safe|autoescape|https?://", text), path
    assert not re.search(r"@import|url\(|https?:", (STATIC / "style.css").read_text())
