"The command line as a stranger uses it: from a folder of files, in a process of its own"
import os, re, signal, subprocess, sys, time
from pathlib import Path
import numpy as np, pandas as pd, pytest
from PIL import Image

BIN = Path(sys.executable).with_name('onconet')

def onconet(*words, cwd, env=None, **kw):
    return subprocess.run([BIN, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=600, env={**os.environ, **(env or {})}, **kw)

def fails(run, *parts):
    "One line, code 2, no traceback, and it names the place"
    assert run.returncode == 2 and 'Traceback' not in run.stderr, run.stderr
    lines = [l for l in run.stderr.splitlines() if not l.startswith(('warning:','usage:',' '))]
    assert len(lines) == 1, run.stderr
    for p in parts: assert p in lines[0], (p, lines[0])

def write_patients(d, n=48):
    "A small folder in the documented layout: ids with leading zeros, gaps, some images absent"
    rng,ids = np.random.default_rng(0),[f'{i:03d}' for i in range(n)]
    kind = np.where(np.arange(n) % 2, 'ALL', 'AML')
    d.mkdir()
    pd.DataFrame({'id': ids, 'kind': kind, 'person': [f'p{i//2}' for i in range(n)], 'lab': np.where(np.arange(n) < n//2, 'x', 'y')}).to_csv(d/'patients.csv', index=False)
    g = pd.DataFrame(rng.normal(size=(n,12)) + (kind == 'ALL')[:,None], ids, [f'G{i}' for i in range(12)]); g.index.name = 'id'
    g.iloc[4:].to_parquet(d/'genomic.parquet')
    c = pd.DataFrame({'age': rng.integers(2, 80, n).astype(float), 'sex': rng.choice(['f','m'], n)}, pd.Index(ids, name='id'))
    c.iloc[3,0] = np.nan; c.to_csv(d/'clinical.csv')
    for i,k in zip(ids[::2], kind[::2]):
        (d/'images'/i).mkdir(parents=True)
        Image.fromarray(rng.integers(0, 255, (20,24,3), dtype=np.uint8)).save(d/'images'/i/'a.png')
    return d

@pytest.fixture(scope='module')
def work(tmp_path_factory):
    d = tmp_path_factory.mktemp('cli')
    write_patients(d/'mine')
    r = onconet('train', '--data', 'mine', '--task', 'kind', '--out', 'model', '--epochs', 3, '--size', 16, '--group', 'person', cwd=d)
    assert r.returncode == 0, r.stderr
    return d, r

def test_every_command_has_help(tmp_path):
    r = onconet('--help', cwd=tmp_path)
    assert r.returncode == 0 and 'Research use only' in r.stdout
    for c in re.findall(r'^  (\w+) ', r.stdout, re.M): assert onconet(c, '--help', cwd=tmp_path).returncode == 0

def test_version(tmp_path):
    assert re.fullmatch(r'onconet \d+\.\d+\.\d+\n', onconet('--version', cwd=tmp_path).stdout)

def test_train_predict_evaluate(work):
    d,r = work
    assert 'accuracy' in r.stdout and 'Research use only' in r.stdout
    assert {p.name for p in (d/'model').iterdir()} == {'config.json','model.safetensors','valid.csv'}
    assert onconet('predict', '--model', 'model', '--data', 'mine', '--out', 'preds.csv', cwd=d).returncode == 0
    p = pd.read_csv(d/'preds.csv', dtype={'id': str}, index_col='id')
    assert 'true_kind' in pd.read_csv(d/'model'/'valid.csv')
    assert p.index[7] == '007' and np.allclose(p.filter(like='prob_').sum(axis=1), 1, atol=1e-4)
    assert not p.loc['001','has_image'] and p.loc['001','weight_image'] == 0 and not p.loc['000','has_genomic']
    again = onconet('predict', '--model', 'model', '--data', 'mine', '--out', 'again.csv', cwd=d)
    assert again.returncode == 0 and (d/'again.csv').read_text() == (d/'preds.csv').read_text()
    assert 'macro_recall' in onconet('evaluate', '--model', 'model', '--data', 'mine', cwd=d).stdout

def test_training_is_deterministic(work):
    d,_ = work
    assert onconet('train', '--data', 'mine', '--task', 'kind', '--out', 'twin', '--epochs', 3, '--size', 16, '--group', 'person', cwd=d).returncode == 0
    assert (d/'twin'/'model.safetensors').read_bytes() == (d/'model'/'model.safetensors').read_bytes()

@pytest.mark.parametrize('words,parts', [
    ('train --data nowhere --task kind --out m', ['nowhere']),
    ('train --data mine --task stage --out m', ["'stage'", 'person']),
    ('train --data mine --task kind --out m --fusion glue', ['glue', 'attention']),
    ('train --data mine --task kind --out m --group clinic', ["'clinic'"]),
    ('train --data mine --task kind --out m --valid .9', ['valid']),
    ('train --data mine --task kind --out m --epochs 0', ['epochs']),
    ('train --data leukaemia --task cure --out m', ['cure', 'molecular']),
    ('train --data mine', []),
    ('predict --model nomodel --data mine', ['nomodel', 'config.json']),
    ('evaluate --model model --data leukaemia --task molecular', ['classes']),
    ('dance', ['dance', 'train']),
    ('train --data mine --task kind --out m --bs 0', ['bs']),
    ('train --data mine --task kind --out m --seed -1', ['seed']),
    ('train --data mine --task kind --out mine/patients.csv', ['patients.csv']),
    ('predict --model model --data mine --out mine/preds.csv', ['preds.csv', 'modality']),
    ('predict --model model --data mine --out mine', ['folder']),
    ('train --data mine --task age_in_days --out m', ["'age_in_days'"]),
])
def test_mistakes_of_words(work, words, parts):
    fails(onconet(*words.split(), cwd=work[0]), *parts)
    assert not (work[0]/'m').exists()

def spoil_text_png(d): (d/'images'/'000'/'a.png').write_text('hello')
def spoil_empty_png(d): (d/'images'/'000'/'a.png').write_bytes(b'')
def spoil_twice(d): (p := d/'patients.csv').write_text(p.read_text() + '001,ALL,p0,x\n')
def spoil_no_id(d): (p := d/'patients.csv').write_text(p.read_text() + ',ALL,p0,x\n')
def spoil_label(d): (p := d/'patients.csv').write_text(p.read_text().replace('005,ALL', '005,'))
def spoil_inf(d): (p := d/'genomic.parquet').unlink(); pd.DataFrame({'id': ['001','002'], 'G0': [1,np.inf], 'G1': [1.,2]}).to_csv(d/'genomic.csv', index=False)
def spoil_gap(d): (p := d/'genomic.parquet').unlink(); pd.DataFrame({'id': ['001','002'], 'G0': [1,np.nan], 'G1': [1.,2]}).to_csv(d/'genomic.csv', index=False)
def spoil_strange(d): (p := d/'clinical.csv').write_text(p.read_text() + '999,40,f\n')
def spoil_binary(d): (d/'clinical.csv').write_bytes(bytes(range(256)))
def spoil_predictions(d): (d/'old.csv').write_text('id,predicted,prob_ALL,prob_AML\n001,ALL,.9,.1\n')
def spoil_both(d): (d/'genomic.csv').write_text('id,G0\n001,1\n')
def spoil_name(d): (d/'rna.v2.csv').write_text('id,G0\n001,1\n')
def spoil_text(d): (p := d/'genomic.parquet').unlink(); pd.DataFrame({'id': ['001','002'], 'G0': [1.,2], 'G1': ['1.5','low']}).to_csv(d/'genomic.csv', index=False)
def spoil_classes(d): pd.read_csv(d/'patients.csv', dtype={'id': str}).assign(kind=np.arange(48)/7).to_csv(d/'patients.csv', index=False)
def spoil_nothing(d): pd.read_csv(d/'clinical.csv', dtype={'id': str}).query('id!="001"').to_csv(d/'clinical.csv', index=False)

@pytest.mark.parametrize('spoil,parts', [(spoil_text_png, ['000','a.png']), (spoil_empty_png, ['000','a.png']), (spoil_twice, ['001','twice']), (spoil_no_id, ['patients.csv','no id']),
    (spoil_label, ['005','kind']), (spoil_inf, ['002','G0','infinite']), (spoil_gap, ['002','G0','missing']), (spoil_strange, ['clinical','999']),
    (spoil_binary, ['clinical.csv']), (spoil_nothing, ['001']), (spoil_predictions, ['old.csv']), (spoil_both, ['genomic.csv','genomic.parquet']),
    (spoil_name, ['rna.v2']), (spoil_text, ['genomic','G1']), (spoil_classes, ['kind','48 distinct'])], ids=lambda o: getattr(o, '__name__', ''))
def test_mistakes_in_files(tmp_path, spoil, parts):
    spoil(write_patients(tmp_path/'mine'))
    fails(onconet('train', '--data', 'mine', '--task', 'kind', '--out', 'm', '--epochs', 1, '--size', 16, cwd=tmp_path), *parts)
    assert not (tmp_path/'m').exists()

def test_predict_wants_the_columns(work, tmp_path):
    d,_ = work
    mine = write_patients(tmp_path/'mine')
    pd.read_parquet(mine/'genomic.parquet').drop(columns='G3').to_parquet(mine/'genomic.parquet')
    fails(onconet('predict', '--model', d/'model', '--data', mine, '--out', 'p.csv', cwd=tmp_path), 'G3', 'genomic')
    assert not (tmp_path/'p.csv').exists()

def test_a_kill_while_saving_leaves_a_whole_model(work, tmp_path):
    "Saved over and over by a process that is killed in the middle, five times; what is there is always a model"
    code = f"from onconet.learner import load_model\nt = load_model({str(work[0]/'model')!r})\nwhile True: t.save('m')"
    for i in range(5):
        p = subprocess.Popen([sys.executable, '-W', 'ignore', '-c', code], cwd=tmp_path)
        while not (tmp_path/'m'/'config.json').exists(): time.sleep(.05); assert p.poll() is None
        if i: time.sleep(8)
        time.sleep(.011*i); p.send_signal(signal.SIGKILL); p.wait()
        for f in ('config.json','model.safetensors'): assert (tmp_path/'m'/f).read_bytes() == (work[0]/'model'/f).read_bytes()

def test_predict_checks_what_it_reads(work, tmp_path):
    mine = write_patients(tmp_path/'mine')
    g = pd.read_parquet(mine/'genomic.parquet'); g.iloc[2,3] = np.inf; g.to_parquet(mine/'genomic.parquet')
    fails(onconet('predict', '--model', work[0]/'model', '--data', mine, '--out', 'p.csv', cwd=tmp_path), g.index[2], 'G3', 'infinite')

def test_a_broken_model_is_named(work, tmp_path):
    import shutil
    m = tmp_path/'model'; shutil.copytree(work[0]/'model', m)
    (m/'model.safetensors').write_bytes((m/'model.safetensors').read_bytes()[:1000])
    fails(onconet('predict', '--model', m, '--data', work[0]/'mine', '--out', 'p.csv', cwd=tmp_path), 'model.safetensors')
    (m/'config.json').write_text('{')
    fails(onconet('predict', '--model', m, '--data', work[0]/'mine', '--out', 'p.csv', cwd=tmp_path), 'config.json')
