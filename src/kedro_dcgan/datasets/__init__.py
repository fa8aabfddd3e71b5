"""Kedro datasets: the only place where the project's data meet the file system.

Whatever they write appears whole or not at all: a temporary name, fsync, then a rename.
"""

from kedro_dcgan.datasets.atomic import AtomicDataset, BytesDataset, PageDataset, PictureDataset, TableDataset
from kedro_dcgan.datasets.images import (
    ImageFolderDataset,
    ImageShardsDataset,
    ImageSourceDataset,
    PreparedImagesDataset,
)
from kedro_dcgan.datasets.media import AnimationDataset, SampleFramesDataset, VideoDataset
from kedro_dcgan.datasets.models import CheckpointsDataset, ReferenceFeaturesDataset, TrainedGeneratorDataset

__all__ = [
    "AnimationDataset",
    "AtomicDataset",
    "BytesDataset",
    "CheckpointsDataset",
    "ImageFolderDataset",
    "ImageShardsDataset",
    "ImageSourceDataset",
    "PageDataset",
    "PictureDataset",
    "PreparedImagesDataset",
    "ReferenceFeaturesDataset",
    "SampleFramesDataset",
    "TableDataset",
    "TrainedGeneratorDataset",
    "VideoDataset",
]
