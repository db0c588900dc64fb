"""Who may ask: where the setting `token` is on, a request carries the secret `token`, as Bearer or as the password of Basic."""

import base64
import hmac

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from flightdeck.settings import settings

# what a load balancer asks, and what says how to ask
OPEN = {"/health", "/ready", "/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"}


class Token:
    """ASGI middleware: 401 for a request to any other path without the token."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.wanted = settings().secret("token") if settings().token else ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self.wanted or scope["type"] != "http" or scope["path"] in OPEN or self._known(Headers(scope=scope).get("authorization", "")):
            await self.app(scope, receive, send)
            return
        refused = {"error": "unauthorized", "field": "", "message": "needs `Authorization: Bearer TOKEN`, or the token as password"}
        await JSONResponse(refused, 401, {"WWW-Authenticate": 'Basic realm="flightdeck"'})(scope, receive, send)

    def _known(self, authorization: str) -> bool:
        kind, _, given = authorization.partition(" ")
        if kind.lower() == "basic":
            try:
                given = base64.b64decode(given, validate=True).decode(errors="replace").partition(":")[2]
            except ValueError:
                return False
        elif kind.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(), self.wanted.encode())
