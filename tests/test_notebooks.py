"Every notebook runs from top to bottom in a process of its own, by nbdev's tester (cells marked slow or cuda left out)."
import os, subprocess, sys
from pathlib import Path

import pytest
from conftest import ROOT

NOTEBOOKS = sorted((ROOT/'nbs').glob('*.ipynb'))

@pytest.mark.parametrize('nb', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook(nb):
    run = subprocess.run([Path(sys.executable).with_name('nbdev-test'), nb], cwd=ROOT, capture_output=True, text=True, timeout=600,
                         env=os.environ | {'MPLBACKEND': 'agg'})
    assert run.returncode == 0 and 'Success' in run.stdout, f'{run.stdout[-1000:]}\n{run.stderr[-4000:]}'
