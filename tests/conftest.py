from __future__ import annotations

import signal

import pytest
import torch
from hypothesis import settings

import skips
import timing


def pytest_configure(config: pytest.Config) -> None:
    for plugin in (skips, timing):  # what they say at the end of a run
        if not config.pluginmanager.is_registered(plugin):
            config.pluginmanager.register(plugin)


torch.set_num_threads(1)  # the tests are too small for more, and others may run beside them
settings.register_profile("overparam", deadline=None)  # the first call of a torch function can take a second
settings.load_profile("overparam")
# what runs tests in the background may have them ignore the signals that some are about
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
