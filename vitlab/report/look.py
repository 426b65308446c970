"""What every page of vitlab looks like, and what its browser lets it do."""

import base64
import hashlib
from importlib.resources import files


def look() -> str:
    """Return the style that all pages share: light and dark, on paper, on small screens."""
    return (files("vitlab.report") / "look.css").read_text(encoding="utf-8")


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


def _digest(content: str) -> str:
    """Return what a content security policy calls the hash of an inline part."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
