"""A generator over HTTP: `POST /invocations` answers rows of seeds or latents with PNG images (`image_requests`).

Requests and answers have the format of MLflow's own server, `{"dataframe_records": [{"seed": 0, "count": 4}]}` or
`dataframe_split`, so that its clients work. `GET /health` tells what is served. Everything a client controls is limited
before any work: the bytes of a body and the time to send it, the images of a request, and the open connections. One
request is computed at a time; the others wait.
"""

import asyncio
import json
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kedro_dcgan.errors import DcganError, ParameterError, RequestError
from kedro_dcgan.model.image_requests import answer_requests, read_requests
from kedro_dcgan.model.networks import Generator

# 1,024 rows of 256 latents fit.
MAX_BODY_BYTES = 8 * 2**20
_SECONDS_TO_SEND, _MAX_CONNECTIONS = 30, 32


def create_server(generator: Generator, facts: Mapping[str, Any]) -> uvicorn.Server:
    """Return a server whose `run(sockets=[...])` answers requests until SIGINT or SIGTERM; `/health` shows `facts`."""
    return uvicorn.Server(
        uvicorn.Config(
            _create_app(generator, facts),
            log_level="warning",
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=5,
            timeout_graceful_shutdown=10,
            server_header=False,
        )
    )


def _create_app(generator: Generator, facts: Mapping[str, Any]) -> Starlette:
    worker = ThreadPoolExecutor(max_workers=1)

    def generate(body: bytes) -> Response:
        requests = read_requests(_read_rows(body), generator.config)
        names = ("row", "index", "png")
        images = [dict(zip(names, image, strict=True)) for image in answer_requests(generator, requests)]
        return _as_json({"predictions": images})

    async def invocations(request: Request) -> Response:
        body = await _read_body(request)
        return await asyncio.get_running_loop().run_in_executor(worker, generate, body)

    async def health(request: Request) -> Response:
        return _as_json({"status": "ok", **facts})

    routes = [Route("/invocations", invocations, methods=["POST"]), Route("/health", health), Route("/ping", health)]
    handlers = dict.fromkeys((DcganError, HTTPException, Exception), _report)
    return Starlette(routes=routes, exception_handlers=handlers)


def bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; raise ParameterError if it cannot be used."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ParameterError(
            f"`--host` and `--port` must be a free address of this machine (got {host} port {port}: {reason}). "
            "Name another one."
        ) from None


def is_local(listener: socket.socket) -> bool:
    """Return whether only this machine can reach the socket."""
    return ip_address(listener.getsockname()[0]).is_loopback


async def _report(request: Request, error: Exception) -> Response:
    match error:
        case RequestError():
            status, message = error.status, str(error)
        case HTTPException():
            status, message = error.status_code, error.detail
        case _:
            status, message = 500, str(error) if isinstance(error, DcganError) else "The server has an error."
    # A client that is still sending must stop.
    headers = {"Connection": "close"} if status in (408, 413) else None
    name = HTTPStatus(status).name
    return _as_json({"error_code": name, "message": message}, status, headers)


async def _read_body(request: Request) -> bytes:
    too_large = RequestError(f"The body must have at most {MAX_BODY_BYTES:,} bytes. Send fewer rows.", 413)
    try:
        # The header is only a promise, but it spares reading the body.
        if int(request.headers.get("content-length", "0")) > MAX_BODY_BYTES:
            raise too_large
        body = bytearray()
        async with asyncio.timeout(_SECONDS_TO_SEND):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BODY_BYTES:
                    raise too_large
    except TimeoutError:
        raise RequestError(f"The body must arrive within {_SECONDS_TO_SEND} seconds.", 408) from None
    return bytes(body)


def _read_rows(body: bytes) -> list[Any]:
    # Return the rows of a body, of any type; `read_requests` checks them.
    try:
        content = json.loads(body)
    except json.JSONDecodeError as error:
        rule = f"the body must be valid JSON (line {error.lineno}, column {error.colno} is not)"
        raise RequestError(f"The request is not valid: {rule}.") from None
    except (ValueError, RecursionError):
        rule = "the body must be valid JSON in UTF-8, without deep nesting and numbers of thousands of digits"
        raise RequestError(f"The request is not valid: {rule}.") from None
    match content:
        case {"dataframe_records": [*rows]}:
            return rows
        case {"dataframe_split": {"columns": [*columns], "data": [*data]}} if all(
            isinstance(values, list) and len(values) == len(columns) for values in data
        ):
            # pandas writes absent cells as null.
            rows = [zip(map(str, columns), values, strict=True) for values in data]
            return [{key: value for key, value in row if value is not None} for row in rows]
    rule = 'it must have rows, as in {"dataframe_records": [{"seed": 0, "count": 4}]} or in `dataframe_split`'
    raise RequestError(f"The request is not valid: {rule}.")


def _as_json(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    # ASCII: a client can send surrogates, which UTF-8 cannot encode.
    return Response(json.dumps(content), status, headers, "application/json")
