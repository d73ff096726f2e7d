"""Every call of HfApi about models and files, in both generations, does what the table in the Hub's README says."""

import gzip
import json
import os
import re
import struct

import pytest
from helpers.hub.hub_support import EACH_GENERATION, GENERATIONS, ROOT, Server, ThreadServer, client, file

# Services that a Hub of files does not have; the README names them.
SERVICES = re.compile(r"collection|webhook|job|bucket|paper|inference|organization|follow|zero_gpu")
CARD = "---\\nlicense: mit\\npipeline_tag: text-classification\\ntags: [x]\\ndatasets: [me/rows]\\n---\\n# Card\\n"

# How each row of the table is called. `m` is a model, `d` a dataset, `s` a space, `n` a pull request, `c` a comment.
CALLS = {
    "whoami": "api.whoami()['name'] == me",
    "get_token_permission": "api.get_token_permission() == 'write'",
    "get_full_repo_name": "api.get_full_repo_name('x') == me + '/x'",
    "auth_check": "api.auth_check(m) is None",
    "get_user_overview": "api.get_user_overview(me).num_models > 0",
    "list_user_repos": "m in [each.id for each in api.list_user_repos()]",
    "create_repo": "api.create_repo(me + '/new-space', repo_type='space', space_sdk='gradio', private=True).repo_id",
    "repo_exists": "api.repo_exists(m) and not api.repo_exists(me + '/nothing')",
    "revision_exists": "api.revision_exists(m, first) and not api.revision_exists(m, 'nothing')",
    "repo_info": "all(each.size is not None for each in api.repo_info(m, files_metadata=True).siblings)",
    "model_info": "model_info()",
    "dataset_info": "api.dataset_info(d).tags == ['license:mit', 'task_categories:text-classification']",
    "space_info": "api.space_info(s).sdk == 'static' and api.space_info(s, expand=['sdk', 'models']).models == [m]",
    "resolve_revision": "api.resolve_revision(m, revision='main').resolved == api.model_info(m).sha",
    "list_models": "listed()",
    "list_datasets": "[each.id for each in api.list_datasets(author=me, filter='license:mit')] == [d]",
    "list_spaces": "[each.id for each in api.list_spaces(author=me, models=m)] == [s]",
    "get_model_tags": "'mit' in [each['label'] for each in api.get_model_tags()['license']]",
    "get_dataset_tags": "'mit' in [each['label'] for each in api.get_dataset_tags()['license']]",
    "list_repo_files": "'d/a.txt' in api.list_repo_files(m)",
    "list_repo_tree": "tree()",
    "verify_repo_checksums": "verify()",
    "get_paths_info": "[e.last_commit.title for e in api.get_paths_info(m, ['d', 'no'], expand=True)] == ['first']",
    "list_repo_commits": "api.list_repo_commits(m, formatted=True)[-2].formatted_title == 'first'",
    "list_repo_refs": "api.list_repo_refs(m).branches[0].name == 'main'",
    "list_repo_likers": "list(api.list_repo_likers(m)) == []",
    "list_lfs_files": "'model.safetensors' in [each.filename for each in api.list_lfs_files(m)]",
    "create_branch": "api.create_branch(m, branch='b', revision=first) is None",
    "delete_branch": "api.delete_branch(m, branch='b') is None",
    "create_tag": "api.create_tag(m, tag='t', tag_message='m') is None",
    "delete_tag": "api.delete_tag(m, tag='t') is None",
    "file_exists": "api.file_exists(m, 'd/a.txt') and not api.file_exists(m, 'nothing')",
    "get_hf_file_metadata": "api.get_hf_file_metadata(url=url).size == 5",
    "hf_hub_download": "open(api.hf_hub_download(m, 'd/a.txt')).read() == 'hello'",
    "snapshot_download": "os.path.exists(api.snapshot_download(m, allow_patterns='d/*') + '/d/a.txt')",
    "parse_safetensors_file_metadata": "'w' in api.parse_safetensors_file_metadata(m, 'model.safetensors').tensors",
    "get_safetensors_metadata": "api.get_safetensors_metadata(m).parameter_count == {'F32': 6}",
    "get_sharded_safetensors_metadata": "sharded()",
    "preupload_lfs_files": "api.preupload_lfs_files(m, [add('big.bin', b'\\0' * 100)]) is None",
    "create_commit": "api.create_commit(m, [add('n.txt', b'n')], commit_message='c').oid == api.model_info(m).sha",
    "upload_file": "api.upload_file(repo_id=m, path_or_fileobj=b'u', path_in_repo='u.txt') is not None",
    "upload_folder": "api.upload_folder(repo_id=m, folder_path=folder) is not None",
    "upload_large_folder": "api.upload_large_folder(repo_id=m, folder_path=folder, repo_type='model') is None",
    "copy_files": "api.copy_files(f'hf://{m}/d/a.txt', f'hf://{m}/c.txt') is None and api.file_exists(m, 'c.txt')",
    "delete_file": "api.delete_file('u.txt', m) is not None",
    "delete_files": "api.delete_files(m, ['n.*']) is not None",
    "delete_folder": "api.delete_folder('sub', m) is not None",
    "run_as_future": "api.run_as_future(api.whoami).result()['name'] == me",
    "create_discussion": "api.create_discussion(m, title='t').num",
    "create_pull_request": "api.create_pull_request(m, title='t').git_reference",
    "get_repo_discussions": "n in [each.num for each in api.get_repo_discussions(m)]",
    "get_discussion_details": "api.get_discussion_details(m, n).conflicting_files == []",
    "comment_discussion": "api.comment_discussion(m, n, 'c').content == 'c'",
    "edit_discussion_comment": "api.edit_discussion_comment(m, n, c, 'e').content == 'e'",
    "hide_discussion_comment": "api.hide_discussion_comment(m, n, c).hidden",
    "rename_discussion": "api.rename_discussion(m, n, 'other').new_title == 'other'",
    "change_discussion_status": "[api.change_discussion_status(m, n, to) for to in ('closed', 'open')]",
    "merge_pull_request": "api.merge_pull_request(m, n) is None and api.file_exists(m, 'pr.txt')",
    "update_repo_settings": "api.update_repo_settings(m, private=True) is None and api.model_info(m).private",
    "update_repo_visibility": "api.update_repo_visibility(m, private=False)['private'] is False",
    "duplicate_repo": "api.list_repo_files(api.duplicate_repo(m, me + '/twin').repo_id) == api.list_repo_files(m)",
    "duplicate_space": "api.duplicate_space(s, me + '/twin').repo_id == me + '/twin'",
    "move_repo": "move()",
    "delete_repo": "api.delete_repo(me + '/new-space', repo_type='space') is None",
    # refused
    "super_squash_history": "api.super_squash_history(m)",
    "permanently_delete_lfs_files": "api.permanently_delete_lfs_files(m, list(api.list_lfs_files(m)))",
    "unlike": "api.unlike(m)",
    "list_liked_repos": "api.list_liked_repos(me)",
    "upload_attachment": "api.upload_attachment(folder + '/picture.png')",
    **{f"{each}_access_request": f"api.{each}_access_request(m, 'you')" for each in ("accept", "cancel")},
    "reject_access_request": "api.reject_access_request(m, 'you', rejection_reason='r')",
    "grant_access": "api.grant_access(m, 'you')",
    **{
        f"list_{which}_access_requests": f"list(api.list_{which}_access_requests(m))"
        for which in ("pending", "accepted", "rejected")
    },
    "get_dataset_leaderboard": "api.get_dataset_leaderboard(d)",
    "list_dataset_parquet_files": "api.list_dataset_parquet_files(d)",
    "kernel_info": "api.kernel_info('me/kernel')",
    "search_spaces": "list(api.search_spaces('q'))",
    "list_space_templates": "api.list_space_templates()",
    "list_spaces_hardware": "api.list_spaces_hardware()",
    **{f"{w}_space": f"api.{w}_space(s)" for w in ("pause", "restart", "wait_for")},
    **{f"{w}_space_dev_mode": f"api.{w}_space_dev_mode(s)" for w in ("enable", "disable")},
    **{f"get_space_{w}": f"api.get_space_{w}(s)" for w in ("runtime", "secrets", "variables")},
    "fetch_space_logs": "list(api.fetch_space_logs(s))",
    **{f"add_space_{w}": f"api.add_space_{w}(s, 'k', 'v')" for w in ("secret", "variable")},
    **{f"delete_space_{w}": f"api.delete_space_{w}(s, 'k')" for w in ("secret", "variable")},
    **{f"delete_space_{w}": f"api.delete_space_{w}(s)" for w in ("volumes", "storage")},
    "request_space_hardware": "api.request_space_hardware(s, 't4-medium')",
    "request_space_storage": "api.request_space_storage(s, 'small')",
    "set_space_sleep_time": "api.set_space_sleep_time(s, 300)",
    "set_space_volumes": "api.set_space_volumes(s, [])",
}

