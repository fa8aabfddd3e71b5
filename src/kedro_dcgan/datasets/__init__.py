"""Kedro datasets: the only place where pipelines meet the file system. They write atomically."""

from kedro_dcgan.datasets.files import (
    AtomicDataset,
    BytesDataset,
    DatasetCardDataset,
    HistoryDataset,
    ImageShardsDataset,
    ImageSourceDataset,
    ManifestDataset,
    PageDataset,
    PictureDataset,
    PreparedImagesDataset,
    TableDataset,
    TextDataset,
)
from kedro_dcgan.datasets.pictures import (
    AnimationDataset,
    ImageFolderDataset,
    MarkedPictureDataset,
    SampleFramesDataset,
    VideoDataset,
)
from kedro_dcgan.datasets.results import (
    CheckpointsDataset,
    EvaluationDataset,
    ReferenceFeaturesDataset,
    TrainedGeneratorDataset,
    TrainingRunDataset,
)
from kedro_dcgan.datasets.sweeps import PresetDataset, SweepFilesDataset

__all__ = [
    "AnimationDataset", "AtomicDataset", "BytesDataset", "CheckpointsDataset", "DatasetCardDataset",
    "EvaluationDataset", "HistoryDataset", "ImageFolderDataset", "ImageShardsDataset", "ImageSourceDataset",
    "ManifestDataset", "MarkedPictureDataset", "PageDataset", "PictureDataset", "PreparedImagesDataset",
    "PresetDataset", "ReferenceFeaturesDataset", "SampleFramesDataset", "SweepFilesDataset", "TableDataset",
    "TextDataset", "TrainedGeneratorDataset", "TrainingRunDataset", "VideoDataset",
]  # fmt: skip
