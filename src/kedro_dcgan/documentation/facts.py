"""Tables of the reference pages: the manifest, the limits of the server and the metrics."""

from kedro_dcgan.config.pages import table
from kedro_dcgan.data import NOT_COUNTED, Reason
from kedro_dcgan.data.manifest import COLUMNS
from kedro_dcgan.model import image_requests, serving
from kedro_dcgan.reports.evaluation import METRICS


def describe_columns() -> str:
    """Return the table of the columns of the manifest."""
    return table(("column", "content"), [(f"`{name}`", content) for name, content in COLUMNS.items()])


def describe_reasons() -> str:
    """Return the table of the reasons for which inputs are skipped."""
    rows = [(f"`{reason}`", reason.meaning, "no" if reason in NOT_COUNTED else "yes") for reason in Reason]
    return table(("reason", "meaning and remedy", "counts"), rows)


def describe_limits() -> str:
    """Return the table of what the server refuses, and with which status."""
    mebibytes, side = image_requests.MAX_PIXEL_BYTES // 2**20, 32
    batch = serving.BATCH_PIXELS // side**2
    rows = [
        (
            f"{image_requests.MAX_IMAGES:,} images per request; fewer if they have more than {mebibytes} MiB of pixels",
            "400",
        ),
        (f"`seed`: 0 to {image_requests.MAX_SEED:,}", "400"),
        (f"latents: -{image_requests.MAX_LATENT:g} to {image_requests.MAX_LATENT:g}", "400"),
        (f"{serving.SECONDS_TO_SEND} seconds to send a body", "408"),
        (f"{serving.MAX_BODY_BYTES // 2**20} MiB per body", "413"),
        (f"{serving.MAX_CONNECTIONS} connections", "503"),
        (
            f"{serving.QUEUED_REQUESTS} of the largest requests in the queue; requests of up to one batch "
            f"({batch} images of {side}x{side}) are always accepted",
            "503, with `Retry-After`",
        ),
        (f"{serving.SECONDS_IDLE} seconds without a request on an open connection", "none: the connection is closed"),
    ]
    return table(("limit", "status beyond it"), rows)


def describe_metrics() -> str:
    """Return the table of all metrics that an evaluation can write."""
    rows = []
    for name, text in METRICS.items():
        facts = [text.range, f"{text.better} is better" if text.better else "", text.paper]
        rows.append((f"`{name}`", f"{text.title}. {text.meaning}<br>*{' · '.join(filter(None, facts))}*"))
    return table(("metric", "definition"), rows)
