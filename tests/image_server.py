"""A real server of images in this process, and its clients."""

import base64
import http.client
import io
import json
import threading
from contextlib import contextmanager

import numpy as np
import torch
from networks import generator_config
from PIL import Image
from servers import wait_until

from kedro_dcgan.model import serving
from kedro_dcgan.model.networks import initialise
from kedro_dcgan.model.recipes import build_generator
from kedro_dcgan.model.sampling import sample_inputs
from kedro_dcgan.model.synthetic_marks import SyntheticMark

MARK = SyntheticMark(weights="0123456789abcdef", model="dcgan-digits v3", training_id="0123456789ab")


def make_generator(*config):
    """Return a generator of `generator_config` with random weights whose images have all grey levels."""
    generator = build_generator(generator_config(*config))
    initialise(generator, torch.Generator().manual_seed(0))
    with torch.no_grad():
        # Batch norm learns the statistics: with those of a new network, all pixels are almost the same.
        for seed in range(20):
            generator.train()(sample_inputs(64, generator.config, seed))
    return generator.eval()


@contextmanager
def running_server(generator, workers=1):
    """Yield a server that runs in a thread, and its port."""
    with serving.bind("127.0.0.1", 0) as listener:
        server = serving.create_server(generator, MARK, {"model": "dcgan-digits", "version": "3"}, workers)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        wait_until(lambda: server.started, 20)
        try:
            yield server, listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def ask(port, body, method="POST", path="/invocations"):
    """Return the status and the JSON answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, data, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def show_images(pngs, images):
    """Return whether PNG files in base64 show grey images `(N, 1, H, W)` that were computed in another batch size."""
    shown = np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(png)))) for png in pngs])
    # The order of a sum can change a pixel by one level.
    return np.abs(shown.astype(int) - images[:, 0].numpy()).max() <= 1
