"""The command that writes a generator as a page to play with."""

from pathlib import Path

import click

from kedro_dcgan.cli.command import OutputPath, dcgan, preset_option, project_folder
from kedro_dcgan.cli.models import chosen_generator, generator_option
from kedro_dcgan.storage import atomic_file


@dcgan.command()
@click.option(
    "--output",
    type=OutputPath(dir_okay=False, path_type=Path),
    default=None,
    help="HTML file. Default: data/08_reporting/explorer.html.",
)
@generator_option
@preset_option
def explore(output: Path | None, model: str | None, env: str | None) -> None:
    """Write a page that runs the generator in a browser.

    One file for people without Python: it opens from disk and needs no connection.
    """
    # torch takes seconds to import.
    from kedro_dcgan.model.export import exported_program, require_same_images, to_onnx
    from kedro_dcgan.reports.explorer import write_explorer_page

    file = output or project_folder() / "data/08_reporting/explorer.html"
    trained = chosen_generator(model, env)
    network = trained.build()
    onnx_model = to_onnx(exported_program(network), trained)
    require_same_images(network, onnx_model)
    page = write_explorer_page(trained, onnx_model)
    with atomic_file(file) as temporary:
        temporary.write_text(page, encoding="utf-8")
    click.echo(f"explorer, {len(page.encode()) / 1e6:.1f} MB -> {file}")
