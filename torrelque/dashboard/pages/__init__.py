"""The pages, a module each: it reads what the page shows, and its template of the same name shows it."""

from torrelque.dashboard.page import Page

from . import flow, flows, overview, queue, schedule, schedules, task, tasks

PAGES: tuple[Page, ...] = (
    overview.PAGE, queue.PAGE, tasks.PAGE, task.PAGE, schedules.PAGE, schedule.PAGE, flows.PAGE, flow.PAGE,
)  # fmt: skip
"""All pages."""
