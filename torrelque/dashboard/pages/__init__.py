"""The pages, a module each: it reads what the page shows, and its template of the same name shows it."""

from torrelque.dashboard.page import Page

from . import acts, ask, done, flow, flows, overview, queue, schedule, schedules, task, tasks

PAGES: tuple[Page, ...] = (
    overview.PAGE, queue.PAGE, tasks.PAGE, task.PAGE, flows.PAGE, flow.PAGE, schedules.PAGE, schedule.PAGE, acts.PAGE,
    ask.PAGE, done.PAGE,
)  # fmt: skip
"""All pages."""
