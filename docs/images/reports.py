"""Draw the HTML reports for the README and the guides, from real runs: ``make picture``. Takes some minutes.

``.venv/bin/python docs/images/reports.py STUDY`` takes a study that is there already.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
IMAGES = Path(__file__).parent
WIDTH, HEIGHT = 1180, 1150
TALLEST = 640
GALLERY = {  # script in examples/gallery → the part of its report that shows what is wrong
    "spike": "section[aria-labelledby=steps]",
    "not_a_number": "section.verdict",
    "raw_pixels": "#site-1",
    "relu_on_logits": ".todo li:last-child",
    "deep_sigmoid": "section[aria-labelledby=todo]",
    "decayed_slopes": "#site-1",
}
STUDY = """compare --with leaky_relu:0.2,elu,silu --seeds 6 --lr-factors 1,4 --delta 1 --metric test_accuracy
examples/digits_mlp.py --epochs 6 --lr 0.06""".split()


def main(study: Path | None) -> None:
    """Run the demo and a small comparison, and take a picture of each report's beginning."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recording = folder / "run.relume"
        relume("run", "-q", "--out", recording, "examples/digits_mlp.py", "--lr", "0.25")
        relume("report", recording, "--html", folder / "run.html")
        if study is None:
            study = folder / "relume-study"
            relume(STUDY[0], "--study", study, *STUDY[1:])
        relume("report", study, "--html", folder / "study.html")
        draw(folder / "run.html", IMAGES / "run-report.png")
        for name, part in GALLERY.items():
            relume("run", "-q", "--out", recording, f"examples/gallery/{name}.py")
            relume("report", recording, "--html", folder / "page.html")
            draw(folder / "page.html", IMAGES / "gallery" / f"{name}.png", part)
        draw(folder / "study.html", IMAGES / "study-report.png")


def relume(*arguments: str | Path) -> None:
    """The command, from the root of the checkout."""
    subprocess.run([sys.executable, "-m", "relume", *map(str, arguments)], cwd=ROOT, check=True)


def draw(page: Path, out: Path, part: str | None = None) -> None:
    """The first screen of a page, or one part of it, as Chromium has it."""
    with sync_playwright() as playwright:
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        shown = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
        shown.goto(page.as_uri())
        shown.wait_for_selector("html[data-charts=drawn]")
        if part is None:
            shown.screenshot(path=out)
        else:
            shown.set_viewport_size({"width": 880, "height": HEIGHT})
            for grid in shown.locator(f"{part} svg.grid").all()[:1]:
                grid.focus()
                shown.keyboard.press("End")
            box = shown.locator(part).first.evaluate("e => e.getBoundingClientRect().toJSON()")
            top = box["y"] + shown.evaluate("scrollY")
            clip = {"x": box["x"], "y": top, "width": box["width"], "height": min(box["height"], TALLEST)}
            shown.screenshot(path=out, clip=clip, full_page=True)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None)
