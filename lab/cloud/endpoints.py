"""HTTP in and out: faults, the token, JSON, rate limit headers, and errors in the published form."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bastide.errors import BastideError
from lab.cloud.call import Call, Handler, Reply
from lab.cloud.context import Cloud
from lab.cloud.errors import ApiError
from lab.cloud.faults import RequestFault
from lab.cloud.state import Record

log = logging.getLogger("lab.cloud")

Endpoint = Callable[[Request], Awaitable[Response]]

# docs.hetzner.cloud, "Rate Limiting": 3600 requests an hour, one comes back each second
_LIMIT = 3600


class Endpoints:
    """Makes Starlette endpoints of handlers, behind one token."""

    def __init__(self, cloud: Cloud, token_sha256: str) -> None:
        self._cloud = cloud
        self._token = token_sha256.strip().lower()
        self._used = 0.0
        self._seen = time.monotonic()

    def api(self, path: str, handler: Handler) -> Endpoint:
        """An endpoint of the API: counted, subject to faults. `path` is the operation's, or "" for what is unknown."""

        async def endpoint(request: Request) -> Response:
            self._cloud.faults.count(f"{request.method} {f'/v1{path}' if path else request.url.path}")
            fault = self._cloud.faults.take(request.method, request.url.path)
            if fault is not None:
                await run_in_threadpool(self._cloud.faults.wait, fault)
                if fault.drop:
                    return _Dropped()
                if fault.status is not None:
                    return self._faulty(fault, fault.status)
            return await self._answer(request, handler)

        return endpoint

    def admin(self, handler: Handler) -> Endpoint:
        """An endpoint of the admin API: neither counted nor subject to faults."""

        async def endpoint(request: Request) -> Response:
            return await self._answer(request, handler)

        return endpoint

    async def _answer(self, request: Request, handler: Handler) -> Response:
        try:
            self._check_token(request.headers.get("authorization", ""))
            call = Call(dict(request.path_params), request.query_params.multi_items(), await _json_object(request))
            return self._response(await run_in_threadpool(handler, self._cloud, call))
        except ApiError as error:
            return self._error(error)
        except OSError as error:
            log.error("%s %s: %s", request.method, request.url.path, error)
            return self._error(ApiError(503, "unavailable", f"the local cloud cannot write its state: {error}"))
        except BastideError as error:
            message = " ".join(filter(None, [error.message, error.hint]))
            return self._error(ApiError(503, "unavailable", message))
        except Exception as error:
            log.exception("%s %s", request.method, request.url.path)
            return self._error(ApiError(500, "server_error", f"a fault of the local cloud itself: {error!r}"))

    def _check_token(self, header: str) -> None:
        scheme, _, token = header.partition(" ")
        digest = hashlib.sha256(token.strip().encode()).hexdigest()
        if not hmac.compare_digest(digest, self._token) or scheme.lower() != "bearer":
            raise ApiError(401, "unauthorized", "the token you provided is invalid" if token else "no token given")

    def _faulty(self, fault: RequestFault, status: int) -> Response:
        response = self._error(ApiError(status, fault.code, fault.message))
        if fault.retry_after is not None:
            response.headers["Retry-After"] = str(fault.retry_after)
        if status == 429:
            response.headers["RateLimit-Remaining"] = "0"
            response.headers["RateLimit-Reset"] = str(int(self._cloud.clock().timestamp()) + (fault.retry_after or 1))
        return response

    def _error(self, error: ApiError) -> Response:
        return self._response(Reply(error.status, error.body()))

    def _response(self, reply: Reply) -> Response:
        content = b"" if reply.body is None else json.dumps(reply.body).encode()
        media = None if reply.body is None else "application/json"
        headers = {"X-Correlation-Id": secrets.token_hex(8), **self._rate_limit()}
        return Response(content, reply.status, headers, media)

    def _rate_limit(self) -> dict[str, str]:
        """The published headers. The limit itself is not enforced: faults do that when a test wants it."""
        now = time.monotonic()
        self._used = min(_LIMIT - 1, max(0.0, self._used - (now - self._seen)) + 1)
        self._seen = now
        return {
            "RateLimit-Limit": str(_LIMIT),
            "RateLimit-Remaining": str(int(_LIMIT - self._used)),
            "RateLimit-Reset": str(int(self._cloud.clock().timestamp() + self._used)),
        }


async def _json_object(request: Request) -> Record:
    body = await request.body()
    if not body.strip():
        return {}
    try:
        value = json.loads(body)
    except ValueError as error:
        raise ApiError(400, "json_error", f"the request is not JSON: {error}") from None
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ApiError(400, "json_error", "the request must be a JSON object")
    return value


class _Dropped(Response):
    """No answer: the connection is cut, as by a broken network."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Cut the connection, or where the server does not let us, promise a body and do not send it."""
        # uvicorn hands out a bound method of the object that has the transport; ASGI itself has no way to say this
        transport = getattr(getattr(receive, "__self__", None), "transport", None)
        if transport is not None:
            transport.abort()
            await asyncio.sleep(0)
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
