"""What every page of vitlab looks like, and what its browser lets it do."""

import base64
import hashlib
from importlib.resources import files
from string import Template

from vitlab.report.markup import Markup, join, tag, text


def page(
    generator: str,
    title: str,
    subject: str,
    header: Markup,
    main: Markup,
    footer: Markup,
    *,
    style: str,
    script: str | None = None,
    images: str = "data:",
    rest: str = "",
) -> str:
    """Return a whole page, with the look that all pages share.

    Args:
        generator: The verb that makes it, e.g. vitlab audit.
        title: Of the window.
        subject: What the main part holds, in the link that skips to it.
        header: Of the page.
        main: Its sections.
        footer: Of the page.
        style: Its own rules, behind the shared ones.
        script: Its script; None where it has none.
        images: Where its images may come from, as a content security policy says it.
        rest: Markup of elements behind the footer that the script needs.
    """
    style = _part("look.css") + style
    scripts = [] if script is None else [tag("script", Markup(script))]
    return Template(_part("look.html")).substitute(
        generator=text(generator), title=text(title), subject=text(subject), header=header, main=main, footer=footer,
        policy=policy(style, script, images), style=style, rest=join([rest, *scripts]),
    )  # fmt: skip


def policy(style: str, script: str | None = None, images: str = "data:") -> str:
    """Return the content security policy of a page that asks no server for anything and runs no script but its own.

    Args:
        style: What stands in its one style element.
        script: What stands in its one script element; None where it has none.
        images: Where its images may come from.
    """
    scripts = "" if script is None else f" script-src '{_digest(script)}';"
    return (
        f"default-src 'none'; img-src {images}; style-src '{_digest(style)}';{scripts} base-uri 'none'; "
        "form-action 'none'"
    )


def _part(name: str) -> str:
    return (files("vitlab.report") / name).read_text(encoding="utf-8")


def _digest(content: str) -> str:
    """Return what a content security policy calls the hash of an inline part."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