SCRIPT = """
import warnings; warnings.simplefilter("ignore")
me, folder, weights = {me!r}, {folder!r}, bytes.fromhex({weights!r})
m, d, s = me + "/model", me + "/rows", me + "/space"
api.create_repo(m); api.create_repo(d, repo_type="dataset"); api.create_repo(s, repo_type="space", space_sdk="static")
card = "{card}"
first = api.create_commit(m, [add("model.safetensors", weights), add("d/a.txt", b"hello")], commit_message="first").oid
config = b'{{"model_type": "x", "auto_map": {{"AutoModelForCausalLM": "modeling_x.X", "AutoModel": "modeling_x.B"}}}}'
api.create_commit(m, [add("README.md", card.encode()), add("config.json", config)], commit_message="second")
index = b'{{"metadata": {{"total_size": 24}}, "weight_map": {{"w": "shard.safetensors"}}}}'
shards = [add("model.safetensors.index.json", index), add("shard.safetensors", weights)]
api.create_commit(m, shards, commit_message="x")
rows = b"---\\nlicense: mit\\ntask_categories: [text-classification]\\n---\\n"
api.create_commit(d, [add("README.md", rows)], commit_message="r", repo_type="dataset")
links = add("README.md", f"---\\nmodels: [{{m}}]\\n---\\n".encode())
api.create_commit(s, [links], commit_message="s", repo_type="space")
n = api.create_commit(m, [add("pr.txt", b"pr")], commit_message="p", create_pr=True).pr_num
c = api.comment_discussion(m, n, "first").id
url = huggingface_hub.hf_hub_url(m, "d/a.txt")

def model_info():
    info = api.model_info(m, securityStatus=True)
    few = api.model_info(m, expand=["safetensors", "config", "transformersInfo", "usedStorage", "likes"])
    return (info.safetensors.total == 6 and info.card_data.license == "mit"
            and info.pipeline_tag == "text-classification" and few.safetensors.total == 6
            and few.safetensors.parameters == {{"F32": 6}} and few.config["model_type"] == "x" and few.sha is None
            and few.transformers_info.custom_class == "modeling_x.X"
            and (few.__dict__.get("used_storage") or few.__dict__["usedStorage"]) > 100)

def listed():
    def ids(**query): return [each.id for each in api.list_models(author=me, **query)]
    full = next(iter(api.list_models(author=me, full=True, cardData=True)))
    return (ids() == [m] and ids(search="ODE") == [m] and ids(search="zzz") == [] and ids(filter="license:mit") == [m]
            and ids(filter=["x", "dataset:me/rows"]) == [m] and ids(filter="nothing") == [] and ids(limit=1) == [m]
            and ids(pipeline_tag="text-classification", sort="downloads") == [m] and full.card_data.license == "mit"
            and "config.json" in [each.rfilename for each in full.siblings]
            and next(iter(api.list_models(author=me, expand=["safetensors"]))).safetensors.total == 6)

def tree():
    found = {{each.path: each for each in api.list_repo_tree(m, recursive=True, expand=True)}}
    return (found["d/a.txt"].last_commit.title, found["d"].last_commit.title) == ("first", "first") and \\
        found["README.md"].last_commit.title == "second"

def verify():
    folder = api.snapshot_download(m)
    found = api.verify_repo_checksums(m, revision=os.path.basename(folder))
    return not found.mismatches and not found.missing_paths and found.checked_count > 4

def sharded():
    found = api.get_sharded_safetensors_metadata(m)
    return found.parameter_count == {{"F32": 6}} and found.weight_map == {{"w": "shard.safetensors"}}

def move():
    pin = api.model_info(m).sha
    api.move_repo(m, me + "/renamed")
    old = open(api.hf_hub_download(m, "d/a.txt", revision=pin, force_download=True)).read()
    return old == "hello" and api.model_info(m).id == me + "/renamed"

result = {{}}
for name, call in {calls!r}.items():
    if not hasattr(api, name):
        continue
    try:
        value = eval(call)
        result[name] = "works" if value else f"gave {{value!r}}"
    except HfHubHTTPError as error:
        result[name] = f"refused {{error.response.status_code}} {{error}}"
    except ValueError as error:
        result[name] = f"refused by the client {{error}}"
    except Exception as error:
        result[name] = f"crash {{error!r}}"
result["all"] = [each for each in dir(HfApi) if not each.startswith("_") and callable(getattr(HfApi, each))]
"""


