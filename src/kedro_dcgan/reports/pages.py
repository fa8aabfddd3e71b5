"""Render self-contained HTML pages, with their pictures as data URLs."""

import base64
import io

import jinja2
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

# Names of files and runs may contain markup: everything is escaped.
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("kedro_dcgan.reports", "."), autoescape=True, undefined=jinja2.StrictUndefined
)


def render_page(template: str, **values: object) -> str:
    """Return a page from a template of this package."""
    return _TEMPLATES.get_template(template).render(**values)


def data_url(data: bytes, media_type: str) -> str:
    """Return a URL that contains the data."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def svg_url(figure: Figure) -> str:
    """Return a URL that contains the figure as SVG."""
    stream = io.BytesIO()
    # Keep text as text, and make the SVG reproducible.
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "figure"}):
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return data_url(stream.getvalue(), "image/svg+xml")


def picture_url(picture: Image.Image | Figure) -> str:
    """Return a URL that contains the picture as PNG."""
    stream = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(stream, format="png", dpi=110)
    else:
        picture.save(stream, "PNG")
    return data_url(stream.getvalue(), "image/png")
