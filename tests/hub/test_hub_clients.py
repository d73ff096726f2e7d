"""The embedded Hub as unmodified clients of both generations use it: upload, download, branches, the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.hub.hub_support import EACH_GENERATION, Server, client, environment, file, sha256, user_of


@pytest.fixture(params=EACH_GENERATION)
def generation(request):
    return request.param


@pytest.fixture
def user(server, generation):
    """A user of its own for each generation: (name, token)."""
    name = user_of(generation)
    return name, server.token(name)


def requests_since(server: Server, start: int) -> list[str]:
    """What a client asked for, without its probe for the tool that it was started by."""
    lines = [line.rsplit(" ", 3)[0] for line in server.read_log()[start:].splitlines()]
    return [line for line in lines if "agent-harnesses" not in line]


def test_a_push_is_one_commit_and_comes_back_byte_for_byte(server, user, generation, tmp_path):
    name, token = user
    weights = os.urandom(12_000_000)
    (tmp_path / "weights").write_bytes(weights)
    pushed = client(
        server,
        token,
        tmp_path / "home",
        f"""
repo = api.create_repo("{name}/model").repo_id
api.create_repo(repo, exist_ok=True)
before = api.model_info(repo).sha
commit = api.create_commit(repo, [
    add("model.safetensors", {str(tmp_path / "weights")!r}),
    add("config.json", b'{{"model_type": "x"}}'),
    add("modeling_x.py", b"import torch"),
    add("README.md", "---\\nlicense: mit\\npipeline_tag: text-classification\\n---\\n# A card".encode()),
    add("pictures/a b#1.png", b"\\x89PNG\\0" * 50),
    add("empty.txt", b""),
], commit_message="First", commit_description="nonce 42", parent_commit=before)
info = api.model_info(repo, files_metadata=True)
result = dict(
    url=commit.commit_url, oid=commit.oid, main=info.sha, pipeline=info.pipeline_tag, tags=info.tags,
    commits=[(each.title, each.message, each.authors) for each in api.list_repo_commits(repo)],
    sizes={{each.rfilename: (each.size, each.lfs and each.lfs.sha256) for each in info.siblings}},
)
""",
        generation,
    )
    assert pushed["oid"] == pushed["main"]
    assert pushed["url"] == f"{server.url}/{name}/model/commit/{pushed['oid']}"
    assert pushed["commits"] == [["First", "nonce 42", [name]], ["initial commit", "", [name]]]
    assert pushed["pipeline"] == "text-classification" and "license:mit" in pushed["tags"]
    assert pushed["sizes"]["model.safetensors"] == [12_000_000, sha256(weights)]
    assert pushed["sizes"]["config.json"] == [19, None]
    assert pushed["sizes"]["pictures/a b#1.png"][1], "a binary file is a large file"

    start = len(server.read_log())
    loaded = client(
        server,
        None,
        tmp_path / "other home",
        f"""
folder = snapshot_download("{name}/model", revision="{pushed["oid"]}")
result = {{os.path.relpath(os.path.join(at, each), folder): open(os.path.join(at, each), "rb").read().hex()
          for at, _, names in os.walk(folder) for each in names if each != ".gitattributes"}}
""",
        generation,
    )
    assert sha256(bytes.fromhex(loaded.pop("model.safetensors"))) == sha256(weights)
    assert {path: bytes.fromhex(content) for path, content in loaded.items()} == {
        "config.json": b'{"model_type": "x"}',
        "modeling_x.py": b"import torch",
        "README.md": b"---\nlicense: mit\npipeline_tag: text-classification\n---\n# A card",
        "pictures/a b#1.png": b"\x89PNG\0" * 50,
        "empty.txt": b"",
    }
    assert requests_since(server, start)

    start = len(server.read_log())
    client(
        server,
        None,
        tmp_path / "other home",
        f'result = hf_hub_download("{name}/model", "model.safetensors", revision="{pushed["oid"]}")',
        generation,
    )
    assert requests_since(server, start) == [], "a pinned file in the cache needs no request"


def test_sending_the_same_files_again_makes_no_commit_and_uploads_nothing(server, user, generation, tmp_path):
    name, token = user
    start = len(server.read_log())
    commits = client(
        server,
        token,
        tmp_path,
        f"""
repo = api.create_repo("{name}/twice").repo_id
for _ in range(2):
    api.create_commit(repo, [add("a.safetensors", b"12345"), add("b.json", b"[]")], commit_message="x")
result = len(api.list_repo_commits(repo))
""",
        generation,
    )
    assert commits == 2
    assert sum(line.startswith("PUT") for line in requests_since(server, start)) == 1


def test_a_stale_parent_is_refused_and_changes_nothing(server, user, generation, tmp_path):
    name, token = user
    status, titles = client(
        server,
        token,
        tmp_path,
        f"""
repo = api.create_repo("{name}/stale").repo_id
first = api.model_info(repo).sha
api.create_commit(repo, [add("a", b"1")], commit_message="theirs", parent_commit=first)
try:
    api.create_commit(repo, [add("a", b"2")], commit_message="ours", parent_commit=first)
