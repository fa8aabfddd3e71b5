"""Requests are computed together, and no answer depends on the others."""

import http.client
import json
import random
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import patch

import pandas
import pytest
import torch
from image_server import MARK, ask, make_generator, running_server
from servers import wait_until

from kedro_dcgan.model import serving
from kedro_dcgan.model.batcher import Batcher
from kedro_dcgan.model.image_requests import answer_requests, chunk_size, make_pngs, read_requests
from kedro_dcgan.model.sampling import sample_inputs
from kedro_dcgan.tracking.model import GeneratorModel
from kedro_dcgan.training.threads import torch_threads

# The default network, and small ones of each architecture.
CONFIGS = {
    "default": (("dcgan", 32, 1, 100, 24), 2000),
    "odd size": (("dcgan", 29, 3, 50, 8), 300),
    "64 pixels": (("dcgan", 64, 3, 100, 16), 60),
    "digits28": (("digits28", 28, 1, 100, 16), 300),
    "notebook28": (("notebook28", 28, 1, 100, 16), 300),
    "simpsons200": (("simpsons200", 200, 3, 100, 4), 8),
}


@pytest.fixture(scope="module")
def generator():
    return make_generator(*CONFIGS["default"][0])


@pytest.mark.parametrize(("config", "count"), CONFIGS.values(), ids=CONFIGS)
def test_image_depends_only_on_its_own_latents_bit_for_bit(config, count):
    generator, outputs = make_generator(*config), []
    # Before rounding, a difference in the last bit shows in every image; after it, in one of thousands.
    generator.register_forward_hook(lambda module, inputs, output: outputs.append(output.clone()))

    def compute(latents):
        outputs.clear()
        pngs = make_pngs(generator, latents)
        assert len(pngs) == len(latents)
        return torch.cat(outputs)[: len(latents)], pngs

    latents = sample_inputs(count, generator.config, 1)
    # Neighbours of another magnitude.
    latents[:: max(2, count // 50)] *= 50
    alone = [compute(one) for one in latents.split(1)]
    expected, pngs = torch.cat([images for images, _ in alone]), [png for _, (png,) in alone]
    assert len(set(pngs)) == count
    shuffled = random.Random(0)
    for most in (5, 64):
        order, start = torch.tensor(shuffled.sample(range(count), count)), 0
        while start < count:
            rows = order[start : start + shuffled.randint(1, most)]
            images, files = compute(latents[rows])
            assert torch.equal(images, expected[rows])
            assert files == [pngs[row] for row in rows]
            start += len(rows)


def test_answers_do_not_depend_on_concurrency(generator, monkeypatch):
    sizes = []
    monkeypatch.setattr(serving, "make_pngs", lambda *given: sizes.append(len(given[1])) or make_pngs(*given))
    drawn, requests = random.Random(0), []
    for seed in range(300):
        if seed % 3:
            requests.append([{"seed": seed, "count": drawn.choice((1, 1, 1, 2, 5, 30))}])
        else:
            requests.append([{"latents": row} for row in sample_inputs(2, generator.config, seed).tolist()])
    for workers in (1, 2):
        with running_server(generator, workers) as (_, port), ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda rows: ask(port, {"dataframe_records": rows}), requests))
        assert len(sizes) < len(requests)
        sizes.clear()
        for rows, (status, answer) in zip(requests, answers, strict=True):
            # The path of the MLflow model, with one request.
            expected = answer_requests(generator, read_requests(rows, generator.config), MARK, workers)
            assert status == 200
            assert [tuple(row.values()) for row in answer["predictions"]] == list(expected)


def test_mlflow_model_gives_the_same_answers_on_any_number_of_threads(generator):
    requests = [{"seed": 3, "count": 90}, {"seed": 4, "count": 3}]
    # The model does not know its name and version.
    mark = replace(MARK, model="")
    expected = list(answer_requests(generator, read_requests(requests, generator.config), mark))
    used = set()
    hook = generator.register_forward_hook(lambda *given: used.add(torch.get_num_threads()))
    with patch("kedro_dcgan.tracking.model.read_generator") as read, torch_threads(2):
        trained = read.return_value
        trained.build.return_value, trained.fingerprint.return_value = generator, MARK.weights
        trained.facts, trained.dataset_digest = {"training_id": MARK.training_id}, MARK.dataset_digest
        model = GeneratorModel()
        model.load_context(SimpleNamespace(artifacts={"generator": "."}))
        answers = model.predict(None, pandas.DataFrame(requests))
        # Other work of the process keeps its threads.
        assert torch.get_num_threads() == 2
    hook.remove()
    assert list(answers.itertuples(index=False, name=None)) == expected
    # Some networks would give other bits on two threads.
    assert used == {1}


class Gate:
    """A server with one worker, which waits for the gate. `batches` has the latents of each call."""

    def __init__(self, monkeypatch):
        self.opened, self.batches, self.batchers = threading.Event(), [], []
        gate = self

        class WatchedBatcher(Batcher):
            def __init__(self, *arguments):
                super().__init__(*arguments)
                gate.batchers.append(self)

        def wait(generator, latents):
            gate.batches.append(latents)
            assert gate.opened.wait(20)
            return make_pngs(generator, latents)

        monkeypatch.setattr(serving, "Batcher", WatchedBatcher)
        monkeypatch.setattr(serving, "make_pngs", wait)

    def occupy(self, pool, port):
        """Send a request for which the worker waits; return its future."""
        first = pool.submit(ask, port, {"dataframe_records": [{"seed": 0}]})
        wait_until(lambda: self.batches, 20)
        return first

    def wait_for(self, rows):
        """Wait until so many rows are in the queue."""
        wait_until(lambda: self.batchers[-1]._waiting() == rows, 20)


