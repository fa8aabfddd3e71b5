from types import SimpleNamespace

import pytest
import torch
from engine import CPU, REAL, batches, new_run, new_state, tensors_in, ticks, weights_of
from recipes import tiny_training

from kedro_dcgan.errors import TrainingError
from kedro_dcgan.model.sampling import generate_all
from kedro_dcgan.pipelines.training.nodes import expected_images
from kedro_dcgan.training import loop
from kedro_dcgan.training.data import Batch
from kedro_dcgan.training.devices import Compute, deterministic_algorithms
from kedro_dcgan.training.loop import TrainingCallbacks


def test_ticks_come_before_the_first_step_at_each_interval_and_at_the_end():
    seen = ticks(new_state(), count=5)
    assert [tick.images_seen for tick in seen] == [0, 16, 32, 40]
    assert [tick.record is None for tick in seen] == [True, False, False, False]
    assert [tick.checkpoint is not None for tick in seen] == [False, False, True, True]
    assert all(tick.samples.shape == (4, 1, 16, 16) for tick in seen)


def test_ticks_follow_multiples_of_the_interval_for_any_batch_size():
    training = tiny_training(images_per_tick=20)
    assert [tick.images_seen for tick in ticks(new_state(training), 8, training)] == [0, 24, 40, 64]


def test_training_is_lazy():
    state = new_state()
    running = new_run(state).ticks(batches(100), 800)
    assert next(running).record is None
    assert state.images_seen == 0
    assert next(running).record.images_seen == state.images_seen == 16


def test_training_learns_the_brightness_of_its_images():
    state, training = new_state(), tiny_training(images_per_tick=10_000)
    bright = [Batch(torch.full((8, 1, 16, 16), 200, dtype=torch.uint8), None)] * 150
    last = list(new_run(state, training).ticks(bright, 1200))[-1]
    assert abs(last.samples.float().mean() - 200) < 30


def test_samples_come_from_the_ema_generator_if_there_is_one():
    training = tiny_training(ema__half_life=100)
    state = new_state(training)
    last = ticks(state, 4, training)[-1]
    run = new_run(state, training)
    assert torch.equal(last.samples, generate_all(state.ema_generator, run._fixed_inputs)[:4])
    assert not torch.equal(last.samples, generate_all(state.generator, run._fixed_inputs)[:4])


@pytest.mark.parametrize("network", ["discriminator", "generator"])
def test_non_finite_loss_stops_training_at_its_step_and_is_named(network):
    state = new_state()
    running = new_run(state, tiny_training(images_per_tick=800)).ticks(spoiled(state, network, after=3), 800)
    next(running)
    with pytest.raises(TrainingError, match=rf"{network}'s loss.*\(got nan in step 4\b"):
        next(running)
    assert state.images_seen == 32


def spoiled(state, network, after):
    for number, batch in enumerate(batches(100)):
        if number == after:
            with torch.no_grad():
                next(getattr(state, network).parameters()).fill_(torch.nan)
        yield batch


def test_non_finite_weights_are_never_sampled_or_kept():
    state = new_state(tiny_training(images_per_tick=8))
    original = state.generator_optimiser.step

    def diverge():
        original()
        next(state.generator.parameters()).data.fill_(torch.inf)

    state.generator_optimiser.step = diverge
    running = new_run(state, tiny_training(images_per_tick=8)).ticks(batches(4), 32)
    next(running)
    with pytest.raises(TrainingError, match="generator's weights"):
        next(running)


def test_stop_request_ends_training_after_the_step_with_a_checkpoint():
    state = new_state()
    running = new_run(state, tiny_training(images_per_tick=80), should_stop=lambda: state.images_seen == 24)
    seen = list(running.ticks(batches(100), 800))
    assert [(tick.images_seen, tick.checkpoint is not None) for tick in seen] == [(0, False), (24, True)]
    assert seen[-1].record is None
    assert state.means.steps == 3


def test_stop_request_at_a_tick_yields_the_tick_with_a_checkpoint():
    state = new_state()
    seen = list(new_run(state, should_stop=lambda: state.images_seen == 16).ticks(batches(100), 800))
    last = seen[-1]
    assert (len(seen), last.images_seen, last.record.images_seen, last.checkpoint is not None) == (2, 16, 16, True)


def test_best_generator_has_the_smallest_distance():
    distances = iter([5.0, 3.0, 4.0])
    training = tiny_training(images_per_validation=16, images_per_checkpoint=10_000)
    state = new_state(training)
    seen = ticks(state, 6, training, validate=lambda generator: next(distances))
    assert [tick.record and tick.record.validation for tick in seen] == [None, 5.0, 3.0, 4.0]
    # A new best generator and the end of training give a checkpoint.
    assert [tick.checkpoint is not None for tick in seen] == [False, True, True, True]
    assert (state.best.images_seen, state.best.validation) == (32, 3.0)
    assert not torch.equal(state.best.weights["layers.1.weight"], state.generator.state_dict()["layers.1.weight"])


def test_collapsed_generator_is_not_the_best_if_there_is_another(monkeypatch):
    # A black image may have a smaller distance than imperfect digits.
    diversities = iter([0.1, 0.05, 0.5, 0.3, 0.1])
    monkeypatch.setattr("kedro_dcgan.training.loop.diversity", lambda *_: next(diversities))
    distances, best = iter([1.0, 0.5, 9.0, 8.0, 0.1]), []
    training = tiny_training(images_per_validation=16)
    state = new_state(training)
    for tick in new_run(state, training, validate=lambda generator: next(distances)).ticks(batches(10), 80):
        best += [state.best.images_seen] if tick.images_seen else []
    assert best == [16, 32, 48, 64, 64]


