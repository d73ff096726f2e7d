"""The calls about discussions and pull requests. Each handler is one call.

Whoever may read a repository and has a write token may open discussions and comment. A
pull request with changes needs write access to the repository, as every commit does.
"""

import time
from typing import Any

from starlette.responses import Response

from pinfold.hub.server import auth, rate
from pinfold.hub.server.call import ApiCall, answer
from pinfold.hub.server.tokens import User
from pinfold.hub.storage import discussions, faults, pulls
from pinfold.hub.storage.discussions import MAX_COMMENT, MAX_TITLE, OPEN, Discussion
from pinfold.hub.storage.errors import Refused
from pinfold.hub.storage.repository import Repository, author_name
from pinfold.hub.storage.times import date

PER_PAGE = 50
MAX_PAGE = 10**6


def listed(call: ApiCall) -> Response:
    repo = auth.repository(call)
    kind, status, author = call.query("type") or "all", call.query("status") or "all", call.query("author")
    if kind not in ("all", "discussion", "pull_request") or status not in ("all", "open", "closed"):
        raise Refused(400, "type is all, discussion or pull_request; status is all, open or closed")
    matching = [
        each
        for each in discussions.all_of(repo)
        if kind in ("all", "pull_request" if each.pull else "discussion")
        and (status == "all" or (each.status in OPEN) == (status == "open"))
        and author in (None, each.author)
    ]
    page = call.number("p", 0, MAX_PAGE)
    shown = [_summary(repo, each) for each in matching[page * PER_PAGE :][:PER_PAGE]]
    return answer({"discussions": shown, "count": len(matching), "start": page * PER_PAGE, "numClosedDiscussions": 0})


def details(call: ApiCall) -> Response:
    repo = auth.repository(call)
    discussion = _find(call, repo)
    body = _summary(repo, discussion)
    events = list(discussion.events)
    if discussion.pull:
        events += [_commit(each) for each in pulls.commits(repo, discussion)]
        events.sort(key=lambda each: each["createdAt"])
        body["changes"] = {
            "base": discussion.target.removeprefix("refs/heads/"),
            "mergeCommitId": discussion.merged or None,
        }
        body["filesWithConflicts"] = pulls.conflicts(repo, discussion)
        if call.flag("diff"):
            body["diff"] = pulls.diff(repo, discussion)
    return answer({**body, "events": events})


def create(call: ApiCall) -> Response:
    repo, user = _participant(call)
    request = call.json()
    title, text = _text(request, "title", MAX_TITLE), _text(request, "description", MAX_COMMENT)
    pull = request.get("pullRequest", False)
    if not isinstance(pull, bool):
        raise Refused(400, "pullRequest must be true or false")
    if pull:
        auth.require_write(user, repo.namespace)
    with repo.lock:
        number = discussions.next_number(repo, call.user.name)
        new = Discussion(number, title, user.name, int(time.time()), events=[discussions.comment(user.name, text)])
        if pull:
            new.pull, new.status, new.base = True, "draft", repo.resolve("main")
            repo.add_ref(new.ref, new.base)
        discussions.save(repo, new)
    body = {"num": number, "pullRequest": pull, "url": f"{call.base_url}/{repo.url_path}/discussions/{number}"}
    return answer(body)


def add_comment(call: ApiCall) -> Response:
    repo, user = _participant(call)
    new = discussions.comment(user.name, _text(call.json(), "comment", MAX_COMMENT))
    with repo.lock:
        discussion = _find(call, repo)
        discussions.check_room(repo, discussion, user.name, is_comment=True)
        discussion.events.append(new)
        discussions.save(repo, discussion)
    return answer({"newMessage": new})


def edit_comment(call: ApiCall) -> Response:
    repo, user = _participant(call)
    text = _text(call.json(), "content", MAX_COMMENT)
    with repo.lock:
        discussion, comment = _comment(call, repo)
        if comment["author"]["name"] != user.name:
            raise Refused(403, f"only {comment['author']['name']} may edit this comment")
        if comment["data"]["hidden"]:
            raise Refused(400, "this comment is hidden and stays so")
        discussions.edit(comment, user.name, text)
        discussions.save(repo, discussion)
    return answer({"updatedComment": comment})


def hide_comment(call: ApiCall) -> Response:
    repo, user = _participant(call)
    with repo.lock:
        discussion, comment = _comment(call, repo)
        _only(user, repo, comment["author"]["name"], "hide this comment")
        discussions.hide(comment, user.name)
        discussions.save(repo, discussion)
    return answer({"updatedComment": comment})


