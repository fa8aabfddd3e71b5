"""Three trainings of different lengths, compared in MLflow's UI, in a table and on the comparison page."""

import json
import os
import re
import signal
import subprocess

import pytest
from browser import CHROMIUM, DRIVER, Browser
from projects import command_environment, copy_project, require_program
from servers import free_port

pytestmark = pytest.mark.slow

LENGTHS = (1, 3, 6)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with three trainings: the 10, 30 and 60 epochs of the faces source, scaled down."""
    project = copy_project(tmp_path_factory.mktemp("compare") / "kedro-dcgan")
    project.kedro("run", "--env=smoke", "--pipelines=ingestion,preprocessing")
    for epochs in LENGTHS:
        length = f"training.epochs={epochs},training.images_per_tick=1000"
        project.kedro("run", "--env=smoke", "--pipelines=training,evaluation", "--params", length)
    return project


@pytest.fixture(scope="module")
def compared(project):
    return project.kedro("dcgan", "compare").stdout


def names_of(table):
    return [name.strip() for name in table.splitlines()[0].split("|")[2:-1]]


def test_table_has_metrics_with_intervals_and_differing_parameters(compared):
    names = names_of(compared)
    assert len(names) == 3
    rows = {line.split("|")[1].strip(" `"): line.split("|")[2:-1] for line in compared.splitlines() if "|" in line}
    (distance,) = [cells for name, cells in rows.items() if re.fullmatch(r"fd_.*_test", name)]
    assert all(re.search(r"\[.*, .*\]", cell) for cell in distance)
    assert len({float(cell) for cell in rows["training.epochs"]}) == 3
    assert not [name for name in rows if name.startswith("training.") and name != "training.epochs"]
    kimg = [float(cell) for cell in rows["kimg"]]
    assert kimg == sorted(kimg)


def test_runs_are_found_by_name_and_id_and_invalid_arguments_are_errors(project, compared):
    names = names_of(compared)
    ids = [json.loads(file.read_text())["run_id"] for file in project.path.glob("data/09_tracking/*/sent.json")]
    other = project.kedro(
        "dcgan", "compare", names[0], ids[0][:10], "--report", str(project.path / "two.html"), check=False
    )
    if other.returncode:
        # Both arguments named the same run.
        other = project.kedro("dcgan", "compare", names[0], ids[1][:10], "--report", str(project.path / "two.html"))
    assert (project.path / "two.html").is_file()
    unknown = project.kedro("dcgan", "compare", "nobody", names[0], check=False)
    assert unknown.returncode == 1
    assert "Error: `nobody`" in unknown.stderr
    alone = project.kedro("dcgan", "compare", names[0], check=False)
    assert "at least two" in alone.stderr


@pytest.fixture(scope="module")
def browser():
    made = Browser(1900, 1150)
    yield made
    made.close()


@pytest.fixture(scope="module")
def ui_address(project):
    """The address that `kedro dcgan ui` prints."""
    port = free_port()
    command = ["kedro", "dcgan", "ui", "--port", str(port)]
    started = subprocess.Popen(
        command,
        cwd=project.path,
        env=command_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    address = started.stdout.readline().split()[0]
    listening = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=False).stdout
    assert not listening or "127.0.0.1" in listening
    yield address
    os.killpg(started.pid, signal.SIGTERM)
    started.wait(30)


def open_ui(browser, address, *texts):
    """Open a page of MLflow's UI once the server answers, without the assistant panel."""
    from selenium.common.exceptions import WebDriverException

    def is_open(_):
        try:
            browser.open(address)
        except WebDriverException:
            return False
        return True

    # The server has just started and spends seconds on imports.
    browser.wait(is_open, 180)
    browser.driver.execute_script("localStorage.setItem('mlflow.assistant.panelOpen_v1', 'false')")
    browser.driver.execute_script("localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')")
    # The browser does not reload an address that differs only after the #.
    browser.open("about:blank")
    browser.open(address)
    browser.wait_for_text(*texts)


def save_screenshot(browser, name, folder):
    target = folder / f"{name}.png"
    browser.save(target)
    assert target.stat().st_size > 20_000


