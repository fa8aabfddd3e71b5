"""A generator over HTTP: `POST /invocations` answers rows of seeds or latents with PNG images (`image_requests`).

Requests and answers have the format of MLflow's own server, `{"dataframe_records": [{"seed": 0, "count": 4}]}` or
`dataframe_split`, so that its clients work. `GET /health` tells what is served. Everything a client controls is limited
before any work: the bytes of a body and the time to send it, the images of a request, the images that wait, and the
open connections. Requests of several clients are computed together (`batcher`), which changes no answer.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, TypeVar

import torch
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from torch import Tensor

from kedro_dcgan.errors import DcganError, ParameterError, RequestError
from kedro_dcgan.model.batcher import Batcher, BatchLimits
from kedro_dcgan.model.image_requests import (
    ImageRequest,
    chunk_size,
    draw_inputs,
    make_pngs,
    mark_images,
    most_images,
    read_requests,
)
from kedro_dcgan.model.networks import Generator, GeneratorConfig
from kedro_dcgan.model.synthetic_marks import SyntheticMark

# 1,024 rows of 256 latents fit.
MAX_BODY_BYTES = 8 * 2**20
SECONDS_TO_SEND = 30
# An idle connection is closed after this time.
SECONDS_IDLE = 5
# Room for 50 clients that keep their connections open, twice over. Their bodies take 1 GiB at most.
MAX_CONNECTIONS = 128
# The size of a batch: 32 images of 32x32, 8 of 64x64, one of the largest. A request that arrives waits until the
# present batch is done; smaller ones would be handed over more often.
BATCH_PIXELS = 32 * 32**2
# The queue holds this many of the largest requests: 16,384 images of 32x32, some seconds of work.
QUEUED_REQUESTS = 16
# Bytes or numbers that the event loop itself may work through, in about a millisecond; others go to a thread.
_MOST_ON_LOOP = 2**14

_Result = TypeVar("_Result")


def create_server(
    generator: Generator, mark: SyntheticMark, facts: Mapping[str, Any], workers: int = 1
) -> uvicorn.Server:
    """Return a server whose `run(sockets=[...])` answers requests until SIGINT or SIGTERM; `/health` shows `facts`.

    `mark` is that of all images. The server computes `workers` batches at a time. torch must use one thread
    (`image_requests`).
    """
    return uvicorn.Server(
        uvicorn.Config(
            _create_app(generator, mark, facts, workers),
            log_level="warning",
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=SECONDS_IDLE,
            timeout_graceful_shutdown=10,
            server_header=False,
        )
    )


def _create_app(generator: Generator, mark: SyntheticMark, facts: Mapping[str, Any], workers: int) -> Starlette:
    config, chunk = generator.config, chunk_size(generator.config)
    batch = chunk * max(1, BATCH_PIXELS // (chunk * config.image_size**2))
    limits = BatchLimits(chunk, batch, QUEUED_REQUESTS * most_images(config))

    def compute(rows: Sequence[Tensor]) -> list[bytes]:
        return make_pngs(generator, torch.stack(list(rows)))

    batcher = Batcher(compute, limits, workers)
    # One thread: several would leave too little of Python's time to the event loop.
    thread = ThreadPoolExecutor(1, "large-bodies")

    async def run(cost: int, function: Callable[[], _Result]) -> _Result:
        # Another thread costs more than a small task, but a large one would block all other clients.
        is_small = cost <= _MOST_ON_LOOP
        return function() if is_small else await asyncio.get_running_loop().run_in_executor(thread, function)

    async def invocations(request: Request) -> Response:
        body = await _read_body(request)
        requests = await run(len(body), lambda: read_requests(_read_rows(body), config))
        count = sum(one.count for one in requests)
        inputs, rows = await run(count * config.input_dim, lambda: _draw_rows(requests, config))
        work = batcher.compute(rows)
        # A small request is done before its client can leave.
        pngs = await (work if count <= batch else _unless_disconnected(request, work))
        return await run(sum(map(len, pngs)), lambda: _predictions(mark_images(requests, inputs, pngs, config, mark)))

    async def health(request: Request) -> Response:
        return _as_json({"status": "ok", **facts})

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        batcher.close()
        thread.shutdown(cancel_futures=True)

    routes = [Route("/invocations", invocations, methods=["POST"]), Route("/health", health), Route("/ping", health)]
    handlers = dict.fromkeys((DcganError, HTTPException, ClientDisconnect, Exception), _report)
    return Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)


def _draw_rows(requests: Sequence[ImageRequest], config: GeneratorConfig) -> tuple[Tensor, Sequence[Tensor]]:
    """Return the inputs of all images, float32 `(N, input_dim)`, and each of them, `(input_dim,)`."""
    inputs = draw_inputs(requests, config)
    return inputs, inputs.unbind()


async def _unless_disconnected(request: Request, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Return the result of `work`; cancel it and raise ClientDisconnect if the client closes the connection."""

    async def disconnect() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = asyncio.create_task(work), asyncio.create_task(disconnect())
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not tasks[0].done():
            raise ClientDisconnect
        return tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()


def _predictions(images: Iterable[tuple[int, int, str]]) -> Response:
    return _as_json({"predictions": [{"row": row, "index": index, "png": png} for row, index, png in images]})


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
    headers = {408: {"Connection": "close"}, 413: {"Connection": "close"}, 503: {"Retry-After": "2"}}.get(status)
    name = HTTPStatus(status).name
    return _as_json({"error_code": name, "message": message}, status, headers)


async def _read_body(request: Request) -> bytes:
    too_large = RequestError(f"The body must have at most {MAX_BODY_BYTES:,} bytes. Send fewer rows.", 413)
    try:
        # The header is only a promise, but it spares reading the body.
        if int(request.headers.get("content-length", "0")) > MAX_BODY_BYTES:
            raise too_large
        body = bytearray()
        async with asyncio.timeout(SECONDS_TO_SEND):
            async for part in request.stream():
                body += part
                if len(body) > MAX_BODY_BYTES:
                    raise too_large
    except TimeoutError:
        raise RequestError(f"The body must arrive within {SECONDS_TO_SEND} seconds.", 408) from None
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
