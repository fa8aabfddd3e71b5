"""Features that two processes have seen have the moments and the distance of one process that saw all."""

import pytest
import torch
from torch import distributed, multiprocessing

from kedro_dcgan.evaluation.frechet import FeatureMoments, Gaussian, frechet_distance

FEATURES = torch.randn(201, 8, generator=torch.Generator().manual_seed(0)) + 3


def see_a_share(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    seen = FeatureMoments.empty(8)
    for batch in FEATURES.split(25)[rank::2]:
        seen += FeatureMoments.of(batch)
    together = seen.over_all_ranks()
    torch.save(vars(together), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_two_ranks_have_the_statistics_of_one(tmp_path):
    multiprocessing.spawn(see_a_share, (str(tmp_path),), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    whole = FeatureMoments.of(FEATURES)
    other = Gaussian.of_features(torch.randn(90, 8, generator=torch.Generator().manual_seed(1)))
    expected = frechet_distance(Gaussian.of_moments(whole), other)
    for one in found:
        moments = FeatureMoments(**one)
        assert moments.count == 201
        assert torch.allclose(moments.covariance, whole.covariance, rtol=1e-12)
        assert frechet_distance(Gaussian.of_moments(moments), other) == pytest.approx(expected, rel=1e-10)