def table() -> dict[str, str]:
    text = (ROOT / "pinfold/hub/README.md").read_text()
    return dict(re.findall(r"^\| (\w+) \| .*? \| (works|refused) \|", text, re.MULTILINE))


@pytest.mark.slow
@pytest.mark.parametrize("generation", EACH_GENERATION)
def test_every_call_does_what_the_table_says(tmp_path, generation):
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    weights = struct.pack("<Q", len(header)) + header + bytes(24)
    (tmp_path / "folder" / "sub").mkdir(parents=True)
    (tmp_path / "folder" / "sub" / "f.txt").write_text("f")
    (tmp_path / "folder" / "picture.png").write_bytes(b"\x89PNG\0")
    with Server(tmp_path / "data") as server:
        script = SCRIPT.format(me="me", folder=str(tmp_path / "folder"), weights=weights.hex(), card=CARD, calls=CALLS)
        found = client(server, server.token("me"), tmp_path / "home", script, generation)
        assert "Traceback" not in server.read_log(), server.read_log()[-3000:]
    methods = set(found.pop("all"))
    expected = table()
    wrong = {name: said for name, said in found.items() if not said.startswith(expected[name])}
    assert not wrong
    unexplained = {n: said for n, said in found.items() if said.startswith("refused") and len(said.split()) < 6}
    assert not unexplained
    missing = {name for name in methods - expected.keys() if not SERVICES.search(name)}
    assert not missing, "a call about models or files is not in the table"
    assert expected.keys() == CALLS.keys()
    known = methods | {"get_token_permission", "duplicate_space", "update_repo_visibility", "upload_large_folder",
                       "request_space_storage", "delete_space_storage"}  # fmt: skip
    assert generation != GENERATIONS[0] or expected.keys() <= known, "the table names a call that is not there"