@require_program("chromium", bool(CHROMIUM and DRIVER))
def test_mlflow_runs_table_has_columns_for_metrics_parameters_and_tags(browser, ui_address, compared, tmp_path):
    open_ui(browser, ui_address, *names_of(compared), "3 matching runs")
    browser.wait_for_text("Metrics", "verdict", "preset")
    # The grid has only the columns in the window.
    columns = browser.wait(lambda _: _whole_columns(browser))
    assert columns[:5] == ["Run Name", "Created", "verdict", "fd_efflite0_64_100_test", "preset"]
    assert columns[5:7] == ["training.epochs", "preprocessing.image_size"]
    assert "quality" in browser.text()
    # Each run has a verdict, and none is cut.
    verdicts = browser.driver.execute_script(
        "return [...document.querySelectorAll('.ag-cell[col-id=\"tags.`verdict`\"] .ag-cell-value')]"
        ".map(cell => [cell.innerText, cell.scrollWidth <= cell.clientWidth])"
    )
    assert len(verdicts) == 3
    assert all(text.startswith("undertrained") for text, _ in verdicts)
    assert all(is_whole for text, is_whole in verdicts if text == "undertrained, found by the evaluation")
    save_screenshot(browser, "mlflow-table", tmp_path)


@require_program("chromium", bool(CHROMIUM and DRIVER))
def test_mlflow_compare_view_overlays_curves_and_shows_sample_grids(browser, ui_address, compared, tmp_path):
    names = names_of(compared)
    open_ui(
        browser,
        f"{ui_address}&compareRunsMode=CHART",
        "Samples",
        "Training",
        *[f"{name} (generator_loss)" for name in names],
    )
    # The first window has the latest samples of each run, and curves.
    latest = _sample_grids(browser, "latest_samples")
    assert all(bottom < 1000 for _, _, bottom in latest)
    # One chart shows all three runs. (Charts are drawn after their headings.)
    lines = browser.wait(
        lambda driver: driver.execute_script(
            "const charts = [...document.querySelectorAll('.js-plotly-plot')]"
            ".map(plot => (plot.data || []).map(line => [line.name, (line.y || []).length]));"
            "return charts.some(chart => chart.length >= 3) ? charts : null"
        )
    )
    longest = max(lines, key=lambda chart: len({length for _, length in chart}))
    assert len({length for _, length in longest}) == 3
    save_screenshot(browser, "mlflow-compare", tmp_path)
    # Below are the samples of each run at a common step.
    heading = browser.driver.find_element("xpath", "//*[text()='Samples at the same step']")
    browser.driver.execute_script("arguments[0].scrollIntoView()", heading)
    assert not {source for source, _, _ in _sample_grids(browser, "samples")} & {source for source, _, _ in latest}


def _whole_columns(browser):
    """Return the names of the table's columns that are whole within the window, from left to right."""
    return browser.driver.execute_script(
        "const box = element => element.getBoundingClientRect();"
        "const right = box(document.querySelector('.ag-root')).right;"
        "return [...document.querySelectorAll('.ag-header-cell[col-id]')]"
        ".map(cell => [box(cell), cell.querySelector('[data-testid^=sort-header]')])"
        ".filter(([cell, name]) => name && cell.right <= right && box(name).right < cell.right)"
        ".sort((one, other) => one[0].left - other[0].left).map(([, name]) => name.innerText)"
    )


def _sample_grids(browser, key):
    """Wait for the sample grids of three runs; return the address, the width and the bottom of each in pixels."""

    def displayed(driver):
        found = driver.execute_script(
            "return [...document.images].map(i => [i.src, i.naturalWidth, i.getBoundingClientRect().bottom])"
        )
        grids = [(source, *sizes) for source, *sizes in found if f"images%2F{key}%2Bstep" in source]
        return len({source for source, _, _ in grids}) == 3 and all(width > 100 for _, width, _ in grids) and grids

    return browser.wait(displayed)


@require_program("chromium", bool(CHROMIUM and DRIVER))
def test_comparison_page_opens_from_a_file_with_all_images(browser, project, compared, tmp_path):
    page = project.path / "data/08_reporting/comparison.html"
    browser.open(page.as_uri())
    browser.wait_for_text("3 trained generators", "Samples at the end of training", "Metrics", "Differences")
    widths = browser.driver.execute_script("return [...document.images].map(i => i.naturalWidth)")
    assert len(widths) >= 4
    assert all(widths)
    errors = [
        entry
        for entry in browser.driver.get_log("browser")
        if entry["level"] == "SEVERE" and "file:" in entry["message"]
    ]
    assert not errors
    # The file contains everything.
    assert not re.findall(r'(?:src|href)="(?!data:)', page.read_text())
    save_screenshot(browser, "comparison", tmp_path)
