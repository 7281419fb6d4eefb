"`onconet demo --quick` from an empty folder: a page, rows and a model that works"
import json, os, re, subprocess, sys
from pathlib import Path
import pandas as pd, pytest

BIN = Path(sys.executable).with_name('onconet')

@pytest.fixture(scope='module')
def report(tmp_path_factory):
    d = tmp_path_factory.mktemp('demo')
    r = subprocess.run([BIN, 'demo', '--quick', '--out', 'report'], cwd=d, capture_output=True, text=True, timeout=900, env={**os.environ, 'HOME': str(d)})
    assert r.returncode == 0, r.stderr[-3000:]
    assert 'report/index.html' in r.stdout
    return d/'report'

def test_page_stands_alone(report):
    html = (report/'index.html').read_text(encoding='utf-8')
    assert not re.search(r'(src|href)="(?!data:|#)', html), 'nothing is loaded from beside or outside the page'
    for want in ('Research use only', 'onconet demo --quick --out report', 'BCR/ABL', 'L1 logistic', 'AUC of OncoNet minus', 'torch', 'name="viewport"'): assert want in html, want
    captions = re.findall(r'<(?:figcaption|p class="caption")>(.*?)</', html, re.S)
    assert len(captions) >= 6
    section = html[html.index('<h2>Simulated patients'):html.index('<h2>Time')]
    for c in re.findall(r'<(?:figcaption|p class="caption")>(.*?)</', section, re.S): assert c.strip().startswith('Simulated'), c

def test_rows_are_tidy(report):
    d = pd.read_csv(report/'rows.csv')
    assert list(d) == 'table row dataset metric value seed git_sha device seconds config'.split()
    assert {'leukaemia','fusion','treatment'} == set(d.table) and d.value.notna().all() and d.git_sha.notna().all()
    assert {'OncoNet','L1 logistic','extra trees on 300'} <= set(d.row) and {'auc','auc_lo','auc_hi'} <= set(d.metric)

def test_model_predicts(report, tmp_path):
    config = json.loads((report/'model'/'config.json').read_text())
    assert config['heads'][0]['classes'] == ['NEG','BCR/ABL'] and 'Research use only' in config['notice']
    r = subprocess.run([BIN, 'predict', '--model', report/'model', '--data', 'leukaemia', '--out', 'p.csv'], cwd=tmp_path, capture_output=True, text=True)
    assert r.returncode == 0, r.stderr
    assert len(pd.read_csv(tmp_path/'p.csv')) == 128
