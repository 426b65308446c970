"""The page of all cases: cards to filter and to walk through, and how often neighbours are of the same class."""

from collections.abc import Sequence

from vitlab.evaluate.bootstrap import estimate
from vitlab.evaluate.resampling import Resampling
from vitlab.evaluate.scored import Scored
from vitlab.explain.page.shown import BREAK, Shown, judged, page_name
from vitlab.report.markup import Markup, join, section, table, tag
from vitlab.report.rows import Stat
from vitlab.report.words import figure

HEAD = ("approach", "neighbours have the true class", "neighbours have the class that is said", "n", "runs")


def index_header(shown: Shown) -> Markup:
    """Return the head of the page, without its links."""
    facts = [f"{len(shown.order):,} of {len(shown.cases):,} {shown.unit}s of the test set",
             f"{_counted(sum(map(len, shown.study.runs.values())), 'run')} of "
             f"{_counted(len(shown.approaches), 'approach', 'es')} ({', '.join(shown.approaches)})"]  # fmt: skip
    notes = [tag("li", note) for note in shown.study.notes]
    return join([
        tag("h1", f"{shown.study.title}: the {shown.unit}s, and what the models look at"),
        tag("p", "; ".join(facts), class_="facts"),
        tag("ul", *notes, class_="note") if notes else "",
    ])  # fmt: skip


def _counted(number: int, what: str, plural: str = "s") -> str:
    return f"{number} {what}{'' if number == 1 else plural}"


def cases_section(shown: Shown) -> Markup:
    """Return the cards of all cases, and what filters them."""
    meanings = [join([tag("dt", one.title), tag("dd", one.meaning)]) for one in shown.lists]
    classes = shown.cases[0].classes
    form = tag(
        "form",
        _choice("only-list", "List", "all", [(one.identity, one.title) for one in shown.lists if one.listed]),
        _choice("only-class", "Class", "all", list(enumerate(classes))),
        _choice("only-approach", "Approach", "any", list(enumerate(shown.approaches))),
        _choice("only-verdict", "Said", "right or wrong", [("right", "right"), ("wrong", "wrong")]),
        tag("output", id="count", for_="only-list only-class only-approach only-verdict"),
        id="filter",
        aria_label="Filter the cases",
    )
    keys = tag("p", "Keys: ", tag("kbd", "j"), " or ", tag("kbd", "\u2192"), " next, ", tag("kbd", "k"), " or ",
               tag("kbd", "\u2190"), " previous, ", tag("kbd", "Enter"), " opens; the pages behind walk through what "
               "the filter has left.", class_="note")  # fmt: skip
    cards = [_card(shown, number) for number in range(len(shown.order))]
    return section(
        "cases", "Cases", "Some were drawn by a seed; the lists beside them hold extremes, found by what the models "
        "said. A case may be on several.", tag("dl", *meanings), form, keys, tag("ul", *cards, class_="plain cards"),
    )  # fmt: skip


def _choice(identity: str, name: str, every: str, options: Sequence[tuple[object, str]]) -> Markup:
    listed = [tag("option", every, value=""), *(tag("option", words, value=value) for value, words in options)]
    return tag("label", f"{name} ", tag("select", *listed, id=identity))


def _card(shown: Shown, number: int) -> Markup:
    place = shown.order[number]
    case = shown.cases[place]
    said = {at: case.right(name) for at, name in enumerate(shown.approaches) if name in case.approaches}
    reasons = shown.reasons(place)
    image = f'<img src="cases/{number + 1:04d}.webp" width="96" height="96" loading="lazy" decoding="async" alt="">'
    wrong = [tag("p", shown.approaches[at], ": ", judged(case.said(shown.approaches[at]), case.label))
             for at, right in said.items() if not right]  # fmt: skip
    return tag(
        "li",
        Markup(image),
        tag("h3", tag("a", case.name, href=f"cases/{page_name(number)}")),
        tag("p", case.label, BREAK, f"{len(case.rows)} slices" if len(case.rows) > 1 else "1 image"),
        tag("div", *wrong) if wrong else tag("p", tag("span", "all right", class_="right")),
        *(tag("p", tag("b", one.title), ": " if one.identity != "random" else "",
              reason if one.identity != "random" else "", class_="why") for one, reason in reasons),
        class_="card",
        data_number=number,
        data_label=case.classes.index(case.label),
        data_lists=" ".join(one.identity for one, _ in reasons),
        data_right=" ".join(str(at) for at, right in said.items() if right),
        data_wrong=" ".join(str(at) for at, right in said.items() if not right),
    )  # fmt: skip


def agreement_section(shown: Shown) -> Markup | None:
    """Return how often the nearest training patients are of the test patient's class; None where none was asked."""
    found = {name: looks for name, looks in shown.looks.items() if looks.votes}
    if not found:
        return None
    rows = [agreement_row(name, looks.votes, looks.said) for name, looks in found.items()]
    return section(
        "agreement", "What the cases remind the models of", f"The class of most of the nearest training {shown.unit}s "
        "in the space of an approach's features: how often it is the truth, and how often what the run says itself. "
        "Where the second is low, neighbours do not tell why the model says what it says.",
        table(HEAD, rows,
              caption=f"Agreement of the five nearest training {shown.unit}s, share of test {shown.unit}s with 95 % "
              "intervals"),
    )  # fmt: skip


def agreement_row(name: str, votes: Sequence[Scored], said: Sequence[Scored]) -> list[object]:
    """Return a row of the table of agreement."""
    return [name, *(figure(agreement(one)) for one in (votes, said)), agreement(votes).n_images, len(votes)]


def agreement(votes: Sequence[Scored]) -> Stat:
    """Return the share of cases whose neighbours are mostly of the class that counts as right."""
    return Stat.of_estimate(estimate(votes, Resampling(), metrics=["accuracy"])["accuracy"])
