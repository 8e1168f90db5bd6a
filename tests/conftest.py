from __future__ import annotations

import signal

import torch
from hypothesis import settings

torch.set_num_threads(1)  # the tests are too small for more, and others may run beside them
settings.register_profile("overparam", deadline=None)  # the first call of a torch function can take a second
settings.load_profile("overparam")
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has programs in the background ignore Ctrl-C
