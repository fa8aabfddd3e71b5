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


def test_flip_mirrors_half_of_the_images_and_leaves_the_others():
    before = images()
    after = flip(before, draws())
    mirrored = (after == before.flip(3)).flatten(1).all(dim=1)
    same = (after == before).flatten(1).all(dim=1)
    assert (mirrored ^ same).all()
    assert 70 < mirrored.sum() < 130


@pytest.mark.parametrize("name", NAMES)
def test_equal_sources_augment_equally_and_each_image_for_itself(name):
    before = images()
    after = augment(before, [name], draws())
    assert torch.equal(after, augment(before, [name], draws()))
    assert not torch.equal(after, augment(before, [name], draws(5)))
    same = augment(before[:1].expand(200, -1, -1, -1), [name], draws())
    assert len({tuple(image.flatten().tolist()) for image in same}) > 20


def test_nothing_is_done_without_a_name():
    before = images()
    assert augment(before, [], draws()) is before


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_images(name):
    before = images().requires_grad_(True)
    augment(before, [name], draws()).square().sum().backward()
    assert (before.grad != 0).flatten(1).any(dim=1).all()


def test_translation_moves_whole_images_by_at_most_an_eighth_and_fills_with_zero():
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
def test_cutout_takes_one_square_of_half_the_size(size):
    side = (size + 1) // 2
    after = cutout(torch.ones(400, 1, size, size), draws())
    tops, bottoms = set(), set()
    for image in after[:, 0]:
        gone = image == 0
        rows, columns = gone.any(dim=1).sum(), gone.any(dim=0).sum()
        assert gone.sum() == rows * columns  # a rectangle
        # Its centre is in the image: at most half of it is beyond the border.
        assert side // 2 <= rows <= side
        assert side // 2 <= columns <= side
        tops.add(int(gone.any(dim=1).nonzero().min()))
        bottoms.add(int(gone.any(dim=1).nonzero().max()))
    # From where its upper half is beyond the border to where its lower half is.
    assert min(bottoms) == side - side // 2 - 1
    assert max(tops) == size - side // 2
    assert (after == 0).flatten(1).sum(dim=1).max() == side * side
    # Each place is as likely as its mirror image.
    share = (after == 0).float().mean(dim=(0, 1))
    assert (share - share.flip(0)).abs().max() < 0.15
    assert (share - share.flip(1)).abs().max() < 0.15


def test_colour_keeps_what_a_grey_image_has_no_share_in():
    # Without colour saturation changes nothing; brightness moves the mean by at most a half.
    grey = images(channels=1)
    after = colour(grey, draws())
    moved = (after - grey).mean(dim=(1, 2, 3))
    assert moved.abs().max() <= 0.5
    contrast = after.flatten(1).std(dim=1) / grey.flatten(1).std(dim=1)
    assert contrast.min() > 0.49
    assert contrast.max() < 1.51
    assert moved.std() > 0.2
    assert contrast.std() > 0.2
