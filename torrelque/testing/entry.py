"""What pytest loads of the installed package: the plugin, by its own name.

So it is there once, whether it is named with ``-p torrelque.testing.plugin`` as well or not.
"""

pytest_plugins = ['torrelque.testing.plugin']