except HfHubHTTPError as error:
    result = error.response.status_code, [each.title for each in api.list_repo_commits(repo)]
""",
        generation,
    )
    assert (status, titles) == (412, ["theirs", "initial commit"])


def test_branches_tags_and_pull_requests(server, user, generation, tmp_path):
    name, token = user
    result = client(
        server,
        token,
        tmp_path,
        f"""
repo = api.create_repo("{name}/refs").repo_id
first = api.model_info(repo).sha
api.create_branch(repo, branch="feature/one", revision=first)
api.create_branch(repo, branch="feature/one", exist_ok=True)
on_branch = api.create_commit(repo, [add("a.txt", b"branch")], commit_message="b", revision="feature/one").oid
pulls = [api.create_commit(repo, [add("a.txt", each)], commit_message="p", create_pr=True) for each in (b"1", b"2")]
api.create_tag(repo, tag="v1.0", revision="feature/one", tag_message="the first")
refs = api.list_repo_refs(repo, include_pull_requests=True)
def text(revision): return open(hf_hub_download(repo, "a.txt", revision=revision)).read()
texts = [text(each) for each in ("feature/one", "v1.0", "refs/pr/1", "refs/pr/2", on_branch)]
def failure(call):
    try: call()
    except Exception as error: return type(error).__name__
failures = [
    failure(lambda: hf_hub_download(repo, "a.txt")),
    failure(lambda: hf_hub_download(repo, "a.txt", revision="nowhere")),
    failure(lambda: api.create_tag(repo, tag="v1.0")),
]
api.delete_tag(repo, tag="v1.0")
api.delete_branch(repo, branch="feature/one")
left = api.list_repo_refs(repo)
result = dict(
    main=api.model_info(repo).sha == first, texts=texts, failures=failures,
    urls=[(each.pr_url, each.pr_revision, each.pr_num) for each in pulls],
    refs=[[each.name for each in some] for some in (refs.branches, refs.tags, refs.pull_requests)],
    tagged=refs.tags[0].target_commit == on_branch,
    left=[[each.name for each in some] for some in (left.branches, left.tags)],
    pinned_still=text(on_branch),
)
""",
        generation,
    )
    assert result["main"], "neither a branch nor a pull request moves main"
    assert result["texts"] == ["branch", "branch", "1", "2", "branch"]
    assert result["failures"][:2] in (
        ["RemoteEntryNotFoundError", "RevisionNotFoundError"],
        ["EntryNotFoundError", "RevisionNotFoundError"],
    )
    assert result["failures"][2] == "HfHubHTTPError"
    assert result["urls"] == [[f"{server.url}/{name}/refs/discussions/{n}", f"refs/pr/{n}", n] for n in (1, 2)]
    assert result["refs"] == [["feature/one", "main"], ["v1.0"], ["1", "2"]]
    assert result["tagged"]
    assert result["left"] == [["main"], []]
    assert result["pinned_still"] == "branch"


def test_deleting_copying_and_looking_at_files(server, user, generation, tmp_path):
    name, token = user
    result = client(
        server,
        token,
        tmp_path,
        f"""
repo = api.create_repo("{name}/files").repo_id
api.create_commit(repo, [add("d/x.bin", b"large"), add("d/y.txt", b"y"), add("z.txt", b"z")], commit_message="1")
api.create_commit(repo, [
    CommitOperationCopy(src_path_in_repo="d/x.bin", path_in_repo="copy.bin"), CommitOperationDelete("d/")],
    commit_message="2")
try:
    api.create_commit(repo, [CommitOperationDelete("nothing.txt")], commit_message="3")
except EntryNotFoundError as error:
    missing = "doesn't exist" in str(error)
result = dict(
    missing=missing, files=api.list_repo_files(repo),
    tree=[each.path for each in api.list_repo_tree(repo, recursive=True)],
    info=[(each.path, each.size, bool(each.lfs)) for each in api.get_paths_info(repo, ["copy.bin", "no", "z.txt"])],
    copy=open(hf_hub_download(repo, "copy.bin")).read(), exists=api.file_exists(repo, "d/x.bin"),
    card=[api.repo_exists(repo), api.repo_exists("{name}/nothing"), api.revision_exists(repo, "v9")],
)
""",
        generation,
    )
    assert result["missing"] and not result["exists"]
    assert result["files"] == result["tree"] == [".gitattributes", "copy.bin", "z.txt"]
    assert result["info"] == [["copy.bin", 5, True], ["z.txt", 1, False]]
    assert result["copy"] == "large"
    assert result["card"] == [True, False, False]


def test_a_private_repository_looks_missing_to_everybody_else(server, user, generation, tmp_path):
    name, token = user
    script = f"""
def outcome(call):
    try: return call() and "ok"
    except Exception as error: return type(error).__name__
result = [outcome(lambda: hf_hub_download("{name}/secret", "a.txt")), outcome(lambda: api.model_info("{name}/secret")),
          "{name}/secret" in [each.id for each in api.list_models(author="{name}")]]
