"""Throughput and latency of the registered generator over HTTP (`kedro dcgan serve`).

The baseline is the same generator called in Python, so the difference is the cost of HTTP, JSON and PNG. The clients
are one process on the same machine that only writes and reads sockets: 50 threads of a Python HTTP client would need
more of the cores than the server. Each client keeps its connection open and sends a request, of another seed, as soon
as it has the answer to the last one. A latency is the time from the first byte sent to the last byte received.

    kedro run && python benchmarks/serving.py          # in a project with a champion
"""

import argparse
import json
import multiprocessing
import os
import selectors
import signal
import socket
import statistics
import subprocess
import time
import urllib.request
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PORT = 5063
CASES = ((1, 1), (1, 4), (1, 50), (16, 1), (64, 1), (64, 4))  # images per request, clients


@dataclass
class Client:
    """A connection, and the answer that is being read from it."""

    connection: socket.socket
    sent_at: float = 0.0
    read: bytearray = field(default_factory=bytearray)
    length: int = 0  # of headers and body; 0: not known yet

    def send(self, count: int, seed: int) -> None:
        """Send a request for images."""
        body = json.dumps({"dataframe_records": [{"seed": seed, "count": count}]}).encode()
        headers = f"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self.read.clear()
        self.sent_at, self.length = time.perf_counter(), 0
        self.connection.sendall(headers.encode() + body)

    def receive(self, count: int) -> bool:
        """Read what has arrived; return whether that completes the answer."""
        part = self.connection.recv(2**18)
        assert part, "the server has closed the connection"
        self.read += part
        if not self.length and (end := self.read.find(b"\r\n\r\n")) >= 0:
            assert self.read.startswith(b"HTTP/1.1 200 "), bytes(self.read)
            headers = dict(line.split(b": ", 1) for line in bytes(self.read[:end]).lower().split(b"\r\n")[1:])
            self.length = end + 4 + int(headers[b"content-length"])
        if not self.length or len(self.read) < self.length:
            return False
        assert self.read.count(b'"png"') == count
        return True


def measure(count: int, clients: int, seconds: float) -> tuple[float, list[float], float]:
    """Return the images per second, the latency of each request and the CPU time of this process, in seconds."""
    latencies: list[float] = []
    with selectors.DefaultSelector() as selector:
        for number in range(clients):
            client = Client(socket.create_connection(("127.0.0.1", PORT)))
            client.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(client.connection, selectors.EVENT_READ, client)
            client.send(count, number)
        started, busy, sent = time.perf_counter(), time.process_time(), clients
        while (elapsed := time.perf_counter() - started) < seconds:
            for key, _ in selector.select(seconds - elapsed):
                if key.data.receive(count):
                    latencies.append(time.perf_counter() - key.data.sent_at)
                    key.data.send(count, sent)
                    sent += 1
        cpu_time = time.process_time() - busy
        for key in list(selector.get_map().values()):
            key.data.connection.close()
    return len(latencies) * count / elapsed, latencies, cpu_time


def speeds_in_python(counts: list[int], seconds: float) -> tuple[dict[int, float], int]:
    """Return the images per second of the generator in Python by the size of a batch, and the number of threads."""
    import torch

    from kedro_dcgan.model.sampling import generate_all, sample_inputs
    from kedro_dcgan.model.saved import read_generator

    trained = read_generator(Path("data/07_model_output/generator"))
    generator, speeds = trained.build(), {}
    for count in counts:
        latents, calls = sample_inputs(count, trained.config, 0), 0
        generate_all(generator, latents)
        started = time.perf_counter()
        while time.perf_counter() < started + seconds:
            generate_all(generator, latents)
            calls += 1
        speeds[count] = calls * count / (time.perf_counter() - started)
    return speeds, torch.get_num_threads()


def report(pool: ProcessPoolExecutor, server: psutil.Process, case: tuple[int, int], seconds: float) -> str:
    """Measure one size and number of clients, in the process of the clients; return a line without the baseline."""
    count, clients = case
    pool.submit(measure, count, clients, 1.0).result()  # warm-up
    before = server.cpu_times()
    speed, latencies, client_time = pool.submit(measure, count, clients, seconds).result()
    after = server.cpu_times()
    ranked = sorted(latencies)
    p99 = ranked[min(len(ranked) - 1, round(0.99 * len(ranked)))]
    each = 1000 / (len(latencies) * count)
    server_time = after.user + after.system - before.user - before.system
    return (
        f"{count:>3} images per request, {clients:>2} clients: {speed:,.0f} images/s, latency "
        f"{statistics.median(ranked) * 1000:.1f} ms (median), {p99 * 1000:.1f} ms (99 %) · CPU time per image: "
        f"server {server_time * each:.2f} ms, clients {client_time * each:.2f} ms"
    )


def main() -> None:
    """Print one line per request size and number of clients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dcgan-digits@champion")
    parser.add_argument("--seconds", type=float, default=5.0, help="per measurement")
    arguments = parser.parse_args()
    seconds, counts = arguments.seconds, sorted({count for count, _ in CASES})
    # Other processes: their memory and threads must not slow the clients down.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        alone, threads = pool.submit(speeds_in_python, counts, seconds).result()
    for count in counts:
        print(f"{count:>3} images per batch in Python, {threads} threads: {alone[count]:,.0f} images/s", flush=True)
    command = ["kedro", "dcgan", "serve", "--model", arguments.model, "--port", str(PORT)]
    server = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        wait_for(server)
        print(f"over HTTP: open connections of one process beside the server, {os.cpu_count()} cores", flush=True)
        with ProcessPoolExecutor(1, context) as pool:
            for case in CASES:
                print(report(pool, server, case, seconds), flush=True)
    finally:
        os.killpg(server.pid, signal.SIGTERM)


def wait_for(server: psutil.Popen) -> None:
    """Wait until the server answers; it imports torch and reads the registry first."""
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/ping", timeout=1).close()
            return
        except OSError:
            assert server.poll() is None, "the server has stopped: is there a model with this name?"
            time.sleep(1)


if __name__ == "__main__":
    main()