# Details of HTTP ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ThreadServer(tmp_path_factory.mktemp("hub") / "data") as running:
        running.me = running.token("me")
        running.create("me/model", running.me)
        running.commit("me/model", running.me, file("a.txt", "hello"), file("long.txt", "long " * 1000))
        yield running


def test_what_a_client_has_already_is_not_sent_again(server):
    api = "/api/models/me/model"
    for path in (api, f"{api}/refs", "/api/models?author=me", "/me/model/resolve/main/a.txt"):
        first = server.http("GET", path)
        again = server.http("GET", path, If_None_Match=f'"other", {first.headers["ETag"]}')
        assert (again.status, again.content) == (304, b"") and again.headers["ETag"] == first.headers["ETag"], path
        assert server.http("GET", path, If_None_Match='"other"').content == first.content
        assert server.http("HEAD", path, If_None_Match="*").status == 304
    before = server.http("GET", "/api/models/me/model").headers["ETag"]
    server.commit("me/model", server.me, file("b.txt", os.urandom(4).hex()))
    assert server.http("GET", "/api/models/me/model", If_None_Match=before).status == 200
    missing = server.http("GET", "/me/model/resolve/main/nothing", If_None_Match="*")
    assert missing.status == 404


def test_a_part_of_another_file_is_not_appended(server):
    path = "/me/model/resolve/main/a.txt"
    etag = server.http("HEAD", path).headers["ETag"]
    assert server.http("GET", path, Range="bytes=1-", If_Range=etag).content == b"ello"
    whole = server.http("GET", path, Range="bytes=1-", If_Range='"of yesterday"')
    assert (whole.status, whole.content) == (200, b"hello")


