"Where things are, and the last line of every run: `N passed, N failed`."
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

@pytest.fixture(scope='session')
def root(): return ROOT

@pytest.fixture(scope='session')
def clean_env(tmp_path_factory):
    "An environment in which no variable leads back to the checkout, with an empty HOME"
    keep = {k:v for k,v in os.environ.items() if not k.startswith(('PYTHON', 'VIRTUAL_ENV', 'ONCONET_'))}
    return keep | {'HOME': str(tmp_path_factory.mktemp('home')), 'OMP_NUM_THREADS': '1', 'MPLBACKEND': 'agg'}

@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    "A file's tests stay on one worker and share its fixtures; each notebook goes where there is time"
    from xdist.scheduler import LoadFileScheduling
    class Scheduler(LoadFileScheduling):
        def _split_scope(self, nodeid): return nodeid if 'test_notebooks' in nodeid else super()._split_scope(nodeid)
    return Scheduler(config, log)

@pytest.hookimpl(trylast=True)
def pytest_configure(config): config.onconet_reporter = config.pluginmanager.getplugin('terminalreporter')

@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session, exitstatus): session.config.onconet_status = int(exitstatus)

@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    tr = getattr(config, 'onconet_reporter', None)
    if tr is None or hasattr(config, 'workerinput') or config.option.collectonly: return
    passed,failed = len(tr.stats.get('passed', [])),len(tr.stats.get('failed', [])) + len(tr.stats.get('error', []))
    if not failed and getattr(config, 'onconet_status', 3) not in (0, 1): failed = 1  # broken off, or nothing was run
    tr.ensure_newline()
    tr.write_line(f'{passed} passed, {failed} failed')
