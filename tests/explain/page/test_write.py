"""The pages, opened from disk in a headless browser: what they show, what filters and keys do, how fast they are."""

import os
import time

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.conftest import wait_for
from tests.explain.page.conftest import HOSTILE, make_shown
from vitlab.explain.page.write import write_pages


def cards(page):
    return page.locator(".card:visible").evaluate_all("all => all.map(one => Number(one.dataset.number))")


def test_every_case_has_a_card_and_a_page(pages, shown, browse):
    names = sorted(path.name for path in (pages / "cases").glob("*.html"))
    assert names == [f"{number:04d}.html" for number in range(1, len(shown.order) + 1)]
    assert not any("P0" in path.name for path in (pages / "cases").iterdir())  # a file name tells no patient
    with browse(pages / "index.html", pages) as page:
        titles = page.locator(".card h3").all_text_contents()  # inner text waits for a card to be drawn
        assert titles == [shown.cases[place].name for place in shown.order]
        assert "30 patients of the test set" in page.locator(".facts").inner_text()
        for one in shown.lists:
            assert one.meaning in page.locator("dl").inner_text()
        assert page.locator("#agreement tbody tr").count() == 2


def test_filters_agree_with_the_predictions(pages, shown, browse):
    cases = [shown.cases[place] for place in shown.order]
    with browse(pages / "index.html", pages) as page:

        def check(expected):
            assert cards(page) == [number for number, case in enumerate(cases) if expected(number, case)]
            assert page.locator("#count").inner_text() == f"{len(cards(page))} of {len(cases)} cases"

        check(lambda number, case: True)
        page.select_option("#only-list", "errors")
        wrong = {listed.case for listed in shown.lists[1].listed}
        check(lambda number, case: shown.order[number] in wrong)
        page.select_option("#only-list", "")
        page.select_option("#only-class", "2")
        check(lambda number, case: case.label == HOSTILE["class"])
        page.select_option("#only-class", "")
        page.select_option("#only-verdict", "wrong")
        check(lambda number, case: not all(case.right(name) for name in shown.approaches))
        page.select_option("#only-approach", "1")
        check(lambda number, case: not case.right(HOSTILE["approach"]))
        page.select_option("#only-verdict", "right")
        check(lambda number, case: case.right(HOSTILE["approach"]))
        page.select_option("#only-approach", "")
        check(lambda number, case: all(case.right(name) for name in shown.approaches))


def test_keyboard_walks_through_what_the_filter_has_left(pages, shown, browse):
    with browse(pages / "index.html", pages) as page:
        page.select_option("#only-list", "errors")
        left = cards(page)
        assert len(left) > 2
        page.locator("#only-list").focus()
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("Number(document.activeElement.closest('.card').dataset.number)") == left[1]
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/{left[1] + 1:04d}.html#in=*")
        assert page.locator("#place").inner_text() == f"2 of {len(left)}"
        page.keyboard.press("ArrowRight")
        page.wait_for_url(f"**/{left[2] + 1:04d}.html#in=*")
        page.keyboard.press("k")
        page.wait_for_url(f"**/{left[1] + 1:04d}.html#in=*")
        page.keyboard.press("u")
        page.wait_for_url("**/index.html")
    with browse(pages / "cases" / "0001.html", pages) as page:
        assert page.locator("#previous").get_attribute("href") is None
        page.keyboard.press("k")
        page.keyboard.press("j")
        page.wait_for_url("**/0002.html")


def test_a_page_shows_each_slice_of_each_approach(pages, shown, browse):
    with browse(pages / "cases" / "0003.html", pages) as page:
        case = shown.cases[shown.order[2]]
        assert page.locator(".slices > li").count() == 3
        assert page.locator(".slices img").count() == 3 * 3
        assert page.locator(".five img").count() == 2 * 5
        table = page.locator("#said tbody tr").first.inner_text().split("\t")
        mean, spread = case.mean("cnn"), case.spread("cnn")
        assert table[2:5] == [
            f"{value:.2f} \u00b1 {deviation:.2f}" for value, deviation in zip(mean, spread, strict=True)
        ]
        first = case.probs["cnn"][:, 0]
        lines = page.locator(".slices li").first.locator("figcaption").nth(1).inner_text().split("\n")
        said = case.classes[int(first.mean(0).argmax())]
        assert lines[:2] == ["cnn", f"{said} {'right' if said == case.labels[0] else 'wrong'}"]
        assert lines[2:5] == [f"{name} {first[:, k].mean():.2f} \u00b1 {first[:, k].std(ddof=1):.2f}"
                              for k, name in enumerate(case.classes)]  # fmt: skip
        assert lines[5].startswith("map of seed 0: for ")
        page.evaluate("document.querySelectorAll('img').forEach((image) => { image.loading = 'eager'; })")
        wait_for(lambda: page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)"))
        colours = (
            page.locator(".slices li")
            .first.locator("img")
            .evaluate_all("""all => all.map(image => {
          const box = image.getBoundingClientRect();
          return [getComputedStyle(image).objectPosition, box.width / box.height]; })""")
        )
        assert [place for place, _ in colours] == ["0% 0px", "50% 0px", "100% 0px"]
        assert all(abs(shape - 1) < 0.01 for _, shape in colours)
        # What is seen of a strip is the one cell: the first has a cyan outline, the others colour in their corner.
        shot = page.locator(".slices img").nth(1).screenshot()
        plain = page.locator(".slices img").nth(0).screenshot()
        corner = [_warmth(png) for png in (plain, shot)]
        assert corner[1] > corner[0] + 20


