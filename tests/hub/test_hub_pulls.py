"""Pull requests and discussions: the calls of both generations of clients, merges, conflicts, who may do what."""

import json
import os
import subprocess

import pytest
from helpers.hub.hub_support import EACH_GENERATION, Server, ThreadServer, client, file, large, user_of

from pinfold.hub.server import rate


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with ThreadServer(tmp_path_factory.mktemp("hub") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def me(server):
    return server.token("me")


def post(server, repo, what, body, token):
    return server.http("POST", f"/api/models/{repo}/discussions{what}", body, token)


def details(server, repo, number, query="?diff=1"):
    return server.http("GET", f"/api/models/{repo}/discussions/{number}{query}").json


@pytest.mark.parametrize("generation", EACH_GENERATION)
@pytest.mark.slow
def test_a_discussion_from_its_opening_to_its_end(server, tmp_path, generation):
    name = user_of(generation)
    result = client(
        server,
        server.token(name),
        tmp_path,
        f"""
repo = api.create_repo("{name}/talk").repo_id
opened = api.create_discussion(repo, title="Why?", description="It <b>fails</b>")
comment = api.comment_discussion(repo, opened.num, "first")
api.edit_discussion_comment(repo, opened.num, comment.id, "second")
hidden = api.comment_discussion(repo, opened.num, "a secret")
hidden = api.hide_discussion_comment(repo, opened.num, hidden.id)
renamed = api.rename_discussion(repo, opened.num, "Why not?")
closed = api.change_discussion_status(repo, opened.num, "closed", comment="done")
found = api.get_discussion_details(repo, opened.num)
others = [api.create_discussion(repo, title=f"n{{n}}", description="d").num for n in range(55)]
data = api.create_repo("{name}/talk", repo_type="dataset").repo_id
on_data = api.create_discussion(data, title="about data", repo_type="dataset")
result = dict(
    opened=(opened.num, opened.status, opened.is_pull_request, opened.author, opened.url),
    renamed=(renamed.old_title, renamed.new_title), closed=closed.new_status, hidden=(hidden.hidden, hidden.content),
    events=[each.type for each in found.events], title=found.title, status=found.status,
    edited=[(each.content, each.edited, each.number_of_edits) for each in found.events if each.id == comment.id],
    html=found.events[0].rendered,
    listed=[each.num for each in api.get_repo_discussions(repo)],
    closed_ones=[each.num for each in api.get_repo_discussions(repo, discussion_status="closed")],
    open_ones=len(list(api.get_repo_discussions(repo, discussion_status="open", discussion_type="discussion"))),
    pulls=len(list(api.get_repo_discussions(repo, discussion_type="pull_request"))),
    by_nobody=len(list(api.get_repo_discussions(repo, author="nobody"))),
    on_data=(on_data.repo_type, on_data.repo_id, on_data.num),
)
""",
        generation,
    )
    assert result["opened"] == [1, "open", False, name, f"{server.url}/{name}/talk/discussions/1"]
    assert result["renamed"] == ["Why?", "Why not?"] and result["title"] == "Why not?"
    assert result["closed"] == result["status"] == "closed"
    assert result["hidden"][0] and "secret" not in json.dumps(result)
    assert result["events"] == ["comment"] * 3 + ["title-change", "comment", "status-change"]
    assert result["edited"] == [["second", True, 1]]
    assert result["html"] == "<p>It &lt;b&gt;fails&lt;/b&gt;</p>"
    assert result["listed"] == list(range(56, 0, -1)) and result["closed_ones"] == [1]
    assert (result["open_ones"], result["pulls"], result["by_nobody"]) == (55, 0, 0)
    assert result["on_data"] == ["dataset", f"{name}/talk", 1]
    files = (server.data / "repos/models" / name / "talk.git/discussions").glob("*.json")
    assert "a secret" not in "".join(path.read_text() for path in files), "hidden is gone"


@pytest.mark.parametrize("generation", EACH_GENERATION)
def test_pull_requests_are_merged_as_clients_ask(server, tmp_path, generation):
    name = user_of(generation)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("from a folder")
    (tmp_path / "folder" / "w.safetensors").write_bytes(os.urandom(1000))
    result = client(
        server,
        server.token(name),
        tmp_path / "home",
        f"""
repo = api.create_repo("{name}/pulls").repo_id
first = api.create_commit(repo, [add("a.txt", b"1"), add("b.txt", b"1")], commit_message="start").oid
pull = api.create_commit(repo, [add("a.txt", b"2")], commit_message="Change a", commit_description="because",
                         create_pr=True)
before = api.get_discussion_details(repo, pull.pr_num)
api.merge_pull_request(repo, pull.pr_num, comment="thanks")
merged = api.get_discussion_details(repo, pull.pr_num)
main = api.model_info(repo).sha

draft = api.create_pull_request(repo, title="Later")
api.create_commit(repo, [add("c.txt", b"c")], commit_message="add c", revision=draft.git_reference)
api.create_commit(repo, [add("b.txt", b"main moved")], commit_message="meanwhile")
api.change_discussion_status(repo, draft.num, "open")
api.merge_pull_request(repo, draft.num)
squashed = api.get_discussion_details(repo, draft.num)
uploaded = api.upload_folder(repo_id=repo, folder_path={str(tmp_path / "folder")!r}, create_pr=True)
number = int(str(uploaded.pr_url if hasattr(uploaded, "pr_url") else uploaded).rsplit("/", 1)[1])
api.merge_pull_request(repo, number)
last = api.list_repo_commits(repo)
result = dict(
    before=(before.status, before.target_branch, before.conflicting_files, before.title, before.is_pull_request),
    events=[(each.type, getattr(each, "content", None), getattr(each, "oid", None)) for each in before.events],
    diff=before.diff, merged=(merged.status, merged.merge_commit_oid), main=main, oid=pull.oid,
    draft=draft.status, squashed=squashed.merge_commit_oid, titles=[each.title for each in last],
    files=sorted(api.list_repo_files(repo)), text=open(hf_hub_download(repo, "a.txt")).read(),
    types=[each.type for each in merged.events],
)
""",
        generation,
    )
    assert result["before"] == ["open", "main", [], "Change a", True]
    assert sorted(result["events"]) == sorted([["comment", "because", None], ["commit", None, result["oid"]]])
    assert "-1" in result["diff"] and "+2" in result["diff"] and "a.txt" in result["diff"]
    assert result["merged"] == ["merged", result["oid"]] and result["main"] == result["oid"], "its sha stays"
    assert sorted(result["types"]) == ["comment", "comment", "commit", "status-change"]
    assert result["draft"] == "draft"
    assert "Later (#2)" in result["titles"] and result["squashed"]
    assert result["text"] == "from a folder"
    assert result["files"] == [".gitattributes", "a.txt", "b.txt", "c.txt", "w.safetensors"]


def test_a_conflict_is_named_and_changes_nothing(server, me):
    server.create("me/clash", me)
    server.commit("me/clash", me, file("a.txt", "1"), file("b.txt", "1"))
    for number in (1, 2):
        change = [file("a.txt", f"pr {number}"), file(f"only-{number}.txt", "x")]
        assert server.commit("me/clash", me, *change, query="?create_pr=1").status == 200
    assert post(server, "me/clash", "/1/merge", {}, me).status == 200
    head = server.head("me/clash")
    found = details(server, "me/clash", 2)
    assert found["filesWithConflicts"] == ["a.txt"] and found["status"] == "open"
    reply = post(server, "me/clash", "/2/merge", {}, me)
    assert reply.status == 409 and "a.txt" in reply.json["error"] and reply.json["files"] == ["a.txt"]
    assert server.head("me/clash") == head and details(server, "me/clash", 2)["status"] == "open"
    # As the message says: with main's content in the pull request the rest can be merged.
    assert server.commit("me/clash", me, file("a.txt", "pr 1"), revision="refs%2Fpr%2F2").status == 200
    assert post(server, "me/clash", "/2/merge", {}, me).status == 200
    tree = server.http("GET", "/api/models/me/clash/tree/main").json
    assert [each["path"] for each in tree] == [".gitattributes", "a.txt", "b.txt", "only-1.txt", "only-2.txt"]
    assert post(server, "me/clash", "/2/merge", {}, me).status == 409
    refused = server.commit("me/clash", me, file("late.txt", "x"), revision="refs%2Fpr%2F2")
    assert refused.status == 403 and "merged" in refused.json["error"]


def test_other_shapes_of_a_conflict(server, me):
    server.create("me/shapes", me)
    server.commit("me/shapes", me, file("gone", "1"), file("same", "1"), file("kept", "1"))
    gone = {"key": "deletedFile", "value": {"path": "gone"}}
    server.commit("me/shapes", me, gone, file("same", "2"), file("dir/x", "x"), query="?create_pr=1")
    server.commit("me/shapes", me, file("gone", "changed"), query="?create_pr=1")
    server.commit("me/shapes", me, file("name", "a file"), query="?create_pr=1")
    server.commit("me/shapes", me, file("same", "2"), file("name/below", "so name is a directory"))
    assert post(server, "me/shapes", "/1/merge", {}, me).status == 200, "the same change on both sides is none"
    deleted = post(server, "me/shapes", "/2/merge", {}, me)
    assert deleted.status == 409 and deleted.json["files"] == ["gone"]
    both = post(server, "me/shapes", "/3/merge", {}, me)
    assert both.status == 400 and "'name'" in both.json["error"]


def test_rules_for_large_files_of_both_sides_are_joined(server, me):
    server.create("me/rules", me)
    contents = [os.urandom(500), os.urandom(500)]
    for content in contents:
        server.upload("me/rules", me, content)
    server.commit("me/rules", me, large("odd.one", contents[0]), query="?create_pr=1")
    server.commit("me/rules", me, large("odd.two", contents[1]))
    assert post(server, "me/rules", "/1/merge", {}, me).status == 200
    rules = server.http("GET", "/me/rules/resolve/main/.gitattributes").content
    assert b"/odd.one filter=lfs" in rules and b"/odd.two filter=lfs" in rules
    assert server.http("GET", "/me/rules/resolve/main/odd.one").content == contents[0]


def test_who_may_talk_and_who_may_merge(server, me):
    server.create("me/open", me)
    server.create("me/closed", me, private=True)
    other, third, reader = server.token("other"), server.token("third"), server.token("other", "read")
    body = {"title": "t", "description": "d"}
    assert post(server, "me/open", "", body, None).status == 401
    assert post(server, "me/open", "", body, reader).status == 403
    assert post(server, "me/closed", "", body, other).status == 404
    assert post(server, "me/open", "", body, other).json["num"] == 1
    assert post(server, "me/open", "", {**body, "pullRequest": True}, other).status == 403
    assert post(server, "me/open", "", {**body, "pullRequest": True}, me).json["num"] == 2
    comment = post(server, "me/open", "/1/comment", {"comment": "c"}, third).json["newMessage"]["id"]
    for token, status in ((None, 401), (other, 403), (me, 403), (third, 200)):
        assert post(server, "me/open", f"/1/comment/{comment}/edit", {"content": "e"}, token).status == status
    assert post(server, "me/open", f"/1/comment/{comment}/hide", None, other).status == 403
    assert post(server, "me/open", f"/1/comment/{comment}/hide", None, me).status == 200
    assert post(server, "me/open", f"/1/comment/{comment}/edit", {"content": "e"}, third).status == 400
    assert post(server, "me/open", "/1/title", {"title": "x"}, third).status == 403
    assert post(server, "me/open", "/1/status", {"status": "closed"}, third).status == 403
    assert post(server, "me/open", "/1/status", {"status": "closed"}, other).status == 200
    assert post(server, "me/open", "/1/status", {"status": "open"}, me).status == 200
    assert post(server, "me/open", "/2/merge", {}, other).status == 403
    empty = post(server, "me/open", "/2/merge", {}, me)
    assert empty.status == 400 and "no changes" in empty.json["error"]
    assert post(server, "me/open", "/1/merge", {}, me).status == 400
    assert server.http("GET", "/api/models/me/closed/discussions").status == 401


def test_what_cannot_be_said_is_refused(server, me):
    server.create("me/limits", me)
    for body in (
        {},
        {"title": "", "description": "d"},
        {"title": "x" * 301, "description": "d"},
        {"title": "a\nb", "description": "d"},
        {"title": "t", "description": "x" * 70_000},
        {"title": 5, "description": "d"},
        {"title": "t", "description": "d", "pullRequest": "yes"},
        {"title": "t", "description": "a\0b"},
    ):
        assert post(server, "me/limits", "", body, me).status == 400, body
    assert post(server, "me/limits", "", {"title": "lone \ud800", "description": "\ud800"}, me).status == 400
    assert post(server, "me/limits", "", {"title": "t", "description": "\ud800 </script>"}, me).status == 200
    for number in ("0", "2", "x", "-1", "9" * 30, "%C2%B2", "1%2F..", "..%2f1"):
        assert server.http("GET", f"/api/models/me/limits/discussions/{number}").status == 404, number
    assert post(server, "me/limits", "/1/status", {"status": "merged"}, me).status == 400
    assert post(server, "me/limits", "/1/status", {"status": "open"}, me).status == 400
    assert post(server, "me/limits", "/1/comment/nothing/edit", {"content": "x"}, me).status == 404
    for query in ("type=x", "status=merged", "p=-1", "p=x"):
        assert server.http("GET", f"/api/models/me/limits/discussions?{query}").status == 400, query


def test_a_merge_cut_off_by_a_kill_is_found_done(tmp_path):
    server = Server(tmp_path / "data", "--fault", "exit-inside-merge")
    me = server.token("me")
    server.create("me/model", me)
    server.commit("me/model", me, file("a.txt", "1"), query="?create_pr=1")
    server.commit("me/model", me, file("b.txt", "main moved"))
    with pytest.raises(ConnectionError):
        post(server, "me/model", "/1/merge", {}, me)
    assert server.process.wait(timeout=10) == 70
    with Server(tmp_path / "data") as server:
        head = server.head("me/model")
        assert post(server, "me/model", "/1/merge", {}, me).json["mergeCommitId"] == head
        assert server.head("me/model") == head and details(server, "me/model", 1)["status"] == "merged"
        # A pull request of which only the ref was written is one all the same.
        (tmp_path / "data/repos/models/me/model.git/discussions/1.json").unlink()
        assert details(server, "me/model", 1)["title"] == "test"
        assert post(server, "me/model", "", {"title": "t", "description": "d"}, me).json["num"] == 2
    fsck = [
        "git",
        "-C",
        str(tmp_path / "data/repos/models/me/model.git"),
        "-c",
        "safe.directory=*",
        "fsck",
        "--strict",
    ]
    subprocess.run(fsck, check=True, capture_output=True)


@pytest.mark.slow
def test_nobody_can_fill_a_pull_request_so_that_its_owner_cannot_end_it(server, me, monkeypatch):
    monkeypatch.setattr(rate, "AT_ONCE", 1000)  # the stranger has waited in between
    server.create("me/full", me)
    stranger, owner = server.token("stranger"), me
    for number in (1, 2, 3):
        reply = server.commit("me/full", me, file(f"{number}.txt", "x"), query="?create_pr=1")
        assert reply.status == 200
    statuses = [post(server, "me/full", "/1/comment", {"comment": "spam"}, stranger).status for _ in range(201)]
    assert statuses == [200] * 200 + [413], "one user's share"
    path = server.data / "repos/models/me/full.git/discussions/1.json"
    told = json.loads(path.read_text())
    for number in (1, 2, 3):  # as many users would fill it
        full = {**told, "num": number, "events": (told["events"] * 6)[:1000]}
        path.with_name(f"{number}.json").write_text(json.dumps(full))
        assert post(server, "me/full", f"/{number}/comment", {"comment": "more"}, owner).status == 413
        assert post(server, "me/full", f"/{number}/title", {"title": "still mine"}, owner).status == 200
    assert post(server, "me/full", "/1/merge", {"comment": "thanks"}, owner).status == 200
    assert post(server, "me/full", "/2/status", {"status": "closed", "comment": "no"}, owner).status == 200
    assert post(server, "me/full", "/3/merge", {}, owner).status == 200
    assert [details(server, "me/full", number)["status"] for number in (1, 2, 3)] == ["merged", "closed", "merged"]
    assert server.http("GET", "/me/full/resolve/main/3.txt").status == 200
    opened = post(server, "me/full", "", {"title": "t", "description": "d"}, stranger).json["num"]
    reply = [post(server, "me/full", f"/{opened}/title", {"title": f"t{n}"}, stranger).status for n in range(200)]
    assert reply == [200] * 199 + [413]