def test_long_answers_are_compressed_where_asked_for(server):
    server.commit("me/model", server.me, *[file(f"many/{n}.txt", "x") for n in range(50)])
    path = "/api/models/me/model/tree/main/many"
    plain, packed = server.http("GET", path), server.http("GET", path, Accept_Encoding="br, gzip;q=0.5")
    assert packed.headers["Content-Encoding"] == "gzip" and gzip.decompress(packed.content) == plain.content
    assert len(packed.content) * 3 < len(plain.content)
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding, Authorization, Cookie"
    assert int(packed.headers["Content-Length"]) == len(packed.content)
    head = server.http("HEAD", path, Accept_Encoding="gzip")
    assert head.headers["Content-Encoding"] is None and head.headers["Content-Length"] == str(len(plain.content))
    for accept in ("identity", "gzip;q=0", "br"):
        assert server.http("GET", path, Accept_Encoding=accept).headers["Content-Encoding"] is None, accept
    resolve = server.http("GET", "/me/model/resolve/main/long.txt", Accept_Encoding="gzip", Range="bytes=0-4")
    assert resolve.content == b"long " and resolve.headers["Content-Encoding"] is None


def test_head_answers_wherever_get_does(server):
    api = "/api/models/me/model"
    paths = [api, *(f"{api}/{each}" for each in ("tree/main", "commits/main", "refs", "discussions", "tree/main/no"))]
    paths += ["/api/models", "/me/model/resolve/main/a.txt", "/me/model/info/refs?service=git-upload-pack", "/"]
    for path in [*paths, "/api/models/me/nothing"]:
        head, get = server.http("HEAD", path), server.http("GET", path)
        assert head.status == get.status and head.content == b"", path
        assert head.headers["Content-Length"] == get.headers["Content-Length"] == str(len(get.content)), path


def test_what_a_client_may_not_ask_is_said(server):
    for query in ("/me/model?expand=nonsense", "?sort=colour", "?expand=nonsense", "?num_parameters=many"):
        reply = server.http("GET", f"/api/models{query}")
        assert reply.status == 400 and re.search("use|like", reply.json["error"]), query
    gated = server.http("PUT", "/api/models/me/model/settings", {"gated": "auto"}, server.me)
    assert gated.status == 501 and "access requests" in gated.json["error"]
    assert (
        server.http("PUT", "/api/models/me/model/settings", {"gated": False, "private": False}, server.me).status
        == 200
    )
    secrets = {"name": "s", "type": "space", "sdk": "docker", "secrets": [{"key": "k", "value": "v"}]}
    assert server.http("POST", "/api/repos/create", secrets, server.me).status == 501
    assert server.http("POST", "/api/repos/create", {"name": "s", "type": "space"}, server.me).status == 400


def test_who_may_move_and_copy(server):
    other = server.token("other")
    server.create("me/secret", server.me, private=True)
    server.create("me/named", server.me)

    def move(source, target, token):
        return server.http("POST", "/api/repos/move", {"fromRepo": source, "toRepo": target, "type": "model"}, token)

    assert move("me/secret", "other/mine", other).status == 404
    assert move("me/named", "other/mine", other).status == 403
    assert move("me/named", "other/gift", server.me).status == 403
    assert move("me/named", "me/model", server.me).status == 409
    for wrong in ("me/named/x", "named", "me/..", "api/x", "", None):
        assert move("me/named", wrong, server.me).status == 400, wrong
    assert move("me/named", "me/other-name", server.me).status == 200
    assert server.http("GET", "/api/models/me/named").json["id"] == "me/other-name"
    old = {"name": "named", "organization": "me"}
    assert server.http("DELETE", "/api/repos/delete", old, server.me).status == 404, "only by its present name"
    assert move("me/other-name", "me/named", server.me).status == 200, "and back"
    assert server.http("GET", "/api/models/me/other-name").json["id"] == "me/named"
    server.create("me/other-name", server.me)
    assert server.http("GET", "/api/models/me/other-name").json["id"] == "me/other-name", "a new one takes the name"
    copy = {"repository": "other/copy"}
    assert server.http("POST", "/api/models/me/secret/duplicate", copy, other).status == 404
    assert server.http("POST", "/api/models/me/model/duplicate", copy, server.me).status == 403
    assert server.http("POST", "/api/models/me/model/duplicate", copy, other).status == 200
    assert server.head("other/copy") == server.head("me/model")
    assert server.http("POST", "/api/models/me/model/duplicate", copy, other).status == 409
    server.http("DELETE", "/api/repos/delete", {"name": "copy", "organization": "other"}, other)
    assert server.http("GET", "/me/model/resolve/main/a.txt").content == b"hello", "a copy shares nothing that can go"
