"""The pages, a module each: it reads what the page shows, and its template of the same name shows it."""

from torrelque.dashboard.page import Page

from . import overview, queue, task, tasks

PAGES: tuple[Page, ...] = (overview.PAGE, queue.PAGE, tasks.PAGE, task.PAGE)
"""All pages."""
