"""A video: H.264 in MP4, which browsers and telephones play."""

from fractions import Fraction

import numpy as np

from kedro_dcgan.datasets.media import AnimationDataset
from kedro_dcgan.images.grid import Animation
from kedro_dcgan.storage import atomic_file


class VideoDataset(AnimationDataset):
    """Writes pictures as an MP4 that rests on its last picture.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "progress.mp4"
        >>> pictures = [np.full((5, 7), level, dtype=np.uint8) for level in (0, 99, 200)]
        >>> VideoDataset(filepath=path).save(Animation(pictures, frames_per_second=2))
        >>> import av
        >>> with av.open(str(path)) as video:
        ...     sum(1 for _ in video.decode(video=0))  # the last one rests for 1.5 seconds
        6
    """

    def save(self, data: Animation) -> None:
        """Write the file."""
        # Here, because only export needs it.
        import av

        rest = [data.pictures[-1]] * round(self.REST_SECONDS * data.frames_per_second)
        height, width = _even(data.pictures[0]).shape[:2]
        with atomic_file(self.path) as temporary, av.open(str(temporary), "w") as video:
            rate = Fraction(data.frames_per_second).limit_denominator(1000)
            # Few pictures, seen one by one: nearly without loss. Half the colours is what all players know.
            stream = video.add_stream("libx264", rate=rate, options={"crf": "12", "preset": "slow"})
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for picture in [*data.pictures, *rest]:
                video.mux(stream.encode(av.VideoFrame.from_ndarray(_even(picture), format="rgb24")))
            video.mux(stream.encode(None))


def _even(picture: np.ndarray) -> np.ndarray:
    # RGB, with a black line more where a side is odd, which the format does not allow.
    colour = picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)
    return np.pad(colour, [(0, colour.shape[0] % 2), (0, colour.shape[1] % 2), (0, 0)])
