"""Kedro datasets: the only place where pipelines meet the file system. They write atomically."""

from kedro_dcgan.datasets.files import (
    AtomicDataset,
    BytesDataset,
    ImageShardsDataset,
    ImageSourceDataset,
    PageDataset,
    PictureDataset,
    PreparedImagesDataset,
    TableDataset,
    TextDataset,
)
from kedro_dcgan.datasets.results import (
    AnimationDataset,
    CheckpointsDataset,
    ImageFolderDataset,
    ReferenceFeaturesDataset,
    SampleFramesDataset,
    TrainedGeneratorDataset,
    VideoDataset,
)

__all__ = [
    "AnimationDataset", "AtomicDataset", "BytesDataset", "CheckpointsDataset", "ImageFolderDataset",
    "ImageShardsDataset", "ImageSourceDataset", "PageDataset", "PictureDataset", "PreparedImagesDataset",
    "ReferenceFeaturesDataset", "SampleFramesDataset", "TableDataset", "TextDataset", "TrainedGeneratorDataset",
    "VideoDataset",
]  # fmt: skip
