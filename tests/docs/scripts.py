"""Runs scripts one after the other, each in a process of its own that begins with torch and overparam imported.

Importing them takes longer than most scripts of the documentation do. A folder a line comes in, an exit status a line
goes out; what a script says on standard error is in the file ``stderr`` of its folder.
"""

import os
import runpy
import sys
import traceback

if hasattr(os, "sched_setaffinity"):  # before torch counts cores: two threads on so little wait for each other
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import overparam.lab.executors
import overparam.prune
import overparam.report.page
import overparam.sparse
import overparam.steps
import overparam.worlds  # noqa: F401

for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        os.chdir(line.strip())
        sys.path.insert(0, os.getcwd())
        for number, name in ((0, os.devnull), (1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT), number)
        failed = 1
        try:
            runpy.run_path("page.py", run_name="__main__")
            failed = 0
        except BaseException:  # noqa: BLE001  whatever it is, it is told where the test looks
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(failed)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
