"""Hand-made faults in the layers: worker, decorated tasks, aids for tests."""

from __future__ import annotations

from proof.mutants.mutants_of_calls import CALLS
from proof.mutants.mutants_of_ends import ENDS
from proof.mutants.mutants_of_rules import RULES
from proof.mutants.mutants_of_tasks import TASKS
from proof.mutants.mutants_of_testing import TESTING
from proof.mutants.mutants_of_tests_of_apps import EAGER, USING
from proof.mutants.mutants_of_worker import WORKER

LAYERS = (*RULES, *WORKER, *ENDS, *TASKS, *CALLS, *TESTING, *USING, *EAGER)
