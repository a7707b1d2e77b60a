"""Draw the interactive page for the README, and the still pictures of its lesson that the page itself holds.

In Chromium, so that they are what a reader sees: ``make picture``, or ``.venv/bin/python docs/images/page.py``.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from relume import page

ROOT = Path(__file__).parents[2]
SHOWN = "#guide=5"
"""The end of the lesson."""

FRAME = """() => {
  const top = document.querySelector("#lesson").getBoundingClientRect().top + scrollY;
  const bottom = document.querySelector("#time").getBoundingClientRect().bottom + scrollY;
  return { x: 0, y: top, width: innerWidth, height: bottom - top + 2 };
}"""
"""From the heading of the lesson to the end of its drawings."""


def main() -> None:
    """Draw the stills, build the page with them, and take its picture."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "page.html"
        page.save(path)
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        shown = browser.new_page(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        shown.goto(path.as_uri() + SHOWN)
        shown.wait_for_function("relume.ready")
        for name in page.STILLS:
            svg = shown.evaluate(f"relume.lessonView.svg('{name}', relume.page.session, relume.data.unit)")
            (ROOT / f"src/relume/page/assets/lesson-{name}.svg").write_text(svg + "\n", encoding="utf-8")
        page.save(path)
        shown.goto("about:blank")
        shown.goto(path.as_uri() + SHOWN)
        shown.wait_for_function("relume.ready")
        shown.screenshot(path=ROOT / "docs/images/page.png", clip=shown.evaluate(FRAME), full_page=True)
        browser.close()


if __name__ == "__main__":
    main()
