"""The page that answers: report.html, with its pictures and their data beside it."""

from vitlab.report.page.write import write_page

__all__ = ["write_page"]
