"""The JSON calls that say who the server and the user are, and what a card is worth. Each handler is one call."""

import re

from starlette.responses import Response

from pinfold import __version__
from pinfold.common.proof import server_proof
from pinfold.hub.api import card_tags
from pinfold.hub.server import auth
from pinfold.hub.server.call import ApiCall, answer
from pinfold.hub.storage.errors import Refused

MAX_CHALLENGE = 128


def prove(call: ApiCall) -> Response:
    """Show that this is the server whose nonce the client has read in DATA/server.json."""
    challenge = call.query("challenge") or ""
    if not re.fullmatch(rf"[0-9a-f]{{16,{MAX_CHALLENGE}}}", challenge):
        raise Refused(400, f"challenge must be 16 to {MAX_CHALLENGE} hex digits")
    return answer({"proof": server_proof(call.hub.nonce, challenge), "version": __version__})


def whoami(call: ApiCall) -> Response:
    user = auth.require_user(call.user)
    token = {"displayName": user.token_name, "role": user.role}
    return answer(
        {
            "type": "user",
            "id": user.name,
            "name": user.name,
            "fullname": user.name,
            "isPro": False,
            "orgs": [],
            "auth": {"type": "access_token", "accessToken": token},
        }
    )


def validate_yaml(call: ApiCall) -> Response:
    content = call.json().get("content")
    errors, warnings = card_tags.problems(content if isinstance(content, str) else "")
    body = {key: [{"message": each} for each in value] for key, value in (("errors", errors), ("warnings", warnings))}
    return answer(body, 400 if errors else 200)


def auth_check(call: ApiCall) -> Response:
    auth.repository(call)
    return answer({})


def auth_check_write(call: ApiCall) -> Response:
    auth.repository(call, write=True)
    return answer({})
