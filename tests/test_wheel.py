"The wheel, installed where no checkout is in sight: it brings its data, and the command line starts."
import shutil, subprocess, sys, sysconfig, zipfile
from pathlib import Path

import pytest
from conftest import ROOT

@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    d = tmp_path_factory.mktemp('wheel')
    shutil.copytree(ROOT, d/'src', symlinks=True, ignore=shutil.ignore_patterns('.venv', '.git', '_site', '_proc', 'report', 'build', 'dist', '*.egg-info', '__pycache__'))
    subprocess.run([sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', d, d/'src'], check=True)
    return next(d.glob('*.whl'))

@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory, clean_env):
    "A function that runs a tool of a new environment, which has the wheel and of ours only the libraries, in an empty folder"
    d = tmp_path_factory.mktemp('elsewhere')
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', d/'venv'], check=True)
    python = d/'venv/bin/python'
    subprocess.run([sys.executable, '-m', 'pip', '--python', python, 'install', '-q', '--no-deps', '--no-index', wheel], check=True)
    site = subprocess.run([python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))'], check=True, capture_output=True, text=True).stdout.strip()
    Path(site, 'libraries.pth').write_text(sysconfig.get_path('purelib') + '\n')
    (d/'empty').mkdir()
    def run(tool, *args): return subprocess.run([python.with_name(tool), *args], cwd=d/'empty', env=clean_env, capture_output=True, text=True)
    return run

def test_wheel_carries_modules_data_and_licence(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f'onconet/embedded/{p.relative_to(ROOT/"data").as_posix()}' for p in (ROOT/'data').rglob('*') if p.is_file()} <= names
    assert {p.relative_to(ROOT).as_posix() for p in (ROOT/'onconet').rglob('*.py')} <= names
    assert any(n.endswith('licenses/LICENSE') for n in names)
    assert not [n for n in names if n.startswith(('tests/', 'nbs/', 'docs/'))]

def test_wheel_metadata(wheel):
    z = zipfile.ZipFile(wheel)
    text = z.read(next(n for n in z.namelist() if n.endswith('/METADATA'))).decode()
    for line in ('License-Expression: Apache-2.0', 'Author: The OncoNet developers', 'Requires-Python: >=3.11'): assert f'{line}\n' in text
    assert 'Home-page' not in text and 'Project-URL' not in text

def test_wheel_finds_its_data(installed):
    out = installed('python', '-c', 'import onconet; from onconet.core import embedded; print(onconet.__file__); print(embedded("README.md"))')
    assert out.returncode == 0, out.stderr
    assert str(ROOT) not in out.stdout and out.stdout.rstrip().endswith('onconet/embedded/README.md')

def test_wheel_loads_the_leukaemia_cohort(installed):
    out = installed('python', '-c', 'from onconet.data.leukaemia import load_leukaemia; c = load_leukaemia("molecular"); print(len(load_leukaemia()), len(c), *c.names)')
    assert out.returncode == 0, out.stderr
    assert out.stdout.split() == ['128', '79', 'genomic', 'clinical']

def test_wheel_command_line(installed):
    out = installed('onconet', '--help')
    assert out.returncode == 0, out.stderr
    assert 'demo' in out.stdout and 'esearch use only' in out.stdout

def test_wheel_runs_the_demo(installed):
    out = installed('onconet', 'demo', '--quick', '--out', 'report')
    assert out.returncode == 0, out.stderr
    assert 'report/index.html' in out.stdout
