"""Opens a report in headless Chromium and fails where a reader would see something broken.

    python reference/render_report.py REPORT.html [SCREENSHOTS_DIR]

Opened as a desktop, a dark desktop, a phone (390 x 844) and paper. It fails (exit code 1) on a console message of level
warning or error, on an exception, on a request for anything but the page itself, on an image that is not decoded or has no
size, on a plot without size, and where the page is wider than the window. With a folder it writes PNG screenshots there.

Needs the program `chromium` (or another by the variable CHROMIUM) and the Python package `websockets`; it speaks the
DevTools protocol, so no browser driver is needed.
"""

import asyncio
import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import websockets

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-port=0",
]
# Name, width, height, pixels to a CSS pixel, colour scheme, medium.
VIEWS = [
    ("desktop", 1280, 900, 1, "light", "screen"),
    ("dark", 1280, 900, 1, "dark", "screen"),
    ("phone", 390, 844, 2, "light", "screen"),
    ("paper", 760, 1000, 1, "light", "print"),
]
# What a reader sees, measured in the page.
LOOK = """(() => {
  const broken = [...document.images].filter(i => !i.complete || !i.naturalWidth || !i.getBoundingClientRect().width);
  const flat = [...document.querySelectorAll('svg.plot')].filter(s => {
    const b = s.getBoundingClientRect();
    return getComputedStyle(s).display !== 'none' && (b.width < 20 || b.height < 10 || !s.querySelector('*'));
  });
  const wide = [...document.querySelectorAll('body *')].filter(e => {
    const b = e.getBoundingClientRect();
    if (b.right <= innerWidth + 1 || !b.width) return false;
    for (let p = e.parentElement; p; p = p.parentElement)
      if (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(p).overflowX)) return false;
    return true;
  });
  return {
    images: document.images.length, plots: document.querySelectorAll('svg.plot').length,
    broken: broken.map(i => i.alt), flat: flat.map(s => s.getAttribute('aria-label')),
    wide: wide.slice(0, 5).map(e => e.tagName + '.' + e.className), scroll: document.documentElement.scrollWidth,
    window: innerWidth, height: document.documentElement.scrollHeight,
    sections: document.querySelectorAll('section > h2').length,
  };
})()"""


class Page:
    """A tab that is spoken to by the DevTools protocol."""

    def __init__(self, socket):
        self.socket = socket
        self.next_id = 0
        self.events = []

    async def call(self, method, **params):
        self.next_id += 1
        await self.socket.send(json.dumps({"id": self.next_id, "method": method, "params": params}))
        while True:
            message = json.loads(await self.socket.recv())
            if message.get("id") == self.next_id:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    async def value(self, expression):
        result = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression[:60]}: {result['exceptionDetails']}")
        return result["result"]["value"]


def complaints(events, url):
    """What the browser said or asked for that it should not have."""
    found = []
    for event in events:
        params = event.get("params", {})
        match event.get("method"):
            case "Runtime.consoleAPICalled" if params["type"] in ("warning", "error", "assert"):
                found.append(f"console {params['type']}: {[arg.get('value') for arg in params['args']]}")
            case "Log.entryAdded" if params["entry"]["level"] in ("warning", "error"):
                found.append(f"log {params['entry']['level']}: {params['entry']['text']}")
            case "Runtime.exceptionThrown":
                found.append(f"exception: {params['exceptionDetails']['text']}")
            case "Network.requestWillBeSent":
                asked = params["request"]["url"]
                if asked.split("#")[0] != url and not asked.startswith("data:"):
                    found.append(f"request: {asked[:120]}")
            case _:
                pass
    return found


async def look(page, url, view, shots):
    name, width, height, scale, scheme, medium = view
    page.events.clear()
    await page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    await page.call("Emulation.setEmulatedMedia", media=medium, features=features)
    await page.call("Page.navigate", url=url)
    while await page.value("document.readyState") != "complete":
        await asyncio.sleep(0.05)
    await page.value("Promise.allSettled([...document.images].map(i => i.decode())).then(() => true)")
    seen = await page.value(LOOK)
    problems = complaints(page.events, url)
    problems += [f"broken image: {alt}" for alt in seen["broken"]]
    problems += [f"plot without size: {label}" for label in seen["flat"]]
    if medium == "screen" and (seen["scroll"] > seen["window"] or seen["wide"]):
        problems.append(f"{seen['scroll']} px wide in a window of {seen['window']}: {seen['wide']}")
    if not seen["plots"] or not seen["sections"]:
        problems.append(f"{seen['plots']} plots and {seen['sections']} sections: the page is empty")
    print(f"{name}: {width}x{seen['height']} px, {seen['images']} images, {seen['plots']} plots, {seen['sections']} sections")
    if shots:
        clip = {"x": 0, "y": 0, "width": width, "height": min(seen["height"], 16000 // scale), "scale": 1}
        shot = await page.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        (shots / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))
    return [f"{name}: {problem}" for problem in problems]


def socket_url(profile, process):
    """Where the browser listens; it writes the port into its profile."""
    port_file = pathlib.Path(profile) / "DevToolsActivePort"
    deadline = time.monotonic() + 120
    while not (port_file.exists() and "\n" in port_file.read_text()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"chromium did not start (exit code {process.poll()})")
        time.sleep(0.1)
    port = port_file.read_text().split()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as reply:
        tabs = json.load(reply)
    return next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")


async def check(report, shots, socket):
    async with websockets.connect(socket, max_size=None) as connection:
        page = Page(connection)
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        problems = []
        for view in VIEWS:
            problems += await look(page, report.resolve().as_uri(), view, shots)
        return problems


def main() -> None:
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    report = pathlib.Path(sys.argv[1])
    shots = pathlib.Path(sys.argv[2]) if len(sys.argv) == 3 else None
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not program:
        raise SystemExit("no chromium on the PATH: install it, or name it by the variable CHROMIUM")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            problems = asyncio.run(check(report, shots, socket_url(profile, process)))
        finally:
            process.terminate()
            process.wait()
    for problem in problems:
        print(problem, file=sys.stderr)
    print(f"{report}: {report.stat().st_size / 1e6:.2f} MB, {len(problems)} problems")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
