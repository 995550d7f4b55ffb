"""A real JupyterLab and a real browser for tests, each ended whatever happens."""

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from lib.artefacts import ROOT

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-quic"),
]
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PATIENCE_S = 100  # on a busy machine; alone it takes 5 s


@contextlib.contextmanager
def chromium():
    """A headless browser; the test is skipped, and says so, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as driver:
        installed = [path for path in map(shutil.which, NAMES) if path]
        if not installed and not os.path.exists(driver.chromium.executable_path):
            pytest.skip("needs Chromium: no browser is installed")
        path = installed[0] if installed else None
        browser = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def jupyterlab(folder, home):
    """Address of a JupyterLab that serves a folder; its settings and logs lie in another.

    The address ends in `token=…`; the server and its kernels are gone afterwards.
    """
    settings = home / "config" / "labconfig"
    settings.mkdir(parents=True)
    quiet = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
    (settings / "default_setting_overrides.json").write_text(json.dumps(quiet), encoding="utf-8")
    token, port = secrets.token_hex(8), free_port()
    options = [
        *("--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", "--allow-root"),
        *("--expose-app-in-browser", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"),
    ]
    places = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    environment = os.environ | places | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(home / "ipython")}
    with (home / "server.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], env=environment, stdout=log, stderr=log, cwd=home
        )
        try:
            wait_for(server, f"http://127.0.0.1:{port}/api", home / "server.log")
            yield f"http://127.0.0.1:{port}/doc/tree/{{}}?token={token}"
        finally:
            end(server)


def free_port():
    """A port that nothing listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def wait_for(server, address, log):
    """Return when a server answers; fail when it has ended, or does not answer in time."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(address, timeout=5).close()
            return
        time.sleep(0.1)
    pytest.fail(f"JupyterLab did not start:\n{log.read_text(encoding='utf-8')[-3000:]}")


def end(server):
    """End a server, which ends its kernels; kill it if it does not."""
    server.terminate()
    try:
        server.wait(15)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def run_all(page, address):
    """Open a notebook in JupyterLab, run all its cells and wait until they are done."""
    page.goto(address)
    page.wait_for_function(
        "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status == 'idle'",
        timeout=1000 * PATIENCE_S,
    )
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")
