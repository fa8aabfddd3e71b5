"""Requests for images are checked before anything is generated, and answered over HTTP within limits."""

import http.client
import threading
import time

import pytest
import torch
from image_server import ask, make_generator, running_server, show_images
from networks import generator_config

from kedro_dcgan.errors import ParameterError, RequestError
from kedro_dcgan.model import serving
from kedro_dcgan.model.image_requests import read_requests
from kedro_dcgan.model.sampling import generate_all, sample_inputs

CONFIG = generator_config("dcgan", 16, 1, 8, 4)


@pytest.fixture(scope="module")
def generator():
    return make_generator("dcgan", 16, 1, 8, 4)


@pytest.fixture(scope="module")
def port(generator):
    """The port of a running server."""
    with running_server(generator) as (_, port):
        yield port


def test_rows_of_seeds_and_of_latents_can_be_mixed(port, generator):
    latents = sample_inputs(3, CONFIG, 5)
    rows = [{"seed": 5, "count": 2}, {"latents": latents[2].tolist()}, {"seed": 6}]
    status, answer = ask(port, {"dataframe_records": rows})
    images = generate_all(generator, torch.cat([latents, sample_inputs(1, CONFIG, 6)]))
    assert status == 200
    assert show_images([row["png"] for row in answer["predictions"]], images)
    assert [(row["row"], row["index"]) for row in answer["predictions"]] == [(0, 0), (0, 1), (1, 0), (2, 0)]


def test_pandas_split_format_is_read(port):
    split = {"index": [0, 1], "columns": ["seed", "count"], "data": [[5, 2], [6, None]]}
    assert ask(port, {"dataframe_split": split}) == ask(
        port, {"dataframe_records": [{"seed": 5, "count": 2}, {"seed": 6}]}
    )


@pytest.mark.parametrize("path", ["/health", "/ping"])
def test_health_tells_the_model(port, path):
    assert ask(port, b"", "GET", path) == (200, {"status": "ok", "model": "dcgan-digits", "version": "3"})


BAD_BODIES = {
    "negative seed": ([{"seed": -1}], "`seed` of row 0"),
    "count": ([{"seed": 1, "count": 5000}], "1024"),
    "total": ([{"seed": seed, "count": 1024} for seed in range(2000)], "1024 images in total"),
    "rows": ([{"seed": 1}] * 1025, "1024 images in total"),
    "fraction": ([{"seed": 1.5}], "(got 1.5)"),
    "huge integer": ([{"seed": int("9" * 4000)}], "…)"),
    "infinity": ([{"seed": float("inf")}], "(got inf)"),
    "bool": ([{"seed": True}], "(got True)"),
    "text": ([{"seed": "one"}], "(got one)"),
    "nested value": ([{"seed": [[1]]}], "(got [[1]])"),
    "unknown key": ([{"seed": 1, "sed": 2}], "sed"),
    "surrogate": ([{"\ud800": 1}], "\\ud800"),
    "both": ([{"seed": 1, "latents": [0.0] * 8}], "either `seed` or `latents`"),
    "no row": ([], "at least one row"),
    "not an object": ([3], "row 0 must be an object"),
    "few latents": ([{"latents": [0.5, 0.5]}], "8 numbers"),
    "huge latents": ([{"latents": [3e38] * 8}], "from -100 to 100"),
    "huge integer latents": ([{"latents": [10**400] * 8}], "from -100 to 100"),
    "NaN": ([{"latents": [float("nan")] * 8}], "from -100 to 100"),
    "latents as text": ([{"latents": "12345678"}], "8 numbers"),
    "nested latents": ([{"latents": [[0.0]] * 8}], "8 numbers"),
    "latents with a count": ([{"latents": [0.0] * 8, "count": 1}], "without `count`"),
}


