"""A plugin of pytest: what hypothesis finds is not made small, where all that is asked is whether it finds any."""

from __future__ import annotations

import hypothesis
from hypothesis import Phase

hypothesis.settings.register_profile(
    # Nor is it kept for another run, which may be of another fault.
    'unshrunk', phases=(Phase.explicit, Phase.generate), print_blob=False, database=None
)
hypothesis.settings.load_profile('unshrunk')
