"""How the page looks: with what is missing from a report, on small screens, in the dark, on paper."""

import re

import numpy as np
import pytest

SECTIONS = ["splits", "worth", "patients", "kinds", "shortcuts", "shift", "files", "labels", "pairs"]


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"classes": [], "labels": {"balance": {}, "unlabelled": 394}, "shortcuts": []}, {"labels", "shortcuts"}),
        ({"test": None, "shift": [], "leak": False}, {"shift"}),
        ({"worth": None}, {"worth"}),
        ({"shortcuts": [], "shift": [], "files": [], "worth": []}, {"worth"}),
        ({"patients": {"known": False, "n": 0, "groups": 70, "across_splits": [], "alike": []}}, set()),
    ],
    ids=["no labels", "one split", "no runs", "nothing found", "no patients"],
)
def test_partial_reports(site, opened, report, change, gone):
    report = {key: value for key, value in {**report, **change}.items() if value is not None}
    with opened(site.write(report)) as page:
        sections = page.locator("section").evaluate_all("all => all.map(one => one.id)")
        assert sections == [name for name in SECTIONS if name not in gone]
        assert "None" not in re.sub("None (found|was tested)", "", page.locator("main").inner_text())
        assert page.locator(".pair").count() > 0


def test_no_pairs(site, opened, report, monkeypatch):
    monkeypatch.setattr(site, "pairs", site.pairs.where(np.zeros(len(site.pairs), bool)))
    with opened(site.write({**report, "pairs": {}, "leak": False})) as page:
        assert page.locator("#pairs").count() == 0
        assert page.locator("#kinds").inner_text().endswith("None found.")
        assert page.locator(".verdict").inner_text().startswith("No leak found")
        assert page.locator("img").count() == len(report["labels"]["errors"]) + 1


@pytest.mark.parametrize("width", [1280, 380])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_the_screen_and_can_be_read(site, opened, report, width, scheme):
    report["classes"] = [f"a_class_of_a_long_name_{number}" for number in range(9)]
    with opened(site.write(report), viewport={"width": width, "height": 800}, color_scheme=scheme) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        # Contrast of text as WCAG 2.2 defines it, against what is painted behind it: 4.5 for text of this size.
        poor = page.evaluate("""() => {
          const parse = (c) => c.match(/[\\d.]+/g).map(Number);
          const light = (c) => { const [r, g, b] = parse(c).map((v) => v / 255)
            .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
          const behind = (e) => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
            if (parse(c)[3] !== 0) return c; } };
          return [...document.querySelectorAll("body *:not(script):not(noscript)")]
            .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
            .map((e) => { const a = light(getComputedStyle(e).color), b = light(behind(e));
              return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.outerHTML.slice(0, 80)]; })
            .filter(([ratio]) => ratio < 4.5);
        }""")
        assert poor == []


def test_prints_without_controls(site, opened, report):
    with opened(site.write(report)) as page:
        page.emulate_media(media="print")
        assert not page.locator("#filter").is_visible()
        assert page.locator(".pair").first.is_visible()
        assert page.locator(".scroll").first.evaluate("box => getComputedStyle(box).overflowX") == "visible"


def test_what_could_not_be_tested_or_estimated_is_said(site, opened, report):
    report["patients"]["known"] = False
    for found in (report["shortcuts"][0], report["shift"][0], report["worth"][0]["all"]):
        found["low"] = found["high"] = None
    with opened(site.write(report)) as page:
        for section, value in (("shortcuts", "0.720"), ("shift", "0.710"), ("worth", "0.910")):
            row = page.locator(f"#{section} tbody tr").first
            assert f"{value} (too few groups for an interval)" in row.inner_text()
            assert row.locator("circle").count() == 1 and row.locator("line.range").count() == 0
        untested = page.locator("#shortcuts tbody").nth(1).inner_text()
        assert all(found["column"] in untested and found["reason"] in untested for found in report["untested_columns"])
        assert page.locator("main").inner_text().count("every interval on this page is too narrow") == 1
        assert report["labels"]["sentence"] in page.locator("#labels").inner_text()
    report["shortcuts"] = []
    with opened(site.write(report)) as page:
        assert "every interval on this page is too narrow" in page.locator("#shift").inner_text()
    report["patients"]["known"], report["untested_columns"] = True, []
    with opened(site.write(report)) as page:
        shown = page.locator("main").inner_text()
        assert "too narrow" not in shown and "Columns not tested" not in shown
