"""The page in a browser: bytes of its first load, milliseconds until one can ask, frames a second while scrolling.

    python -m benchmarks.page [--model CHECKPOINT] [--pictures 1000] [--loads 10]

Limits: 60 KB over the wire with headers, 300 ms from the HTML's last byte to the focused question box, 60 frames a
second down and up through all pictures. Bytes and frames are what Chromium itself reports: its network protocol, and its
tracing of frames (cc's PipelineReporter). Over drawn scenes and the scenes encoder, which is trained first
(minutes) unless a checkpoint is given.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from benchmarks.drawn_gallery import serving, write_drawings
from tests.e2e.chromium import ARGUMENTS, chromium
from tests.e2e.steps import ask, hits
from training.scenes_encoder import train_scenes_encoder

FRAME_MS = 1000 / 60
SIZE_PX = 480
SPEED_PX_PER_S = 3000
TRACED = "cc,benchmark,disabled-by-default-devtools.timeline.frame"
NOTE_WHEN_ONE_CAN_ASK = """
document.addEventListener("focusin", (event) => {
    if (event.target.matches("textarea")) window.canAskAt ??= performance.now();
});
"""


def first_load(browser: Browser, address: str) -> tuple[int, float]:
    """Return the bytes that came, headers included, and the milliseconds from the HTML to the question box."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(NOTE_WHEN_ONE_CAN_ASK)
    protocol = context.new_cdp_session(page)
    received: list[int] = []
    protocol.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    protocol.send("Network.enable")
    page.goto(address)
    page.wait_for_function("() => window.canAskAt")
    page.wait_for_load_state("networkidle")
    until_ms: float = page.evaluate(
        "window.canAskAt - performance.getEntriesByType('navigation')[0].responseEnd"
    )
    context.close()
    return sum(received), until_ms


def show_all(page: Page, pictures: int) -> None:
    """Ask, and scroll until every picture is in the page."""
    turn = ask(page, "a boat at sea")
    while hits(turn).count() < pictures:
        page.mouse.wheel(0, 4000)
        page.wait_for_timeout(50)


def scroll(page: Page, protocol: CDPSession, distance_px: float) -> Iterator[dict[str, Any]]:
    """Scroll as a hand on a trackpad does; yield the browser's own record of each frame's begin and end."""
    chunks: list[list[dict[str, Any]]] = []
    protocol.on("Tracing.dataCollected", lambda event: chunks.append(event["value"]))
    config = {"recordMode": "recordAsMuchAsPossible", "includedCategories": TRACED.split(",")}
    protocol.send("Tracing.start", {"traceConfig": config, "transferMode": "ReportEvents"})
    gesture = {"x": 640, "y": 300, "yDistance": -distance_px, "speed": SPEED_PX_PER_S, "preventFling": True}
    protocol.send("Input.synthesizeScrollGesture", gesture)
    ended: list[Any] = []
    protocol.once("Tracing.tracingComplete", lambda event: ended.append(event))
    protocol.send("Tracing.end")
    while not ended:
        page.wait_for_timeout(50)
    for chunk in chunks:
        yield from (event for event in chunk if event["name"] == "PipelineReporter")


def frames(events: Iterator[dict[str, Any]]) -> tuple[list[float], int]:
    """Return the microseconds at which frames were shown while scrolling, and how many were dropped."""
    open_frames: dict[tuple[Any, ...], dict[str, Any]] = {}
    shown: list[float] = []
    dropped = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        key = (event["pid"], json.dumps(event.get("id2", event.get("id"))))
        if event["ph"] == "b":
            open_frames[key] = event["args"].get("frame_reporter", {})
            continue
        frame = open_frames.pop(key, {})
        if frame.get("scroll_state", "SCROLL_NONE") == "SCROLL_NONE":
            continue
        state = frame["state"]
        if state.startswith("STATE_PRESENTED"):
            shown.append(event["ts"])
        dropped += state == "STATE_DROPPED" and frame["affects_smoothness"]
    return shown, dropped


def report_frames(way: str, shown: list[float], dropped: int) -> None:
    """Print frames a second, and how late the slow ones came."""
    gaps_ms = np.diff(shown) / 1000
    print(
        f"scrolling {way:<5} {len(gaps_ms) / (gaps_ms.sum() / 1000):5.1f} frames a second (limit 60),"
        f" p95 {np.percentile(gaps_ms, 95):.1f} ms, worst {gaps_ms.max():.0f} ms,"
        f" {dropped} of {len(shown) + dropped} frames dropped"
    )


def measure(browser: Browser, address: str, pictures: int, loads: int) -> None:
    """Print every figure of a running service."""
    first_load(browser, address)  # the service's own first request
    measured = [first_load(browser, address) for _ in range(loads)]
    size, waits_ms = measured[0][0], [wait for _, wait in measured]
    print(f"first load      {size / 1000:.1f} KB over the wire (limit 60)")
    print(
        f"until one asks  {median(waits_ms):.0f} ms, worst {max(waits_ms):.0f} of {loads} loads (limit 300)"
    )
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(address)
    show_all(page, pictures)
    protocol = context.new_cdp_session(page)
    page.wait_for_load_state("networkidle")
    height_px = page.evaluate("document.documentElement.scrollHeight")
    for way, distance_px in (("up", -height_px), ("down", height_px)):
        report_frames(way, *frames(scroll(page, protocol, distance_px)))


def main() -> None:
    """Read the arguments and measure over a temporary data folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--loads", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        model = arguments.model or train_scenes_encoder(Path(folder) / "encoder")
        write_drawings(Path(folder) / "drawings", arguments.pictures, size_px=SIZE_PX)
        with serving(Path(folder) / "data", Path(folder) / "drawings", model) as address:
            browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
            measure(browser, address, arguments.pictures, arguments.loads)
            browser.close()


if __name__ == "__main__":
    main()