def test_training_ends_when_its_patience_is_exhausted():
    distances = iter([5.0, 6.0, 4.0, 4.5, 4.0, 3.0])
    training = tiny_training(images_per_tick=8, images_per_validation=16, images_per_checkpoint=10_000, patience=2)
    state = new_state(training)
    run = new_run(state, training, validate=lambda generator: next(distances))
    seen = [(tick.images_seen, tick.ends_early, tick.checkpoint is not None) for tick in run.ticks(batches(100), 800)]
    # An equal distance is not better. Of the ticks, every second one validates.
    assert [images_seen for images_seen, *_ in seen] == [8 * tick for tick in range(11)]
    assert seen[-1] == (80, True, True)
    assert not any(ends_early for _, ends_early, _ in seen[:-1])
    assert state.best.images_seen == 48

    # Resumed, it is finished, unless its patience is longer.
    assert [tick.ends_early for tick in run.ticks(batches(100, 10), 800)] == [True]
    longer = new_run(state, tiny_training(**PATIENT), validate=lambda generator: next(distances))
    assert [tick.images_seen for tick in longer.ticks(batches(2, 10), 96)] == [88, 96]
    assert state.best.images_seen == 96


def test_training_ends_when_its_time_is_over_also_after_a_resumption(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def ten_seconds_each(count, begin=0):
        for batch in batches(count, begin):
            clock[0] += 10
            yield batch

    def train(state, minutes, begin=0, **options):
        training = tiny_training(minutes=minutes, images_per_validation=10_000, images_per_checkpoint=10_000)
        callbacks = TrainingCallbacks(REAL, validate=lambda generator: 1.0)
        run = loop.Training(state, training, CPU, callbacks, **options)
        return list(run.ticks(ten_seconds_each(100, begin), 800))

    # A tick every second batch: after 20 and 40 seconds. The last one, after 60, is validated and saved.
    state = new_state()
    first = train(state, minutes=0.9)
    assert [(tick.images_seen, tick.ends_early) for tick in first] == [(0, False), (16, False), (32, False), (48, True)]
    assert [tick.record and tick.record.validation for tick in first] == [None, None, None, 1.0]
    assert (first[-1].seconds, first[-1].checkpoint["seconds"]) == (60.0, 60.0)
    assert [expected_images(tick, 800, 0.9) for tick in first[1:]] == [43, 43, 48]
    assert expected_images(first[1], 800, None) == 800
    # It need not be the time of a tick.
    assert [tick.images_seen for tick in train(new_state(), minutes=0.8)] == [0, 16, 32, 40]

    # Preparations may take longer than that: at least one step is trained.
    assert [tick.images_seen for tick in train(new_state(), minutes=0.9, started=clock[0] - 500)] == [0, 8]

    # The time between two processes does not count.
    clock[0] += 1000
    resumed = new_state()
    resumed.load_state_dict(dict(first[-1].checkpoint))
    assert [tick.ends_early for tick in train(resumed, minutes=0.9, begin=6)] == [True]
    assert [tick.images_seen for tick in train(resumed, minutes=1.5, begin=6)] == [64, 72]
    assert resumed.seconds == 90.0


PATIENT = {"images_per_tick": 8, "images_per_validation": 16, "patience": 3}


def test_validation_runs_at_its_interval_and_at_the_end():
    training = tiny_training(images_per_validation=32)
    measured = []
    ticks(new_state(training), 5, training, validate=lambda generator: measured.append(1) or 1.0)
    assert len(measured) == 2


def test_validation_and_sampling_do_not_change_the_training():
    plain, sampled = new_state(), new_state()
    ticks(plain, 6, tiny_training(images_per_tick=48))
    training = tiny_training(images_per_tick=8, images_per_validation=8)
    ticks(sampled, 6, training, validate=lambda generator: float(torch.rand(1)))
    expected = weights_of(sampled)
    assert all(torch.equal(value, expected[name]) for name, value in weights_of(plain).items())


DUE = [(16, [16, 32, 48, 64, 80]), (24, [32, 48, 80]), (40, [48, 80]), (56, [64, 80])]


@pytest.mark.parametrize(("every", "due"), DUE)
def test_validation_and_checkpoint_due_between_ticks_come_with_the_next_tick(every, due):
    training = tiny_training(images_per_checkpoint=every, images_per_validation=every)
    seen = ticks(new_state(training), 10, training, validate=lambda generator: 1.0)
    assert [tick.images_seen for tick in seen if tick.checkpoint] == due
    assert [tick.images_seen for tick in seen if tick.record and tick.record.validation] == due


@pytest.mark.parametrize("changes", [{"ema__recalibration": 0}, {"ema__recalibration": 3}, {"ema__recalibration": 33}])
def test_ema_generator_is_sampled_with_any_recalibration(changes):
    training = tiny_training(ema__half_life=100, **changes)
    assert [tick.images_seen for tick in ticks(new_state(training), 2, training)] == [0, 16]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@pytest.mark.parametrize("changes", [{}, {"ema__half_life": 100}, {"discriminator__dropout": 0.3}])
def test_resumed_gpu_training_ends_with_the_same_bits(changes):
    compute = Compute(torch.device("cuda"), "float32")
    training = tiny_training(**changes, deterministic=True)
    with deterministic_algorithms(True):
        whole, first, second = (new_state(training, compute) for _ in range(3))
        on_gpu = [Batch(batch.images.cuda(), batch.classes.cuda()) for batch in batches(8)]
        list(new_run(whole, training, compute).ticks(on_gpu, 64))
        list(new_run(first, training, compute).ticks(on_gpu[:3], 64))
        second.load_state_dict(first.state_dict())
        list(new_run(second, training, compute).ticks(on_gpu[3:], 64))
    pairs = zip(tensors_in(whole.state_dict()), tensors_in(second.state_dict()), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
