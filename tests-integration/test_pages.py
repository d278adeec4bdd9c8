"""What a person sees: the pages of the trackers that have a server here, in a real browser."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
from nine import HERE, Place, needs
from servers import PATIENCE, free_port, mlflow_server, serving

from tracking_core import Histogram, Tracking

METRIC = "loss_of_the_page"
# Nothing of what a browser does by itself: it would look for servers that are not here.
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    sync_api = needs("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("there is no Chromium here (Debian's package is chromium)")
    with sync_api.sync_playwright() as playwright:
        home = str(tmp_path_factory.mktemp("browser"))
        browser = playwright.chromium.launch(
            executable_path=program,
            args=QUIET,
            env={**os.environ, "HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home},
        )
        yield browser
        browser.close()


def logged(place: Place, name: str) -> Any:
    """A finished run of one tracker; its identity."""
    if name not in HERE:
        pytest.skip(f"tracking-{name} is not installed here")
    tracking = Tracking(name, place.logging_dir, delivery="inline")
    tracking.init_trackers(place.project, config={"lr": 0.5})
    for step in range(20):
        tracking.log({METRIC: 1 / (step + 1)}, step=step)
    identity = tracking.get_tracker(name).identity()
    tracking.end_training()
    return identity


def shows(browser: Any, address: str, text: str = METRIC) -> None:
    """Open the page, and wait until it shows `text`."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    try:
        page.goto(address, timeout=PATIENCE * 1000)
        page.get_by_text(text).first.wait_for(timeout=PATIENCE * 1000)
    finally:
        page.close()


def test_tensorboards_page_shows_the_metric(browser: Any, place: Place) -> None:
    logged(place, "tensorboard")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", place.logging_dir]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    with serving(command, f"{address}/data/runs", TMPDIR=str(place.root)):
        shows(browser, f"{address}/#timeseries")


def test_mlflows_page_shows_the_metric(browser: Any, place: Place) -> None:
    run = logged(place, "mlflow")
    store = place.variables()["MLFLOW_TRACKING_URI"]
    with mlflow_server(store, place.root / "artifacts", free_port()) as address:
        experiment = run["experiment_id"]
        shows(browser, f"{address}/#/experiments/{experiment}/runs/{run['run_id']}")


def test_mlflows_page_opens_with_all_pictures(browser: Any, place: Place) -> None:
    tracking = Tracking("mlflow", delivery="inline")
    tracking.init_trackers(place.project)
    pictures = [numpy.full((40, 40), shade, "uint8") for shade in (10, 120, 230)]
    tracking.log_images({"listed": pictures}, step=3)
    for step in (4, 9):
        tracking.log({"weights/layer 1": Histogram(numpy.linspace(-step, step))}, step=step)
    run = tracking.get_tracker("mlflow").identity()
    tracking.end_training()
    store = place.variables()["MLFLOW_TRACKING_URI"]
    with mlflow_server(store, place.root / "artifacts", free_port()) as address:
        page = browser.new_page(viewport={"width": 1400, "height": 2000})
        experiment = run["experiment_id"]
        page.goto(f"{address}/#/experiments/{experiment}/runs/{run['run_id']}/model-metrics")
        shown = "one => one.src.includes('artifact') && one.naturalWidth"
        page.wait_for_function(
            f"[...document.images].filter({shown}).length === 4", timeout=PATIENCE * 1000
        )
        for title in ("listed/0", "listed/1", "listed/2", "weights/layer 1"):
            assert page.get_by_text(title, exact=True).count() == 1
        assert page.get_by_text("No image logged at this step").count() == 0
        assert page.get_by_text("_x_").count() == 0
        page.close()


def test_aims_page_shows_the_metric(browser: Any, place: Place) -> None:
    run = logged(place, "aim")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # What `aim up` starts, without the process that waits for it.
    command = [sys.executable, "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--log-level", "error", "aim.web.run:app"]
    repository = {"__AIM_UI_MOUNT_REPO_PATH__": place.logging_dir, "__AIM_ENV_MODE__": "prod"}
    with serving(command, f"{address}/api/projects/", **repository):
        shows(browser, f"{address}/runs/{run['run_hash']}/metrics")


def test_trackios_page_shows_the_metric(browser: Any, place: Place) -> None:
    logged(place, "trackio")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    show = f"trackio.show(open_browser=False, block_thread=True, server_port={port})"
    with serving([sys.executable, "-c", f"import trackio; {show}"], f"{address}/version"):
        shows(browser, f"{address}/?project={place.project}")
