"""Conditional training: networks, data and steps with classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from engine import CPU, LABELS, REAL, SHARES, new_run, new_state, ticks
from recipes import tiny_training, training_parameters

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shards import Classes, PreparedImages, StoredShard
from kedro_dcgan.errors import ParameterError
from kedro_dcgan.model.networks import DiscriminatorConfig, GeneratorConfig, logits_of
from kedro_dcgan.model.recipes import ARCHITECTURES, build_discriminator, build_generator, network_configs
from kedro_dcgan.model.sampling import (
    classes_of,
    generate_all,
    grid_columns,
    grid_inputs,
    input_batches,
    sample_inputs,
    to_model_range,
    with_classes,
)
from kedro_dcgan.training import step as step_module
from kedro_dcgan.training.data import batch_indices, seen_shares
from kedro_dcgan.training.losses import LOSSES, wrong_class_loss
from kedro_dcgan.training.plan import plan_training
from kedro_dcgan.training.regularisation import r1_penalty
from kedro_dcgan.training.state import create_state
from kedro_dcgan.training.step import Step

CONDITIONAL = {"conditional": True, "discriminator__batch_norm": False}
CONFIG = GeneratorConfig("dcgan", 16, 1, 6, 4, classes=("cat", "dog", "owl"), class_shares=(0.5, 0.3, 0.2))
IMAGES = to_model_range(REAL[:8])


def prepared(names, train, validation=(), test=()):
    """Return images with these labels in each split."""
    splits, start = {}, 0
    for split, labels in (("train", train), ("validation", validation), ("test", test)):
        splits[split] = (np.arange(start, start + len(labels)), np.array(labels, dtype=np.int64))
        start += len(labels)
    rows, labels = ({split: pair[index] for split, pair in splits.items()} for index in (0, 1))
    pixels = np.random.default_rng(0).integers(0, 256, (start, 1, 16, 16), dtype=np.uint8)
    classes = Classes(tuple(names), labels) if names else None
    return PreparedImages(16, 1, "digest", [StoredShard("0", "", pixels)], rows, classes=classes)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logit_is_that_of_the_image_plus_a_projection_of_its_class(architecture):
    size = {"digits28": 28, "notebook28": 28, "simpsons200": 16, "simpsons200_light": 16}.get(architecture, 16)
    discriminator = build_discriminator(
        DiscriminatorConfig(architecture, size, 1, 4, batch_norm=False, dropout=0.0, classes=3)
    )
    images, labels = torch.randn(5, 1, size, size), torch.tensor([0, 1, 2, 1, 0])
    features = discriminator.layers[:-1](images).flatten(1)
    kernels = discriminator.layers[-1].weight.flatten(1)
    bias = getattr(discriminator.layers[-1], "bias", None)
    bias = torch.zeros(4) if bias is None else bias
    expected = features @ kernels[0] + bias[0] + (features * kernels[1 + labels]).sum(dim=1) + bias[1 + labels]
    torch.testing.assert_close(discriminator(images, labels), expected)
    torch.testing.assert_close(logits_of(discriminator(images), labels), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_conditional_generators_take_latents_and_a_one_hot_class(architecture):
    size = {"digits28": 28, "notebook28": 28}.get(architecture, 16)
    config = replace(CONFIG, architecture=architecture, image_size=size)
    images = build_generator(config)(sample_inputs(4, config, seed=0))
    assert images.shape == (4, 1, size, size)
    # Without classes, the network is as large as before.
    plain = build_generator(replace(config, classes=(), class_shares=()))
    added = sum(p.numel() for p in build_generator(config).parameters()) - sum(p.numel() for p in plain.parameters())
    first = next(weight for weight in plain.parameters() if weight.dim() > 1)
    assert added == 3 * first.numel() // config.latent_dim


def test_latents_of_a_seed_do_not_depend_on_the_class():
    plain = replace(CONFIG, classes=(), class_shares=())
    drawn = sample_inputs(100, CONFIG, seed=5)
    assert torch.equal(drawn[:, :6], sample_inputs(100, plain, seed=5))
    of_dogs = sample_inputs(100, CONFIG, seed=5, label=1)
    assert torch.equal(of_dogs[:, :6], drawn[:, :6])
    assert classes_of(of_dogs, CONFIG).tolist() == [1] * 100
    # Any batch size gives the same rows.
    for size in (1, 7, 64):
        assert torch.equal(torch.cat(list(input_batches(100, CONFIG, 5, batch_size=size))), drawn)


def test_classes_are_drawn_by_their_shares():
    drawn = classes_of(sample_inputs(4000, CONFIG, seed=1), CONFIG)
    counts = torch.bincount(drawn, minlength=3) / 4000
    # Five standard deviations.
    assert counts.tolist() == pytest.approx(CONFIG.class_shares, abs=5 * (0.25 / 4000) ** 0.5)
    # Shares that rounding makes too small.
    config = replace(CONFIG, class_shares=(0.0, 0.0, 0.0))
    assert classes_of(sample_inputs(5, config, seed=1), config).tolist() == [2] * 5


def test_a_grid_has_a_row_of_the_same_latents_for_each_class():
    grid = grid_inputs(14, CONFIG, seed=3)
    assert grid_columns(14, CONFIG) == 4
    assert classes_of(grid, CONFIG).tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.equal(grid[:4, :6], grid[4:8, :6])
    # More classes than samples: one sample of each of the first classes.
    assert classes_of(grid_inputs(2, CONFIG, seed=3), CONFIG).tolist() == [0, 1]
    assert grid_columns(5, CONFIG) is None
    assert grid_columns(14, replace(CONFIG, classes=())) is None


def test_ticks_show_the_grid_and_judge_the_diversity_of_drawn_samples():
    training = tiny_training(**CONDITIONAL, grid_images=7)
    state = new_state(training)
    run = new_run(state, training)
    assert ticks(state, 2, training)[-1].samples.shape == (6, 1, 16, 16)
    shown = generate_all(state.generator, grid_inputs(7, state.generator.config, training.seed))
    assert torch.equal(run._sample()[:6], shown)
    drawn = generate_all(state.generator, sample_inputs(64, state.generator.config, training.seed))
    assert torch.equal(run._sample()[run._first_drawn :], drawn)


def test_fakes_have_the_classes_of_the_real_images(monkeypatch):
    training = tiny_training(**CONDITIONAL, penalties__r1=1.0, gradient_accumulation=2)
    state = new_state(training)
    seen = {"generator": [], "discriminator": [], "own": []}

    def own(logits, classes):
        seen["own"].append(classes.tolist())
        return logits_of(logits, classes)

    monkeypatch.setattr(step_module, "logits_of", own)
    forward = state.discriminator.forward

    def judge(images, classes=None):
        seen["discriminator"].append(classes if classes is None else classes.tolist())
        return forward(images, classes)

    state.discriminator.forward = judge
    state.generator.register_forward_pre_hook(
        lambda _, inputs: seen["generator"].append(classes_of(inputs[0], state.generator.config).tolist())
    )
    labels = torch.tensor([0, 1, 2, 0, 1, 1, 2, 2])
    Step(state, training, CPU)(IMAGES, labels)
    halves = [[0, 1, 2, 0], [1, 1, 2, 2]]
    assert seen["generator"][:2] == halves
    # D's update judges each image as every class; R1 and G's update use the image's own class.
    first, second = halves
    assert seen["discriminator"] == [None, first, None, second, first, second]
    # Real images, then fakes.
    assert seen["own"] == [first, first, second, second]


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_kernels_of_other_classes_learn_only_from_the_loss_on_wrong_classes(weight):
    training = tiny_training(**CONDITIONAL, wrong_class_weight=weight)
    state = new_state(training)
    before = state.discriminator.layers[-1].weight.detach().clone()
    Step(state, training, CPU)(IMAGES, torch.tensor([0, 2, 0, 2, 0, 2, 0, 2]))
    moved = [not torch.equal(*pair) for pair in zip(before, state.discriminator.layers[-1].weight, strict=True)]
    # The kernel of the logit, then those of cat, dog and owl.
    assert moved == [True, True, weight > 0, True]


@pytest.mark.parametrize("name", LOSSES)
def test_loss_on_wrong_classes_averages_over_them_by_their_shares(name):
    loss, classes, shares = LOSSES[name], [2, 0, 2, 1], [0.7, 0.2, 0.1]
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)) * 3
    expected = sum(
        share / (1 - shares[own]) * loss.fake(logits[image, other])
        for image, own in enumerate(classes)
        for other, share in enumerate(shares)
        if other != own
    )
    found = wrong_class_loss(loss, logits, torch.tensor(classes), torch.tensor(shares))
    torch.testing.assert_close(found, expected / 4)


def test_shares_that_training_sees_are_those_of_the_data_unless_balanced():
    assert seen_shares((0.75, 0.25), tiny_training(**CONDITIONAL)).tolist() == [0.75, 0.25]
    assert seen_shares((0.75, 0.25), tiny_training(**CONDITIONAL, class_sampling="balanced")).tolist() == [0.5, 0.5]
    assert len(seen_shares((), tiny_training())) == 0


def test_critics_have_no_loss_on_wrong_classes():
    weights = []
    for weight in (0.0, 0.5):
        training = tiny_training(**CONDITIONAL, loss="wgan_gp", wrong_class_weight=weight)
        state = new_state(training)
        Step(state, training, CPU)(IMAGES, LABELS[:8])
        weights.append(state.discriminator.layers[-1].weight)
    assert torch.equal(*weights)


def test_discriminator_learns_which_real_images_have_another_class():
    # Real images of two classes that differ in their brightness. The fakes do not learn.
    labels = torch.arange(8) % 2
    images = torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.2
    images += labels[:, None, None, None] * 1.4 - 0.8
    gaps = {}
    for weight in (0.0, 2.0):
        training = tiny_training(**CONDITIONAL, wrong_class_weight=weight, generator__learning_rate=1e-9)
        configs = network_configs(16, 1, training, {"dark": 0.5, "bright": 0.5})
        state = create_state(*configs, training, CPU)
        step = Step(state, training, CPU)
        for _ in range(60):
            step(images, labels)
        with torch.no_grad():
            gaps[weight] = float((state.discriminator(images, labels) - state.discriminator(images, 1 - labels)).mean())
    assert gaps[2.0] > 2 * gaps[0.0] > 0


def test_penalty_is_that_of_the_logit_of_the_class():
    class OneOfTwo(torch.nn.Module):
        def forward(self, images, classes):
            return images.flatten(1).sum(dim=1) * (1 + classes)

    # The gradient of class y has norm (1 + y) sqrt(256).
    found = r1_penalty(OneOfTwo(), IMAGES[:2], 2.0, torch.tensor([0, 1]))
    assert found.item() == pytest.approx((256 + 4 * 256) / 2)


def test_conditional_training_learns_the_brightness_of_two_classes():
    # Class 0 is dark, class 1 is bright.
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(256) % 2
    noise = torch.rand(256, 1, 16, 16, generator=source) * 0.2
    images = (noise + labels[:, None, None, None] * 1.4 - 0.8).clamp(-1, 1)
    training = tiny_training(**CONDITIONAL, discriminator__initialisation="he", penalties__r1=1.0)
    configs = network_configs(16, 1, training, {"dark": 0.5, "bright": 0.5})
    state = create_state(*configs, training, CPU)
    step = Step(state, training, CPU)
    for number in range(300):
        rows = torch.arange(8 * number, 8 * number + 8) % 256
        step(images[rows], labels[rows])
    dark, bright = (
        generate_all(state.generator, sample_inputs(32, configs[0], seed=1, label=label)).float().mean()
        for label in (0, 1)
    )
    assert dark < 80 < 170 < bright


def test_balanced_epochs_have_all_classes_equally_often():
    labels = np.array([0] * 30 + [1] * 3 + [3] * 7)
    epoch = np.concatenate(list(batch_indices(40, 8, range(5), seed=0, balanced=labels)))
    counts = np.bincount(labels[epoch], minlength=4)
    assert sorted(counts.tolist()) == [0, 13, 13, 14]
    # No image of the large class is repeated, and none of the small ones twice as often as another.
    assert np.bincount(epoch, minlength=40)[:30].max() == 1
    assert np.bincount(epoch, minlength=40)[30:33].min() >= 4
    # A training can resume at any batch.
    rest = np.concatenate(list(batch_indices(40, 8, range(3, 5), seed=0, balanced=labels)))
    assert np.array_equal(epoch[24:], rest)
    assert not np.array_equal(epoch, np.concatenate(list(batch_indices(40, 8, range(5, 10), 0, labels))))


def test_plan_has_the_classes_and_their_shares():
    images = prepared(("cat", "dog"), [0] * 12 + [1] * 4)
    plan = plan_training(images, tiny_training(**CONDITIONAL))
    assert (plan.generator.classes, plan.generator.class_shares) == (("cat", "dog"), (0.75, 0.25))
    assert plan.discriminator.classes == 2
    assert plan.fingerprint["labels"] == images.classes.digest()
    # Samples have the shares of the data, whatever the training sees.
    balanced = plan_training(images, tiny_training(**CONDITIONAL, class_sampling="balanced"))
    assert balanced.generator == plan.generator
    others = plan_training(prepared(("cat", "cow"), [0] * 12 + [1] * 4), tiny_training(**CONDITIONAL))
    assert len({plan.training_id, balanced.training_id, others.training_id}) == 3


def test_fingerprint_without_classes_is_that_of_earlier_versions():
    images = prepared(("cat", "dog"), [0] * 12 + [1] * 4)
    fingerprint = plan_training(images, tiny_training()).fingerprint
    assert not any(
        "class" in key or "conditional" in key or "label" in key for key in set(fingerprint) - {"training.real_label"}
    )
    # The digests of these networks before there were classes.
    assert (fingerprint["generator"], fingerprint["discriminator"]) == ("86a17239878a", "cbc96634205d")
    assert fingerprint["images"] == "digest"


@pytest.mark.parametrize(
    ("names", "train", "facts"),
    [
        ((), [0] * 16, ["label"]),
        (("cat",), [0] * 16, ["cat"]),
        (("cat", "dog", "owl"), [0] * 12 + [2] * 4, ["dog", "train split"]),
        ([f"c{number}" for number in range(1001)], [0] * 16, ["1,001", "1,000"]),
    ],
)
def test_images_that_cannot_be_conditional_are_refused(names, train, facts):
    with pytest.raises(ParameterError) as raised:
        plan_training(prepared(names, train), tiny_training(**CONDITIONAL))
    for fact in ("training.conditional", *facts):
        assert fact in str(raised.value)
    # Without a request, they are trained without classes.
    images = prepared(names, train)
    training = training_parameters(conditional="auto").for_images(16, images.class_counts())
    assert training.conditional is False


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([10, 10], True), ([10, 9], False), ([500], False), ([], False), ([10] * 1000, True), ([10] * 1001, False)],
)
def test_auto_needs_enough_images_of_each_of_a_few_classes(counts, expected):
    training: TrainingParameters = training_parameters(conditional="auto")
    assert training.for_images(1000, counts).conditional is expected
    assert training_parameters(conditional=False).for_images(1000, [50, 50]).conditional is False


def test_labels_join_their_own_latents():
    latents = torch.randn(3, 6)
    joined = with_classes(latents, torch.tensor([2, 0, 1]), CONFIG)
    assert joined[:, 6:].tolist() == [[0, 0, 1], [1, 0, 0], [0, 1, 0]]
    plain = replace(CONFIG, classes=(), class_shares=())
    assert with_classes(latents, None, plain) is latents
    assert len(SHARES) == int(LABELS.max()) + 1


def test_classes_must_be_given_exactly_if_the_generator_has_them():
    plain = replace(CONFIG, classes=(), class_shares=())
    labels = torch.tensor([0, 1])
    with pytest.raises(ValueError, match="classes"):
        build_discriminator(DiscriminatorConfig("dcgan", 16, 1, 4))(IMAGES[:2], labels)
    for config, classes in ((CONFIG, None), (plain, labels)):
        with pytest.raises(ValueError, match="classes"):
            with_classes(torch.randn(2, 6), classes, config)


def test_balanced_sampling_needs_conditional_training():
    with pytest.raises(ValueError, match="class_sampling"):
        training_parameters(class_sampling="balanced")
