"What the files of the project promise each other."
import ast, hashlib, importlib.metadata as md, json, re, shutil, subprocess, sys, time, tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest
from conftest import ROOT

NOTEBOOKS,MODULES = sorted((ROOT/'nbs').glob('*.ipynb')),sorted((ROOT/'onconet').rglob('*.py'))
BIN = Path(sys.executable).parent

def settings():
    ini = ConfigParser(delimiters='=', interpolation=None)
    ini.read(ROOT/'settings.ini', encoding='utf-8')
    return ini['DEFAULT']

def tree(folder): return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob('*') if p.is_file() and '__pycache__' not in p.parts}

def run(*args, **kw): return subprocess.run(args, capture_output=True, text=True, **kw)

@pytest.fixture(scope='module')
def copy(tmp_path_factory):
    "The project's own files in another place"
    d = tmp_path_factory.mktemp('copy')
    for f in ('settings.ini', 'pyproject.toml', '_quarto.yml', 'README.md'): shutil.copy(ROOT/f, d)
    for f in ('nbs', 'onconet'): shutil.copytree(ROOT/f, d/f, symlinks=True, ignore=shutil.ignore_patterns('__pycache__', '.ipynb_checkpoints'))
    return d

@pytest.mark.parametrize('tool,folder', [('nbdev-export', 'onconet'), ('nbdev-clean', 'nbs')])
def test_nbdev_leaves_no_diff(copy, tool, folder):
    done = run(BIN/tool, cwd=copy)
    assert done.returncode == 0, done.stderr
    was,now = tree(ROOT/folder),tree(copy/folder)
    assert [f for f in sorted(was.keys() | now.keys()) if was.get(f) != now.get(f)] == [], f'run `make export`: {tool} would change these'

def test_readme_is_index():
    sys.path.insert(0, str(ROOT/'docs'))
    from build_readme import readme
    text,figures = readme()
    assert (ROOT/'README.md').read_text(encoding='utf-8') == text, 'run `make readme`'
    for name,data in figures.items(): assert (ROOT/'nbs'/name).read_bytes() == data, f'run `make readme`: {name}'

def test_readme_names_the_commands():
    text = (ROOT/'README.md').read_text(encoding='utf-8')
    for word in ('make demo', 'make test', 'esearch use only'): assert word in text

