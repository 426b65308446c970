"""The page that shows what an audit found: audit.html."""

from vitlab.audit.page.write import write_page

__all__ = ["write_page"]
