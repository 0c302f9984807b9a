"""Flows: calls of decorated functions that wait for one another, with their results, in the steps that end them.

The core decides when a task of a flow begins; see `torrelque.Torrelque.enqueue_flow`.  What is here says of functions
what waits for what, carries results into arguments, and tells what has become of a flow.
"""

from .context import FlowContext, current_flow
from .handle import FlowFailedError, FlowHandle, FlowProgress, Outcome
from .plan import OnFailure
from .steps import Branches, First, Flow, Given, Parallel, Step, Takes, any_failed, first, gather, given

__all__ = [
    'Branches',
    'First',
    'Flow',
    'FlowContext',
    'FlowFailedError',
    'FlowHandle',
    'FlowProgress',
    'Given',
    'OnFailure',
    'Outcome',
    'Parallel',
    'Step',
    'Takes',
    'any_failed',
    'current_flow',
    'first',
    'gather',
    'given',
]
