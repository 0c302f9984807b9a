"""The pages, a module each: it reads what the page shows, and its template of the same name shows it."""

from ..page import Page
from . import errors, group, groups, overview, queue, task, tasks, workers

PAGES: tuple[Page, ...] = (
    overview.PAGE, queue.PAGE, tasks.PAGE, task.PAGE, errors.PAGE, groups.PAGE, group.PAGE, workers.PAGE,
)  # fmt: skip
"""All pages."""