@pytest.fixture
def gate(monkeypatch):
    gate = Gate(monkeypatch)
    yield gate
    gate.opened.set()


def test_only_the_request_that_caused_an_error_gets_it(generator, gate, monkeypatch):
    config = generator.config
    bad = [[99.0] * config.latent_dim, [98.0] * config.latent_dim]
    latents = sample_inputs(9, config, 0)

    def fault(module, inputs, output):
        # NaN for one image; for another, an exception that stops the whole batch.
        if (inputs[0] == 98).all(1).any():
            raise RuntimeError("secret")
        return output.masked_fill((inputs[0] == 99).all(1).view(-1, 1, 1, 1), torch.nan)

    requests = [[{"latents": row}] for row in [*latents.tolist(), *bad]]
    expected = [list(answer_requests(generator, read_requests(rows, config), MARK)) for rows in requests[:9]]
    hook = generator.register_forward_hook(fault)
    try:
        with running_server(generator) as (_, port), ThreadPoolExecutor(20) as pool:
            first = gate.occupy(pool, port)
            answers = pool.map(lambda rows: ask(port, {"dataframe_records": rows}), requests)
            gate.wait_for(len(requests))
            gate.opened.set()
            *good, (status, nan), (other_status, other) = answers
            assert first.result()[0] == 200
    finally:
        hook.remove()
    assert len(gate.batches[1]) == len(requests)
    assert [[tuple(row.values()) for row in answer["predictions"]] for _, answer in good] == expected
    assert (status, "NaN" in nan["message"]) == (500, True)
    assert (other_status, "secret" in other["message"]) == (500, False)


def test_small_request_overtakes_a_large_one(generator, gate):
    with running_server(generator) as (_, port), ThreadPoolExecutor(3) as pool:
        first = gate.occupy(pool, port)
        large = pool.submit(ask, port, {"dataframe_records": [{"seed": 1, "count": 1024}]})
        gate.wait_for(1024)
        small = pool.submit(ask, port, {"dataframe_records": [{"seed": 2}]})
        gate.wait_for(1025)
        gate.opened.set()
        assert small.result()[0] == 200
        assert not large.done()
        assert [len(answer.result()[1]["predictions"]) for answer in (first, large)] == [1, 1024]
    assert (gate.batches[1] == sample_inputs(1, generator.config, 2)).all(1).any()


def test_large_request_beyond_the_queue_is_refused(generator, gate, monkeypatch):
    monkeypatch.setattr(serving, "QUEUED_REQUESTS", 1)
    body = {"dataframe_records": [{"seed": 1, "count": 600}]}
    with running_server(generator) as (_, port), ThreadPoolExecutor(3) as pool:
        answers = [gate.occupy(pool, port), pool.submit(ask, port, body)]
        gate.wait_for(600)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/invocations", json.dumps(body))
        refused = connection.getresponse()
        assert (refused.status, refused.getheader("Retry-After")) == (503, "2")
        answers.append(pool.submit(ask, port, {"dataframe_records": [{"seed": 2}]}))
        gate.wait_for(601)
        gate.opened.set()
        assert [answer.result()[0] for answer in answers] == [200, 200, 200]


def test_connections_are_limited(generator):
    with running_server(generator) as (server, port):
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(serving.MAX_CONNECTIONS)]
        wait_until(lambda: len(server.server_state.connections) == len(held), 20)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 503
        for one in held:
            one.close()
        connection.close()
        wait_until(lambda: ask(port, {"dataframe_records": [{"seed": 0}]})[0] == 200, 20)


def test_images_of_a_client_that_has_left_are_not_computed(generator, gate):
    with running_server(generator) as (_, port), ThreadPoolExecutor(2) as pool:
        first = gate.occupy(pool, port)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("POST", "/invocations", json.dumps({"dataframe_records": [{"seed": 1, "count": 1024}]}))
        gate.wait_for(1024)
        connection.close()
        gate.wait_for(0)
        gate.opened.set()
        assert first.result()[0] == 200
        assert ask(port, {"dataframe_records": [{"seed": 1}]})[0] == 200
    assert sum(map(len, gate.batches)) == 2


def test_stopping_server_finishes_its_requests(generator, gate):
    with running_server(generator) as (server, port), ThreadPoolExecutor(2) as pool:
        answers = [gate.occupy(pool, port), pool.submit(ask, port, {"dataframe_records": [{"seed": 1, "count": 200}]})]
        gate.wait_for(200)
        server.should_exit = True
        gate.opened.set()
        assert [answer.result()[0] for answer in answers] == [200, 200]
        wait_until(lambda: not any(thread.name.startswith("batcher") for thread in threading.enumerate()), 20)


def test_the_event_loop_does_not_draw_large_requests(generator, monkeypatch):
    unbind, threads = torch.Tensor.unbind, set()

    def record(tensor, *dimension):
        if len(tensor) == 1024:
            threads.add(threading.current_thread().name.partition("_")[0])
        return unbind(tensor, *dimension)

    monkeypatch.setattr(torch.Tensor, "unbind", record)
    with running_server(generator) as (_, port):
        assert ask(port, {"dataframe_records": [{"seed": 1, "count": 1024}]})[0] == 200
    assert threads == {"large-bodies"}


def test_chunks_are_small_where_images_are_large(generator):
    assert chunk_size(generator.config) == 4
    assert chunk_size(make_generator("dcgan", 64, 3, 8, 4).config) == 1
