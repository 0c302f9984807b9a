"""The pages, a module each: it reads what the page shows, and its template of the same name shows it."""

from torrelque.dashboard.page import Page

from . import (
    acts,
    ask,
    done,
    errors,
    flow,
    flows,
    group,
    groups,
    history,
    overview,
    queue,
    schedule,
    schedules,
    task,
    tasks,
    workers,
)  # fmt: skip

PAGES: tuple[Page, ...] = (
    overview.PAGE, queue.PAGE, tasks.PAGE, task.PAGE, errors.PAGE, groups.PAGE, group.PAGE, flows.PAGE, flow.PAGE,
    schedules.PAGE, schedule.PAGE, history.PAGE, workers.PAGE, acts.PAGE, ask.PAGE, done.PAGE,
)  # fmt: skip
"""All pages."""