"""
    server.create(f"{name}/secret", token, private=True)
    server.commit(f"{name}/secret", token, file("a.txt", "private"))
    hidden = ["RepositoryNotFoundError", "RepositoryNotFoundError", False]
    assert client(server, None, tmp_path / "1", script, generation) == hidden
    assert client(server, server.token("stranger"), tmp_path / "2", script, generation) == hidden
    assert client(server, token, tmp_path / "3", script, generation) == ["ok", "ok", True]
    opened = client(
        server,
        token,
        tmp_path / "3",
        f"""
api.update_repo_settings("{name}/secret", private=False)
result = api.model_info("{name}/secret", token=False).private
api.delete_repo("{name}/secret")
api.delete_repo("{name}/secret", missing_ok=True)
""",
        generation,
    )
    assert opened is False
    assert server.http("GET", f"/api/models/{name}/secret", token=token).status == 404


def test_the_hf_command_line_signs_in_uploads_and_downloads(server, user, generation, tmp_path):
    name, token = user
    folder = tmp_path / "folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(os.urandom(1000))
    (folder / "sub" / "config.json").write_text("{}")

    def hf(*arguments: str, token: str | None = token) -> str:
        run = subprocess.run(
            [sys.executable, "-m", "huggingface_hub.cli.hf", *arguments],
            env=environment(server, token, tmp_path / "home", generation),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.returncode == 0, run.stderr[-2000:]
        return run.stdout + run.stderr

    assert "Login successful" in hf("auth", "login", "--token", token, token=None)
    assert name in hf("auth", "whoami", token=None)
    assert f"{server.url}/{name}/cli" in hf("upload", f"{name}/cli", str(folder), "--commit-message", "by hf")
    assert server.history(f"{name}/cli") == ["by hf", "initial commit"]
    sha = server.head(f"{name}/cli")
    hf("download", f"{name}/cli", "--revision", sha, "--local-dir", str(tmp_path / "got"), token=None)
    for path in ("model.safetensors", "sub/config.json"):
        assert (tmp_path / "got" / path).read_bytes() == (folder / path).read_bytes()


def test_eight_pushers_with_one_parent_make_one_commit_and_without_it_eight(server, user, generation, tmp_path):
    name, token = user
    outcomes, titles, files = client(
        server,
        token,
        tmp_path,
        f"""
from concurrent.futures import ThreadPoolExecutor
repo = api.create_repo("{name}/race").repo_id
parent = api.model_info(repo).sha
def push(number, **parent):
    try:
        api.create_commit(repo, [add(f"{{number}}.bin", bytes([number]) * 9)], commit_message=f"c{{number}}", **parent)
        return 200
    except HfHubHTTPError as error:
        return error.response.status_code
with ThreadPoolExecutor(8) as pool:
    outcomes = list(pool.map(lambda number: push(number, parent_commit=parent), range(8)))
    outcomes += pool.map(push, range(10, 18))
result = outcomes, [each.title for each in api.list_repo_commits(repo)], api.list_repo_files(repo)
""",
        generation,
    )
    assert sorted(outcomes[:8]) == [200] + [412] * 7
    assert outcomes[8:] == [200] * 8
    assert len(titles) == 1 + 1 + 8
    assert {f"{number}.bin" for number in range(10, 18)} < set(files)


def test_a_dataset_is_served_under_its_prefix(server, user, generation, tmp_path):
    name, token = user
    assert client(
        server,
        token,
        tmp_path,
        f"""
repo = api.create_repo("{name}/data", repo_type="dataset").repo_id
api.create_commit(repo, [add("a.parquet", b"PAR1")], commit_message="x", repo_type="dataset")
path = hf_hub_download(repo, "a.parquet", repo_type="dataset")
result = open(path).read(), api.repo_exists(repo)
""",
        generation,
    ) == ["PAR1", False]


def test_a_card_with_invalid_metadata_is_refused_before_anything_is_sent(server, user, generation, tmp_path):
    name, token = user
    message, titles = client(
        server,
        token,
        tmp_path,
        f"""
repo = api.create_repo("{name}/card").repo_id
try:
    api.create_commit(repo, [add("README.md", b"---\\ntags: no list\\n---\\n")], commit_message="x")
except ValueError as error:
    result = str(error), [each.title for each in api.list_repo_commits(repo)]
""",
        generation,
    )
    assert '"tags" must be an array' in message
    assert titles == ["initial commit"]


def test_a_clone_of_the_directory_is_a_repository_git_accepts(server, user, generation, tmp_path):
    name, token = user
    repo = f"{name}/fsck"
    server.create(repo, token)
    server.commit(repo, token, file("a/b/c.txt", "text"), file("z.txt", "text"))
    path = Path(server.data, "repos", "models", f"{repo}.git")
    git = ["git", "-c", "safe.directory=*", "-C", str(path)]
    subprocess.run([*git, "fsck", "--strict"], check=True, capture_output=True)
    log = subprocess.run([*git, "log", "--format=%an|%s"], check=True, capture_output=True, text=True).stdout
    assert log.splitlines() == [f"{name}|test", f"{name}|initial commit"]
    assert json.loads((path / "hub.json").read_text())["private"] is False
