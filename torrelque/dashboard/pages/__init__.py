"""The pages, a module each: it reads what the page shows, and its template of the same name shows it."""

<<<<<<< HEAD
from ..page import Page
from . import acts, ask, done, overview, queue, task, tasks
=======
from torrelque.dashboard.page import Page

from . import overview, queue, task, tasks
>>>>>>> f14eb7a3b115f60adaec2c0aa5021f5d6eaebec9

PAGES: tuple[Page, ...] = (
    overview.PAGE, queue.PAGE, tasks.PAGE, task.PAGE, ask.PAGE, done.PAGE, acts.PAGE,
)  # fmt: skip
"""All pages."""
