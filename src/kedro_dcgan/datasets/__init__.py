"""Kedro datasets: the only place where the project's data meet the file system.

Whatever they write appears whole or not at all: a temporary name, fsync, then a rename.
"""

from kedro_dcgan.datasets.atomic import AtomicDataset
from kedro_dcgan.datasets.bytes_dataset import BytesDataset
from kedro_dcgan.datasets.image_folder_dataset import ImageFolderDataset
from kedro_dcgan.datasets.image_source_dataset import ImageSourceDataset
from kedro_dcgan.datasets.images import ImageShardsDataset
from kedro_dcgan.datasets.media import AnimationDataset
from kedro_dcgan.datasets.models import CheckpointsDataset
from kedro_dcgan.datasets.prepared_images_dataset import PreparedImagesDataset
from kedro_dcgan.datasets.previewed_datasets import PageDataset, PictureDataset, TableDataset
from kedro_dcgan.datasets.reference_features_dataset import ReferenceFeaturesDataset
from kedro_dcgan.datasets.sample_frames_dataset import SampleFramesDataset
from kedro_dcgan.datasets.trained_generator_dataset import TrainedGeneratorDataset
from kedro_dcgan.datasets.video_dataset import VideoDataset

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
