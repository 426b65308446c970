"""The page, opened from disk in a headless browser: what is there, who can use it, what stands beside it."""

import csv
import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image

from tests.conftest import wait_for
from vitlab.report.page import album
from vitlab.report.table import main

pytestmark = pytest.mark.slow
SECTIONS = [
    "answer", "scores", "curves", "labels", "pairs", "confusion", "reliability", "roc", "gaps", "robustness", "cost",
    "groups", "features", "looks", "runs", "protocol", "versions", "reproduce",
]  # fmt: skip
PICTURED = SECTIONS[1:13]


def test_every_section_is_there_in_order(report, opened):
    with opened(report.as_uri()) as page:
        assert page.locator("section").evaluate_all("all => all.map(one => one.id)") == SECTIONS
        for section in SECTIONS:
            assert page.locator(f"nav a[href='#{section}']").count() == 1
            pictures = page.locator(f"#{section} svg.picture").count()
            assert (pictures > 0) == (section in PICTURED), section
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
        assert len(ids) == len(set(ids))
        assert page.locator("#main section:not(#looks) .none").count() == 0
        assert "better" in page.locator("#answer").inner_text() or "chance" in page.locator("#answer").inner_text()


def test_it_is_small(report):
    assert report.stat().st_size < 2e6  # 5 MB are the limit; this is two tables of five approaches


@pytest.mark.parametrize("width", [1200, 390])
def test_fits_the_screen(report, opened, width):
    with opened(report.as_uri(), viewport={"width": width, "height": 900}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == width
        beyond = page.locator("main svg.picture").evaluate_all(
            "all => all.filter(one => one.getBoundingClientRect().right > innerWidth).length"
        )
        assert beyond == 0


@pytest.mark.parametrize("width", [1200, 390])
def test_robustness_has_one_scale_and_a_table_that_fits_or_scrolls_by_itself(report, opened, width):
    with opened(report.as_uri(), viewport={"width": width, "height": 900}) as page:
        ticks = page.locator("#robustness svg.picture").evaluate_all(
            "all => all.map(one => [...one.querySelectorAll('text')].map(e => e.textContent)"
            ".filter(text => /^[01][.][0-9]+$/.test(text)).join())"
        )
        assert len(ticks) == 2 * 3  # two tables, each with a scale of its own
        assert len(set(ticks[:3])) == len(set(ticks[3:])) == 1 and "," in ticks[0]
        box = page.locator("#robustness .scroll").first
        assert box.get_attribute("tabindex") == "0" and "relative robustness" in box.inner_text()
        wide = box.evaluate("one => one.scrollWidth > one.clientWidth")
        assert wide == (width == 390)
        box.focus()
        page.keyboard.press("ArrowRight")
        wait_for(lambda: box.evaluate("one => (one.scrollLeft > 0) == (innerWidth == 390)"))
        assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (390, "dark")])