@pytest.mark.parametrize(("rows", "fact"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_row_gets_status_400_and_one_sentence(port, rows, fact):
    status, answer = ask(port, {"dataframe_records": rows})
    assert status == 400
    assert fact in answer["message"]
    assert "\n" not in answer["message"]
    assert len(answer["message"]) < 250


@pytest.mark.parametrize(
    ("body", "fact"),
    [
        (b"no JSON", "line 1, column 1"),
        (b'{"dataframe_records": [\n{"seed": }]}', "line 2, column 10"),
        (b"[" * 100_000, "deep nesting"),
        (b'{"dataframe_records": ' + b"[" * 100_000, "deep nesting"),
        (b'{"dataframe_records": [{"seed": ' + b"9" * 5000 + b"}]}", "thousands of digits"),
        (b"\xff\xfe\x00", "UTF-8"),
        (b'{"images": 3}', "dataframe_records"),
        (b'{"dataframe_records": 3}', "dataframe_records"),
        (b'{"dataframe_split": {"columns": ["seed"], "data": [[1, 2]]}}', "dataframe_split"),
        (b"null", "dataframe_records"),
        (b"", "line 1, column 1"),
    ],
    ids=range(11),
)
def test_bad_body_gets_status_400_and_one_sentence(port, body, fact):
    status, answer = ask(port, body)
    assert (status, fact in answer["message"]) == (400, True)
    assert len(answer["message"]) < 250


def test_unknown_path_and_method_are_answered_in_json(port):
    assert ask(port, b"", "GET", "/docs")[0] == 404
    assert ask(port, b"", "GET", "/invocations")[0] == 405


def test_announced_large_body_is_refused_before_it_is_sent(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("POST", "/invocations")
    connection.putheader("Content-Length", str(100_000_000))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert len(answer.read()) < 250


def test_large_body_without_a_length_is_refused(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("POST", "/invocations")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    chunk = b" " * 2**20
    for _ in range(serving.MAX_BODY_BYTES // len(chunk) + 1):
        connection.send(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    assert connection.getresponse().status == 413


def test_slow_body_is_refused_and_does_not_block_others(port, monkeypatch):
    monkeypatch.setattr(serving, "SECONDS_TO_SEND", 0.5)
    slow = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    slow.putrequest("POST", "/invocations")
    slow.putheader("Content-Length", "100")
    slow.endheaders(b"{")
    assert ask(port, {"dataframe_records": [{"seed": 0}]})[0] == 200
    assert slow.getresponse().status == 408


def test_health_is_answered_while_images_are_made(port):
    body, done = {"dataframe_records": [{"seed": 0, "count": 1024}]}, []
    thread = threading.Thread(target=lambda: done.append(ask(port, body)[0]))
    thread.start()
    time.sleep(0.05)
    assert ask(port, b"", "GET", "/health")[0] == 200
    assert not done
    thread.join()
    assert done == [200]


def test_large_images_have_a_lower_limit():
    large = generator_config("dcgan", 512, 3, 8, 4)
    assert len(read_requests([{"seed": 1, "count": 85}], large)) == 1
    with pytest.raises(RequestError, match="at most 85 images"):
        read_requests([{"seed": 1, "count": 86}], large)


def test_total_is_checked_before_latents_are_drawn(monkeypatch):
    monkeypatch.setattr("kedro_dcgan.model.image_requests.sample_inputs", None)
    with pytest.raises(RequestError):
        read_requests(({"seed": seed, "count": 1024} for seed in range(2000)), CONFIG)


def test_address_that_cannot_be_used_is_named(port):
    with pytest.raises(ParameterError, match=rf"127.0.0.1 port {port}"):
        serving.bind("127.0.0.1", port)
    with pytest.raises(ParameterError, match=r"203.0.113.9"):
        serving.bind("203.0.113.9", port)


@pytest.mark.parametrize(("host", "local"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_only_loopback_addresses_are_local(host, local):
    with serving.bind(host, 0) as listener:
        assert serving.is_local(listener) == local
