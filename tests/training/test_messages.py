"""Messages between the ranks and the training node, without starting ranks."""

import json
import threading
import time

import pytest
import torch
from recipes import tiny_training

from kedro_dcgan.errors import TrainingError
from kedro_dcgan.training.distributed import messages as exchange
from kedro_dcgan.training.distributed import messages as spec_module
from kedro_dcgan.training.distributed.messages import Exchange, LaunchSpec

SPEC = LaunchSpec(("images", "shards"), "checkpoints", None, tiny_training(seed=1), parent=None, threads=0)


def test_messages_arrive_in_order_and_are_deleted_after_reading(tmp_path):
    sender, receiver = Exchange(tmp_path), Exchange(tmp_path)
    for number in range(3):
        sender.send({"number": number, "values": torch.full((2,), number)})
    assert len(receiver.unread()) == 3
    messages = receiver.messages(wait=lambda: pytest.fail("there are unread messages"))
    for number in range(3):
        message = next(messages)
        assert message["number"] == number
        assert torch.equal(message["values"], torch.full((2,), number))
    # The last message is kept until the next one is read, because its results may not be saved yet.
    assert len(list(tmp_path.glob("*.pt"))) == 1


def test_sender_blocks_while_four_messages_are_unread(tmp_path):
    sender, receiver = Exchange(tmp_path), Exchange(tmp_path)
    sending = threading.Thread(target=lambda: [sender.send({"number": number}) for number in range(6)])
    sending.start()
    time.sleep(0.5)
    assert len(list(tmp_path.glob("[0-9]*.pt"))) == 4
    messages = receiver.messages(wait=lambda: None)
    assert [next(messages)["number"] for _ in range(6)] == list(range(6))
    sending.join()


def test_sender_times_out_without_a_reader(tmp_path, monkeypatch):
    monkeypatch.setattr(exchange, "MOST_SECONDS_UNREAD", 0.1)
    sender = Exchange(tmp_path)
    with pytest.raises(TrainingError, match="kedro run"):
        for number in range(5):
            sender.send({"number": number})


def test_receiver_waits_for_the_first_message(tmp_path):
    sender, waits = Exchange(tmp_path), []

    def wait():
        waits.append(1)
        if len(waits) == 3:
            sender.send({"number": 7})

    assert next(Exchange(tmp_path).messages(wait)) == {"number": 7}
    assert len(waits) == 3


def test_progress_and_stop_requests_reach_the_other_side(tmp_path):
    rank, node = Exchange(tmp_path), Exchange(tmp_path)
    assert (node.progress(), rank.stop.exists(), node.silence()) == (0, False, 0.0)
    rank.report_progress(1234)
    rank.report_progress(1235)  # Too soon after the last report.
    node.stop.touch()
    rank.stay_alive()
    time.sleep(0.2)
    assert (node.progress(), rank.stop.exists()) == (1234, True)
    node.silence()
    time.sleep(0.1)
    assert 0.1 <= node.silence() < exchange.ALIVE_SECONDS


def test_launch_spec_is_read_back(tmp_path):
    assert LaunchSpec.read(SPEC.write(tmp_path)) == SPEC


def test_missing_or_outdated_launch_spec_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(spec_module, "WAIT_SECONDS", 0.1)
    with pytest.raises(TrainingError, match=r"kedro run .*training.devices=external"):
        LaunchSpec.read(tmp_path / "training.json")
    file = SPEC.write(tmp_path)
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 99}))
    with pytest.raises(TrainingError, match=r"format.*\(got 99\).*of the same version"):
        LaunchSpec.read(file)