def test_all_can_use_it(report, browser, width, scheme):
    # axe is a script, which the page does not let run.
    context = browser.new_context(
        bypass_csp=True, viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    page = context.new_page()
    page.goto(report.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    violations = Axe().run(page).response["violations"]
    context.close()
    assert [(found["id"], found["nodes"][0]["html"]) for found in violations] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pictures_can_be_read_in_both_schemes(report, opened, scheme):
    # WCAG 2.2: 4.5 for text, 3 for what else has to be seen. axe does not look into pictures.
    with opened(report.as_uri(), color_scheme=scheme) as page:
        poor = page.evaluate("""() => {
          const parse = (c) => c.match(/[\\d.]+/g).map(Number);
          const light = (c) => { const [r, g, b] = parse(c).map((v) => v / 255)
            .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
          const paper = light(getComputedStyle(document.body).backgroundColor);
          const ratio = (c) => (Math.max(light(c), paper) + 0.05) / (Math.min(light(c), paper) + 0.05);
          const texts = [...document.querySelectorAll("svg.picture text")]
            .map((e) => [e.textContent, ratio(getComputedStyle(e).fill), 4.5]);
          const marks = [...document.querySelectorAll("svg.picture .s-c0, .s-c1, .s-c2, .s-c3")]
            .map((e) => [e.outerHTML, ratio(getComputedStyle(e).stroke), 3]);
          if (texts.length < 100 || marks.length < 20) return ["nothing was looked at"];
          return [...texts, ...marks].filter(([, found, needed]) => found < needed).slice(0, 5);
        }""")
        assert poor == []


def test_no_name_becomes_markup(report, opened):
    with opened(report.as_uri()) as page:
        assert page.evaluate("window.stolen") is None
        assert page.locator("script").count() == 0 and page.locator("img").count() == 0
        assert page.locator("svg [style], svg style").count() == 0
        shown = page.locator("main").inner_text()
        assert "<script>window.stolen=1</script>$\\frac{$" in shown
        assert "_mine <b onclick='stolen=1'>$x^$" in shown
        assert "</svg><img src=x onerror=window.stolen=1>" in shown
        addresses = page.locator("#runs a").evaluate_all("all => all.map(one => one.href)")
        assert len(addresses) > 13 * 5
        for address in addresses:
            assert page.request.get(address).ok if address.startswith("http") else _exists(address), address


def test_links_lead_to_files(report, opened):
    with opened(report.as_uri()) as page:
        addresses = page.locator("figure a").evaluate_all("all => all.map(one => one.href)")
    assert len(addresses) == 3 * len(list((report.parent / "figures").glob("*.svg"))) > 100
    assert all(map(_exists, addresses))


def test_every_picture_says_what_is_to_be_seen(report, opened):
    with opened(report.as_uri()) as page:
        words = page.locator("svg.picture").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
        assert all(re.search(r"\d", text) and text.endswith(".") for text in words)
        roles = page.locator("svg.picture").evaluate_all("all => all.map(one => one.getAttribute('role'))")
        assert set(roles) == {"img"}
        assert page.locator("th:not([scope])").count() == 0
        levels = page.locator("h1, h2, h3").evaluate_all("all => all.map(one => Number(one.tagName[1]))")
        assert levels[0] == 1 and levels.count(1) == 1
        assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_keyboard(report, opened):
    with opened(report.as_uri()) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the answer"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.closest('main') !== null")
        boxes = page.locator(".scroll").evaluate_all("all => all.every(one => one.tabIndex === 0)")
        assert boxes


def test_prints_whole(report, opened):
    with opened(report.as_uri()) as page:
        page.emulate_media(media="print", color_scheme="dark")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") in ("rgb(255, 255, 255)",)
        assert not page.locator(".skip").is_visible()
        assert not page.locator("nav").is_visible()
        page.set_viewport_size({"width": 703, "height": 1000})  # A4 less 12 mm on each side, as the page asks for
        assert page.locator("table, .picture").evaluate_all(
            "all => all.filter(one => one.getBoundingClientRect().right > 704).map(one => one.textContent.slice(0, 50))"
        ) == []
        assert len(page.pdf()) > 50_000


def test_pictures_and_their_data_lie_beside(report):
    folder = report.parent / "figures"
    names = {path.stem for path in folder.glob("*.svg")}
    assert names == {path.stem for path in folder.glob("*.png")} == {path.stem for path in folder.glob("*.csv")}
    for name in names:
        root = ElementTree.parse(folder / f"{name}.svg").getroot()
        assert any(element.tag.endswith("}text") for element in root.iter()), "text, not outlines"
        with Image.open(folder / f"{name}.png") as image:
            assert image.width > 700 and image.convert("L").getextrema()[0] < 100
        with (folder / f"{name}.csv").open(newline="") as file:
            head, *rows = csv.reader(file)
        assert rows and all(len(row) == len(head) for row in rows)


def test_pictures_of_an_earlier_page_go_and_those_of_others_stay(make_study, tmp_path, monkeypatch):
    drawn, draw_picture = {}, album.draw_picture

    def once(name, *args, **facts):
        key = name, repr(facts)
        if key not in drawn:
            drawn[key] = draw_picture(name, *args, **facts)
        return drawn[key]

    monkeypatch.setattr(album, "draw_picture", once)  # five pages share their pictures: their files are looked at here
    study = make_study(tmp_path, classes=("a", "b"))
    for approach in ("cnn", "vit"):
        study.run(approach, extras=False)

    def write(name, *folders):
        out = ["--report", str(tmp_path / name), "--out", str(tmp_path / "t.md"), "--resamples", "100"]
        assert main([*(str(tmp_path / "logs" / folder) for folder in folders), *out]) == 0

    figures = tmp_path / "figures"
    figures.mkdir()
    foreign = [figures / "reliability-mine.png", figures / "notes.txt", tmp_path / "outside.svg"]
    for path in foreign:
        path.write_text("mine")
    write("report.html", "cnn", "vit")
    assert (figures / "reliability-vit.svg").exists() and (figures / "reliability-cnn.svg").exists()
    (figures / ".report.html.pictures").open("a").write("../outside.svg\nnotes.txt\n")
    write("report.html", "cnn")
    assert not list(figures.glob("*vit*")) and len(list(figures.glob("reliability-cnn.*"))) == 3
    assert all(path.read_text() == "mine" for path in foreign)
    write("other.html", "cnn", "vit")
    write("report.html", "vit")
    assert (figures / "reliability-cnn.svg").exists(), "the other page shows it"
    write("other.html", "vit")
    write("report.html", "vit")
    assert (figures / "reliability-vit.svg").exists()
    assert not (figures / "reliability-cnn.svg").exists()


def test_the_same_runs_give_the_same_page(report, make_study, tmp_path, monkeypatch):
    study = make_study(tmp_path, classes=("a", "b"))
    study.run("cnn"), study.run("vit")
    pages = []
    for name in ("one.html", "two.html"):
        main([str(tmp_path / "logs"), "--resamples", "100", "--report", str(tmp_path / name), "--out",
              str(tmp_path / "t.md")])  # fmt: skip
        pages.append(re.sub(r"on \d{4}-\d\d-\d\d \d\d:\d\d UTC", "", (tmp_path / name).read_text()))
    assert pages[0].replace("one.html", "two.html") == pages[1]


def test_runs_that_left_nothing_but_results(make_study, tmp_path, opened):
    study = make_study(tmp_path, classes=("a", "b"))
    folder = study.run("cnn", extras=False)
    (folder / "predictions.csv").unlink()
    (folder / "config.yaml").unlink()
    out = tmp_path / "report.html"
    assert main([str(tmp_path / "logs"), "--report", str(out), "--out", str(tmp_path / "t.md")]) == 0
    with opened(out.as_uri()) as page:
        assert page.locator("section").evaluate_all("all => all.map(one => one.id)") == SECTIONS
        none = {s for s in SECTIONS if page.locator(f"#{s} .none").count()}
        assert none == set(SECTIONS[2:14]) - {"cost"}
        assert "None" not in page.locator("main").inner_text().replace("None of", "")


def test_a_leak_is_said(make_study, tmp_path, opened):
    study = make_study(tmp_path, classes=("a", "b"))
    study.run("cnn", extras=False)
    out = tmp_path / "report.html"
    main([str(tmp_path / "logs"), "--resamples", "100", "--report", str(out), "--out", str(tmp_path / "t.md")])
    with opened(out.as_uri()) as page:
        assert "patients of test in train or val\tnone" in page.locator("#protocol").inner_text()
        assert "shuffled" not in page.locator("#protocol").inner_text()
    study.split = np.resize(["train", "val", "test", "test"], len(study.split))
    study.run("cnn", 1, extras=False, shuffle_labels=True)
    main([str(tmp_path / "logs"), "--resamples", "100", "--report", str(out), "--out", str(tmp_path / "t.md")])
    with opened(out.as_uri()) as page:
        assert "up to 50 in a run: this split leaks" in page.locator("#protocol").inner_text()
        assert "shuffled: every score should be chance" in page.locator("#protocol").inner_text()


def _exists(address):
    from pathlib import Path
    from urllib.parse import unquote, urlsplit

    return Path(unquote(urlsplit(address).path)).exists()
