"""Throughput and latency of the registered generator over HTTP (`kedro dcgan serve`).

The baseline is the same generator called in Python, so the difference is the cost of HTTP and PNG.

    kedro run && python benchmarks/serving.py          # in a project with a champion
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from kedro_dcgan.model.sampling import generate_all, sample_latents
from kedro_dcgan.model.saved import read_generator

PORT, SECONDS = 5063, 5.0


def request_images(count: int, seed: int) -> float:
    """Request images; return the latency in seconds."""
    body = json.dumps({"dataframe_records": [{"seed": seed, "count": count}]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/invocations", body, {"Content-Type": "application/json"})
    started = time.perf_counter()
    with urllib.request.urlopen(request) as answer:
        assert len(json.loads(answer.read())["predictions"]) == count
    return time.perf_counter() - started


def measure(count: int, clients: int) -> tuple[float, list[float]]:
    """Return the images per second, and the latency of each request in seconds."""
    until, started = time.perf_counter() + SECONDS, time.perf_counter()

    def send_requests(client: int) -> list[float]:
        found = []
        while time.perf_counter() < until:
            found.append(request_images(count, client * 1000 + len(found)))
        return found

    with ThreadPoolExecutor(clients) as pool:
        found = [seconds for part in pool.map(send_requests, range(clients)) for seconds in part]
    return len(found) * count / (time.perf_counter() - started), found


def speed_in_python(count: int) -> float:
    """Return the images per second of the generator in Python."""
    trained = read_generator(Path("data/07_model_output/generator"))
    generator, latents = trained.build(), sample_latents(count, trained.config, 0)
    generate_all(generator, latents)
    started, calls = time.perf_counter(), 0
    while time.perf_counter() < started + SECONDS:
        generate_all(generator, latents)
        calls += 1
    return calls * count / (time.perf_counter() - started)


def main() -> None:
    """Print one line per request size and number of clients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="dcgan-digits@champion")
    model = parser.parse_args().model
    command = ["kedro", "dcgan", "serve", "--model", model, "--port", str(PORT)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(60):
            try:
                request_images(1, 0)
                break
            except OSError:
                time.sleep(1)
        for count, clients in ((1, 1), (1, 4), (16, 1), (64, 1), (64, 4)):
            speed, seconds = measure(count, clients)
            ranked = sorted(seconds)
            late = ranked[min(len(ranked) - 1, round(0.95 * len(ranked)))]
            alone = speed_in_python(count)
            print(
                f"{count:>3} images per request, {clients} clients: {speed:,.0f} images/s ({speed / alone:.0%} of the "
                f"generator in Python on {torch.get_num_threads()} threads, {alone:,.0f}), latency "
                f"{statistics.median(seconds) * 1000:.1f} ms (median), {late * 1000:.1f} ms (95 %)",
                flush=True,
            )
    finally:
        os.killpg(server.pid, signal.SIGTERM)


if __name__ == "__main__":
    main()
