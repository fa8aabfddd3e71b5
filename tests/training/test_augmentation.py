import pytest
import torch
from engine import CPU

from kedro_dcgan.training.augmentation import augment, colour, cutout, flip, translation
from kedro_dcgan.training.data import Draws

NAMES = ("colour", "translation", "cutout")


def draws(seed=0):
    return Draws(torch.Generator().manual_seed(seed), CPU)


def images(count=200, size=16, channels=3):
    return torch.rand(count, channels, size, size, generator=draws(1).source) * 2 - 1


def test_flip_mirrors_half_of_the_images():
    before = images()
    after = flip(before, draws())
    mirrored = (after == before.flip(3)).flatten(1).all(dim=1)
    same = (after == before).flatten(1).all(dim=1)
    assert (mirrored ^ same).all()
    assert 70 < mirrored.sum() < 130


@pytest.mark.parametrize("name", NAMES)
def test_augmentation_depends_on_the_random_source_and_varies_between_images(name):
    before = images()
    after = augment(before, [name], draws())
    assert torch.equal(after, augment(before, [name], draws()))
    assert not torch.equal(after, augment(before, [name], draws(5)))
    same = augment(before[:1].expand(200, -1, -1, -1), [name], draws())
    assert len({tuple(image.flatten().tolist()) for image in same}) > 20


def test_no_augmentation_returns_the_images_unchanged():
    before = images()
    assert augment(before, [], draws()) is before


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_images(name):
    before = images().requires_grad_(True)
    augment(before, [name], draws()).square().sum().backward()
    assert (before.grad != 0).flatten(1).any(dim=1).all()


def test_translation_shifts_by_at_most_an_eighth_and_fills_with_zero():
    before = images(count=100, size=16)
    after = translation(before, draws())
    seen = set()
    for one, moved in zip(before, after, strict=True):
        shifts = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3) if torch.equal(shifted(one, dy, dx), moved)]
        assert len(shifts) == 1
        seen.update(shifts)
    assert len(seen) > 20  # of 25


def shifted(image, down, right):
    empty = torch.zeros_like(image)
    size = image.shape[1]
    rows, columns = slice(max(down, 0), size + min(down, 0)), slice(max(right, 0), size + min(right, 0))
    from_rows, from_columns = slice(max(-down, 0), size + min(-down, 0)), slice(max(-right, 0), size + min(-right, 0))
    empty[:, rows, columns] = image[:, from_rows, from_columns]
    return empty


@pytest.mark.parametrize("size", [16, 28, 15])
def test_cutout_masks_one_square_of_half_the_image_size(size):
    side = (size + 1) // 2
    after = cutout(torch.ones(400, 1, size, size), draws())
    tops, bottoms = set(), set()
    for image in after[:, 0]:
        gone = image == 0
        rows, columns = gone.any(dim=1).sum(), gone.any(dim=0).sum()
        assert gone.sum() == rows * columns  # a rectangle
        # The centre is inside the image, so at most half of the square is outside.
        assert side // 2 <= rows <= side
        assert side // 2 <= columns <= side
        tops.add(int(gone.any(dim=1).nonzero().min()))
        bottoms.add(int(gone.any(dim=1).nonzero().max()))
    # The extreme positions have half of the square outside.
    assert min(bottoms) == side - side // 2 - 1
    assert max(tops) == size - side // 2
    assert (after == 0).flatten(1).sum(dim=1).max() == side * side
    # The distribution of positions is symmetric.
    share = (after == 0).float().mean(dim=(0, 1))
    assert (share - share.flip(0)).abs().max() < 0.15
    assert (share - share.flip(1)).abs().max() < 0.15


def test_colour_changes_only_brightness_and_contrast_of_grey_images():
    # Saturation does not change a grey image, and brightness shifts its mean by at most 0.5.
    grey = images(channels=1)
    after = colour(grey, draws())
    moved = (after - grey).mean(dim=(1, 2, 3))
    assert moved.abs().max() <= 0.5
    contrast = after.flatten(1).std(dim=1) / grey.flatten(1).std(dim=1)
    assert contrast.min() > 0.49
    assert contrast.max() < 1.51
    assert moved.std() > 0.2
    assert contrast.std() > 0.2