def _warmth(png):
    import io

    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), float)
    part = pixels[2 : len(pixels) // 8, 2 : len(pixels) // 8]
    return part[..., 0].mean() - part[..., 2].mean()


def test_no_name_becomes_markup(pages, browse):
    with browse(pages / "index.html", pages) as page:
        assert page.evaluate("window.stolen") is None
        assert page.locator("script").count() == 1 and page.locator("img[src='x']").count() == 0
        pictures = page.locator("#features svg")
        assert pictures.count() == 2 * 2  # by class and by scanner, of each approach
        assert pictures.locator("[style]").count() == 0 and "svg onload" in pictures.nth(1).text_content()
        assert HOSTILE["approach"] in page.locator("h1 ~ ul, .facts").first.inner_text()


def test_hostile_patients_and_paths_are_shown_as_they_are(tmp_path, browse):
    every = make_shown(patients=6, slices=1, drawn=6)
    write_pages(every, tmp_path / "out", [], lambda line: None)
    shown = ""
    for number in range(6):
        with browse(tmp_path / "out" / "cases" / f"{number + 1:04d}.html", tmp_path) as page:
            assert page.evaluate("window.stolen") is None and page.locator("script").count() == 1
            shown += page.locator("body").inner_text()
    assert HOSTILE["patient"] in shown and HOSTILE["class"] in shown
    assert "a b/<svg onload=window.stolen=1>\\xff\\u202e.png" in shown


@pytest.mark.parametrize(("width", "scheme"), [(1200, "light"), (400, "dark")])
@pytest.mark.parametrize("name", ["index.html", "cases/0001.html"])
def test_all_can_use_it(pages, browser, name, width, scheme):
    # axe is a script, which the page does not let run.
    context = browser.new_context(bypass_csp=True, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    page.goto((pages / name).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    violations = Axe().run(page).response["violations"]
    context.close()
    assert [(found["id"], found["nodes"][0]["html"]) for found in violations] == []


def test_200_patients_open_in_two_seconds(tmp_path, browse):
    large = make_shown(patients=220, slices=2, drawn=200)
    out = tmp_path / "explain"
    write_pages(large, out, [], lambda line: None)
    seconds = []
    for _ in range(2):  # the first one warms the browser up
        start = time.perf_counter()
        with browse(out / "index.html", out) as page:
            wait_for(lambda page=page: page.evaluate(
                "[...document.images].filter(image => image.getBoundingClientRect().top < innerHeight)"
                ".every(image => image.complete && image.naturalWidth > 0)"
            ))  # fmt: skip
            seconds.append(time.perf_counter() - start)
            assert len(cards(page)) == len(large.order) >= 200
            loaded = page.evaluate("performance.getEntriesByType('resource').length")
            assert loaded < len(large.order)  # the others wait until someone comes near
    print(f"opened in {seconds[-1]:.2f} s")
    busy = os.getloadavg()[0] > os.cpu_count()
    assert min(seconds) < (4 if busy else 2)


def test_all_or_nothing_and_others_files_stay(tmp_path, shown):
    out = tmp_path / "explain"
    write_pages(shown, out, [("more", "More", lambda shown, folder: None)], lambda line: None)
    (out / "saliency.csv").write_text("kept")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def fails(shown, folder):
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        write_pages(shown, out, [("more", "More", fails)], lambda line: None)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    small = make_shown(patients=4, drawn=1)
    write_pages(small, out, [], lambda line: None)
    assert len(list((out / "cases").glob("*.html"))) == len(small.order) < len(shown.order)
    assert (out / "saliency.csv").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["explain"]


def test_a_folder_of_others_is_left_alone(tmp_path, shown):
    (tmp_path / "index.html").write_text("my page")
    with pytest.raises(ValueError, match=r"holds other files, such as index\.html"):
        write_pages(shown, tmp_path, [], lambda line: None)
    assert (tmp_path / "index.html").read_text() == "my page"
    (tmp_path / "index.html").rename(tmp_path / "image.png")
    with pytest.raises(ValueError, match=r"holds other files, such as image\.png: name a new folder"):
        write_pages(shown, tmp_path, [], lambda line: None)
