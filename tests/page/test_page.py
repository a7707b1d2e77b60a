"""The page as a file: whole, small, and the same as what ``activations/`` says. What it does is in tests/browser."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy import integrate, stats

from relume import page
from relume.activations import ACTIVATIONS, NUMPY
from relume.errors import RelumeError
from relume.page import contents, drawings, normal
from relume.page.build import SCRIPTS

MOST_BYTES = 2_000_000


@pytest.fixture(scope="module")
def text():
    return page.build()


class Reader(HTMLParser):
    """Attributes that load something, and the text outside of scripts."""

    def __init__(self):
        super().__init__()
        self.loads, self.words, self.skip = [], [], False

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        self.skip = tag in ("script", "style")
        self.loads += [told[key] for key in ("src", "srcset", "data", "poster") if key in told]
        if tag == "link":
            self.loads.append(told["href"])

    def handle_endtag(self, tag):
        self.skip = False

    def handle_data(self, data):
        if not self.skip:
            self.words.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    return reader


def test_the_page_is_one_small_file_that_loads_nothing(text):
    assert len(text.encode()) < MOST_BYTES
    assert read(text).loads == ["data:,"]
    assert "@import" not in text
    assert not re.search(r"url\(['\"]?http", text)


def test_a_picture_is_the_same_when_it_is_drawn_again_and_its_names_are_its_own(text):
    picture = drawings.curve("value").picture()
    assert picture in text
    names = re.findall(r' id="([^"]+)"', text)
    assert len(names) == len(set(names))
    assert set(re.findall(r"url\(#([^)]+)\)", picture)) <= set(names)


def test_pictures_keep_their_colors_without_a_style_sheet(text):
    pictures = re.findall(r"<svg .*?</svg>", text, re.DOTALL)
    colors = [color for picture in pictures for color in re.findall(r"var\([^)]*\)", picture)]
    assert len(pictures) > 8
    assert len(colors) > 100
    assert all(re.fullmatch(r"var\(--[a-z0-9-]+, #[0-9A-F]{6}\)", color) for color in colors)


def test_the_page_has_every_fact_of_the_definitions(text):
    words = " ".join("".join(read(text).words).split())
    for a in ACTIVATIONS.values():
        for told in (a.title, a.formula, a.range, a.can_die, a.advantages, a.disadvantages, a.when_to_use, *a.hazards):
            assert " ".join(told.split()) in words
        for source in a.sources:
            assert source.link in words


def test_every_default_of_every_framework_is_in_the_table():
    columns, rows = contents.defaults()
    shown = {(row[0], row[1], column): cell for row in rows for column, cell in zip(columns, row, strict=True)}
    for a in ACTIVATIONS.values():
        for p in a.parameters:
            for framework, value in p.defaults.items():
                cell = shown[a.title, p.name, contents.FRAMEWORK_TITLES[framework]]
                assert cell == contents.exact(value) != "–"
    assert shown["LeakyReLU", "negative_slope", "Keras layer"] == "0.3"
    assert shown["RReLU", "upper", "PyTorch"] == "1/3"


def test_every_kink_is_in_the_table_with_each_frameworks_slope():
    columns, rows = contents.kinks()
    assert [row[:2] for row in rows if row[0] == "ReLU6"] == [["ReLU6", "0"], ["ReLU6", "6"]]
    selu = dict(zip(columns, next(row for row in rows if row[0] == "SELU"), strict=True))
    assert selu["PyTorch"] == "SCALE · ALPHA"
    assert selu["TensorFlow"] == "SCALE"


@pytest.mark.parametrize("a", contents.SHOWN, ids=lambda a: a.name)
def test_a_slider_reaches_its_default_and_keeps_to_the_bounds(a):
    for p in a.parameters:
        made = contents.slider(p)
        if p.choices:
            assert made["choices"] == list(p.choices)
            continue
        assert made["low"] <= p.default <= made["high"]
        assert p.admits(made["low"])
        assert p.admits(made["high"])


@pytest.mark.parametrize("a", contents.SHOWN, ids=lambda a: a.name)
def test_the_moments_equal_those_of_an_adaptive_quadrature(a):
    told = normal.moments(a)
    settled = a.defaults()
    pieces = [(-12, 0), (0, 6), (6, 12)]

    def moment(function, power):
        def inside(z, **drawn):
            return float(function(np.float64(z), NUMPY, **settled, **drawn)) ** power * stats.norm.pdf(z)

        if not a.random:
            return sum(integrate.quad(inside, *piece, epsabs=1e-11)[0] for piece in pieces)
        low, high = settled["lower"], settled["upper"]
        both = [integrate.dblquad(lambda z, s: inside(z, slopes=s), low, high, *piece)[0] for piece in pieces]
        return sum(both) / (high - low)

    assert told["mean"] == pytest.approx(moment(a.value, 1), abs=1e-8)
    assert told["second"] == pytest.approx(moment(a.value, 2), abs=1e-8)
    assert told["steep"] == pytest.approx(moment(a.slope, 2), abs=1e-8)
    assert told["second"] ** -0.5 == pytest.approx(a.gain(**settled), rel=1e-9)


def test_half_of_the_outputs_of_relu_are_zero():
    assert normal.moments(ACTIVATIONS["relu"])["zeros"] == pytest.approx(0.5)
    assert sum(row["share"] for row in normal.shares(ACTIVATIONS["relu"])) == pytest.approx(1, abs=1e-6)


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(RelumeError, match=r"no/page\.html: .*Give another -o\. \[cannot-write\]"):
        page.save(tmp_path / "no" / "page.html")


def test_importing_the_page_loads_no_extra():
    done = subprocess.run(
        [sys.executable, "-c", "import relume.page, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert "relume.page.build" in loaded
    assert not loaded & {"altair", "vl_convert", "torch", "scipy"}


def test_every_script_of_the_page_is_sent():
    assets = Path(page.__file__).parent / "assets"
    theme = Path(page.__file__).parents[1] / "theme" / "assets"
    names = {path.name for folder in (assets, theme) for path in folder.glob("*.js")}
    assert set(SCRIPTS) == names - {"theme.js"}
