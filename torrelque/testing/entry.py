"""The module that pytest loads of the installed package.

It names the plugin, so that pytest loads the plugin by its own name, and once, whether it is named with
``-p torrelque.testing.plugin`` as well or not.
"""

pytest_plugins = ['torrelque.testing.plugin']