def rename(call: ApiCall) -> Response:
    repo, user = _participant(call)
    title = _text(call.json(), "title", MAX_TITLE)
    with repo.lock:
        discussion = _find(call, repo)
        _only(user, repo, discussion.author, "rename this")
        discussions.check_room(repo, discussion, user.name, is_comment=False)
        new = discussions.event("title-change", user.name, {"from": discussion.title, "to": title})
        discussion.title = title
        discussion.events.append(new)
        discussions.save(repo, discussion)
    return answer({"newTitle": new})


def change_status(call: ApiCall) -> Response:
    repo, user = _participant(call)
    request = call.json()
    status = request.get("status")
    if status not in ("open", "closed"):
        raise Refused(400, "status must be open or closed; merge a pull request with /merge")
    with repo.lock:
        discussion = _find(call, repo)
        _only(user, repo, discussion.author, "open or close this")
        if discussion.status in (status, "merged"):
            raise Refused(400, f"{discussion.num} is {discussion.status} already")
        discussions.check_room(repo, discussion, user.name, is_comment=False)
        new = _status(discussion, user.name, status, request)
        discussions.save(repo, discussion)
    return answer({"newStatus": new})


def merge(call: ApiCall) -> Response:
    repo = auth.repository(call, write=True)
    request = call.json() if call.body.strip() not in (b"", b"null") else {}
    with repo.lock:
        discussion = _find(call, repo)
        if not discussion.pull:
            raise Refused(400, f"{discussion.num} is a discussion; only a pull request can be merged")
        text = _text(request, "comment", MAX_COMMENT) if request.get("comment") else ""
        pulls.merge(repo, discussion, call.user.name, text, faults.reach)
        _status(discussion, call.user.name, "merged", request)
        discussions.save(repo, discussion)
    return answer({"mergeCommitId": discussion.merged})


def _participant(call: ApiCall) -> tuple[Repository, User]:
    """The repository and who speaks: a read token may not, nor a request without one, nor a stranger at any speed."""
    repo = auth.repository(call)
    user = auth.require_user(call.user)
    if user.role != "write":
        raise Refused(403, f"this token of {user.name} may only read; make one with --role write")
    if user.name != repo.namespace and not user.is_session and (seconds := call.hub.rate.take(user.name)):
        reason = f"{user.name} has written {rate.AT_ONCE} times to what is others'; there is one more in {seconds} s"
        raise Refused(429, reason, headers={"Retry-After": str(seconds)})
    return repo, user


def _only(user: User, repo: Repository, author: str, what: str) -> None:
    if user.name not in (author, repo.namespace):
        raise Refused(403, f"only {author} or {repo.namespace} may {what}")


def _find(call: ApiCall, repo: Repository) -> Discussion:
    number = call.params["number"]
    discussion = (
        discussions.load(repo, int(number)) if number.isascii() and number.isdigit() and len(number) < 8 else None
    )
    if discussion is None or discussion.num < 1:
        raise Refused(404, f"{repo.id} has no discussion {number[:40]}")
    return discussion


def _comment(call: ApiCall, repo: Repository) -> tuple[Discussion, dict[str, Any]]:
    discussion = _find(call, repo)
    for each in discussion.events:
        if each["type"] == "comment" and each["id"] == call.params["comment"]:
            return discussion, each
    raise Refused(404, f"discussion {discussion.num} has no comment {call.params['comment'][:40]}")


def _status(discussion: Discussion, author: str, status: str, request: dict[str, Any]) -> dict[str, Any]:
    if request.get("comment"):
        discussion.events.append(discussions.comment(author, _text(request, "comment", MAX_COMMENT)))
    new = discussions.event("status-change", author, {"status": status})
    discussion.status = status
    discussion.events.append(new)
    return new


def _text(request: dict[str, Any], name: str, limit: int) -> str:
    text = request.get(name)
    text = text.strip() if isinstance(text, str) else ""
    if not text or len(text) > limit or "\0" in text or (name == "title" and not text.isprintable()):
        raise Refused(400, f"{name} must be a text of 1 to {limit} characters")
    return text.encode("utf-8", "replace").decode()


def _summary(repo: Repository, discussion: Discussion) -> dict[str, Any]:
    return {
        "num": discussion.num,
        "title": discussion.title,
        "author": discussions.person(discussion.author),
        "createdAt": date(discussion.created),
        "status": discussion.status,
        "isPullRequest": discussion.pull,
        "numComments": sum(each["type"] == "comment" for each in discussion.events),
        "pinned": False,
        "locked": False,
        "repo": {"name": repo.id, "type": repo.kind.removesuffix("s")},
        "repoOwner": {"name": repo.namespace, "type": "user"},
    }


def _commit(commit) -> dict[str, Any]:
    subject = commit.message.decode("utf-8", "replace").partition("\n")[0]
    return {
        "id": commit.id.decode(),
        "type": "commit",
        "createdAt": date(commit.commit_time),
        "author": discussions.person(author_name(commit)),
        "data": {"oid": commit.id.decode(), "subject": subject},
    }
