"""The generated parts of the reference pages are up to date, and all of them are used.

To update them: `python -m kedro_dcgan.documentation`.
"""

import json
import re
from pathlib import Path

import pytest
import yaml
from image_server import ask, make_generator, running_server

from kedro_dcgan.data import Reason
from kedro_dcgan.data.manifest import COLUMNS
from kedro_dcgan.documentation import FOLDER, blocks, generated_pages, names_of_blocks
from kedro_dcgan.model import serving
from kedro_dcgan.model.synthetic_marks import SyntheticMark
from kedro_dcgan.pipeline_registry import register_pipelines

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def pages():
    """The text that each page with generated blocks should have, by name."""
    return {file.name: text for file, text in generated_pages(ROOT).items()}


def first_column(text):
    return re.findall(r"^\| `([^`]+)`", text, flags=re.MULTILINE)


def test_generated_blocks_are_up_to_date():
    assert [str(file) for file, text in generated_pages(ROOT).items() if file.read_text() != text] == []


def test_every_block_is_on_one_page(pages):
    assert sorted(name for text in pages.values() for name in names_of_blocks(text)) == sorted(blocks(ROOT))


def test_stale_block_is_replaced_and_the_text_around_it_is_kept(tmp_path):
    page = tmp_path / FOLDER / "page.md"
    page.parent.mkdir(parents=True)
    page.write_text("Mine.\n\n<!-- generated: skip reasons -->\nstale row\n<!-- end of generated -->\n\nMine, too.\n")
    (text,) = generated_pages(tmp_path).values()
    assert text.startswith("Mine.\n\n<!-- generated: skip reasons -->\n\n| reason |")
    assert text.endswith("|\n\n<!-- end of generated -->\n\nMine, too.\n")
    assert "stale row" not in text
    page.write_text(text)
    assert generated_pages(tmp_path) == {page: text}
    page.write_text("<!-- generated: jokes -->\n<!-- end of generated -->\n")
    with pytest.raises(KeyError, match="jokes"):
        generated_pages(tmp_path)


def test_pages_name_all_columns_reasons_datasets_and_nodes(pages):
    assert first_column(pages["manifest.md"]) == [*COLUMNS, *Reason]
    assert all(reason.meaning for reason in Reason)
    catalog = yaml.safe_load((ROOT / "conf/base/catalog.yml").read_text())
    assert sorted(first_column(pages["datasets.md"])) == sorted(catalog)
    nodes = {node.name.rpartition(".")[2] for pipeline in register_pipelines().values() for node in pipeline.nodes}
    assert nodes < set(first_column(pages["pipelines.md"]))


def test_no_page_has_a_line_that_breaks_a_table(pages):
    for name, text in pages.items():
        for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
            assert len({line.count("|") for line in table.splitlines()}) == 1, name


def test_documented_requests_and_routes_are_those_of_the_server(pages):
    page = pages["http-api.md"]
    generator = make_generator("digits28", 28, 1, 3, 1)
    bodies = [json.loads(body) for body in re.findall(r'^(\{"dataframe.*\})$', page, flags=re.MULTILINE)]
    routes = re.findall(r"^\| (`/.*?) \| (\w+) \|", page, flags=re.MULTILINE)
    with running_server(generator) as (_, port):
        answers = [ask(port, body) for body in bodies]
        assert ask(port, {"dataframe_records": [{}]})[1] == json.loads(
            re.search(r'^\{"error_code".*\}$', page, re.M)[0]
        )
        assert ask(port, b"", "GET", "/health")[1].keys() < {"status", "model", "version", "images_seen"}
    assert [status for status, _ in answers] == [200, 200]
    assert [len(answer["predictions"]) for _, answer in answers] == [5, 5]
    assert answers[0] == answers[1]
    assert set(answers[0][1]["predictions"][0]) == {"row", "index", "png"}
    app = serving._create_app(generator, SyntheticMark(), {}, 1)
    paths = {path: method for names, method in routes for path in re.findall("`(.*?)`", names)}
    assert {route.path for route in app.routes} == set(paths)
    assert all(paths[route.path] in route.methods for route in app.routes)
