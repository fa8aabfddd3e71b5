"""Kedro datasets: the only place where pipelines meet the file system. They write atomically."""

from kedro_dcgan.datasets.files import (
    AtomicDataset,
    BytesDataset,
    ImageShardsDataset,
    ImageSourceDataset,
    ManifestDataset,
    PageDataset,
    PictureDataset,
    PreparedImagesDataset,
    TableDataset,
    TextDataset,
)
from kedro_dcgan.datasets.results import (
    AnimationDataset,
    CheckpointsDataset,
    EvaluationDataset,
    ImageFolderDataset,
    ReferenceFeaturesDataset,
    SampleFramesDataset,
    TrainedGeneratorDataset,
    TrainingRunDataset,
    VideoDataset,
)
from kedro_dcgan.datasets.sweeps import PresetDataset, SweepFilesDataset

__all__ = [
    "AnimationDataset", "AtomicDataset", "BytesDataset", "CheckpointsDataset", "EvaluationDataset",
    "ImageFolderDataset", "ImageShardsDataset", "ImageSourceDataset", "ManifestDataset", "PageDataset",
    "PictureDataset", "PreparedImagesDataset", "PresetDataset", "ReferenceFeaturesDataset", "SampleFramesDataset",
    "SweepFilesDataset", "TableDataset", "TextDataset", "TrainedGeneratorDataset", "TrainingRunDataset",
    "VideoDataset",
]  # fmt: skip
