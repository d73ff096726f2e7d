"""How the embedded Hub proves that it wrote the server.json in its data directory."""

import hashlib
import hmac


def server_proof(nonce: str, challenge: str) -> str:
    """The answer to a challenge that only a holder of the file's nonce can give, in hex."""
    return hmac.new(nonce.encode(), challenge.encode(), hashlib.sha256).hexdigest()