@pytest.mark.parametrize('nb', NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_file(nb):
    raw = nb.read_text(encoding='utf-8')
    assert len(raw) < 300_000
    assert not re.findall(r'/(?:home|root|Users|tmp)/\w+', raw), 'a path of one machine'
    outputs = [o['output_type'] for c in json.loads(raw)['cells'] for o in c.get('outputs', [])]
    assert outputs and 'error' not in outputs, 'committed with outputs, none of them an error'

def test_modules_have_no_machine_paths():
    for p in [*MODULES, ROOT/'README.md']: assert not re.findall(r'/(?:home|root|Users|tmp)/\w+', p.read_text(encoding='utf-8')), p

def test_facts_live_once():
    project,cfg = tomllib.loads((ROOT/'pyproject.toml').read_text())['project'],settings()
    assert project['name'] == cfg['name']
    assert set(project) == {'name', 'requires-python', 'dynamic'}
    import onconet
    assert onconet.__version__ == cfg['version'] == md.version('onconet')

DISTS = {mod: {d.lower().replace('_', '-') for d in ds} for mod,ds in md.packages_distributions().items()}

def required(*keys): return {re.match(r'[\w.-]+', r)[0].lower().replace('_', '-') for k in keys for r in settings()[k].split('\n')[1:]}

def undeclared(nodes, known):
    "Third-party packages that these nodes of a syntax tree import and none of `known` brings"
    used = {a.name for n in nodes if isinstance(n, ast.Import) for a in n.names} | {n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level}
    return {m for m in {u.split('.')[0] for u in used} - set(sys.stdlib_module_names) - {'onconet'} if not DISTS.get(m, {m}) & known}

@pytest.mark.parametrize('py', MODULES, ids=lambda p: p.stem)
def test_imports_of_a_module_are_required(py):
    "At its top by settings.ini's requirements, inside a function by an extra at least"
    tree = ast.parse(py.read_text(encoding='utf-8'))
    missing = undeclared(tree.body, required('requirements')) | undeclared(list(ast.walk(tree)), required(*(k for k in settings() if k.endswith('requirements'))))
    assert not missing, f'not in settings.ini: {missing}'

@pytest.mark.parametrize('nb', NOTEBOOKS, ids=lambda p: p.stem)
def test_imports_of_a_notebook_are_required(nb):
    cells = [''.join(c['source']) for c in json.loads(nb.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']
    code = '\n'.join(re.sub(r'^\s*[%!].*', '', c, flags=re.M) for c in cells)
    missing = undeclared(list(ast.walk(ast.parse(code))), required('requirements', 'dev_requirements'))
    assert not missing, f'not in settings.ini: {missing}'

def test_import_is_light():
    heavy = 'numpy pandas torch fastai matplotlib sklearn scipy'.split()
    out = run(sys.executable, '-c', f'import sys, onconet; print([m for m in {heavy} if m in sys.modules])', check=True).stdout
    assert out.strip() == '[]'

def seconds(*args, n=5):
    def once():
        t = time.perf_counter(); run(*args, check=True)
        return time.perf_counter() - t
    return min(once() for _ in range(n))

def test_import_is_quick():
    assert seconds(sys.executable, '-c', 'import onconet') - seconds(sys.executable, '-c', 'pass') < .2

def test_help_is_quick(): assert seconds(BIN/'onconet', '--help') < 1

def test_data_are_what_their_readme_says():
    files = [p for p in (ROOT/'data').rglob('*') if p.is_file() and p.name not in ('README.md', 'SHA256SUMS')]
    said = ''.join((ROOT/'data'/f).read_text() for f in ('README.md', 'SHA256SUMS') if (ROOT/'data'/f).exists()).splitlines()
    assert files and sum(p.stat().st_size for p in files) <= 8*2**20
    for p in files:
        sha = hashlib.sha256(p.read_bytes()).hexdigest()
        assert any(p.relative_to(ROOT/'data').as_posix() in line and sha in line for line in said), f'{p.name}: {sha}'

def test_data_are_found_in_the_checkout():
    from onconet.core import embedded
    assert embedded('README.md') == ROOT/'data/README.md'

def test_data_readme_says_where_from():
    text = (ROOT/'data/README.md').read_text().lower()
    assert len(text) > 300 and 'licen' in text and 'chiaretti' in text

@pytest.mark.skipif(not shutil.which('make'), reason='no make')
class TestMake:
    "The Makefile on a bare machine, as far as it gets without an install"
    @pytest.fixture
    def place(self, tmp_path):
        d = tmp_path/'a folder'
        d.mkdir()
        for f in ('Makefile', 'settings.ini', 'setup.py', 'pyproject.toml', 'constraints.txt'): shutil.copy(ROOT/f, d)
        return d

    def test_help(self, place):
        out = run('make', cwd=place).stdout
        for target in ('demo', 'test', 'lab', 'docs', 'clean'): assert f'make {target} ' in out

    def test_old_python(self, place):
        old = place/'python3'
        old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.2\nexit 1\n'); old.chmod(0o755)
        out = run('make', 'demo', f'PYTHON={old}', cwd=place)
        assert out.returncode and 'needs Python 3.11 or newer' in out.stdout and 'Python 3.9.2' in out.stdout

    def test_clean(self, place):
        for d in ('report', '_site', 'onconet/__pycache__', '.venv/__pycache__', 'nbs'): (place/d).mkdir(parents=True)
        assert run('make', 'clean', cwd=place).returncode == 0
        assert not any((place/d).exists() for d in ('report', '_site')) and (place/'nbs').exists()
        assert (place/'.venv/__pycache__').exists() and not (place/'onconet/__pycache__').exists()
