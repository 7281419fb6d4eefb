"The command line as a stranger uses it: from a folder of files, in a process of its own"
import os, re, shutil, signal, subprocess, sys, time
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

def test_ensemble(work):
    "Two seeds answer as one: the mean of what each says alone, from files"
    d,_ = work
    train = ['train', '--data', 'mine', '--task', 'kind', '--epochs', 1, '--size', 16, '--group', 'person']
    for out,*more in (('e', '--members', 2), ('e0',), ('e1', '--seed', 1)): assert onconet(*train, '--out', out, *more, cwd=d).returncode == 0
    for m in ('e','e0','e1'): assert onconet('predict', '--model', m, '--data', 'mine', '--out', f'{m}.csv', cwd=d).returncode == 0
    e,a = pd.read_csv(d/'e.csv').filter(like='prob_'),pd.read_csv(d/'e0.csv').filter(like='prob_')
    assert sorted(p.name for p in (d/'e').iterdir()) == ['config.json','member0','member1','valid.csv']
    assert (e-a).abs().max().max() > 1e-4
    assert onconet('evaluate', '--model', 'e', '--data', 'mine', '--group', 'person', cwd=d).returncode == 0
    fails(onconet(*train, '--out', 'e', '--members', 0, cwd=d), '--members 0')
    assert onconet('train', '--data', 'leukaemia', '--task', 'molecular', '--out', 'l', '--epochs', 1, '--genes', 20, '--members', 2, cwd=d).returncode == 0
    r = onconet('evaluate', '--model', 'l', '--data', 'leukaemia', cwd=d)
    assert r.returncode == 0 and 'trained on' in r.stdout, r.stdout+r.stderr

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
    ('train --data mine --task kind --out m --seed 99999999999', ['seed', '4294967295']),
    ('data example m --seed -1', ['seed']),
    ('data example m --n 7', ['--n 7', '8']),
    ('data example m --n 1000000000000000', ['memory', '--n']),
    ('train --data mine --task kind --out m --epochs 1 --size 100000000', ['memory', '--size', '--cache disk']),
    ('demo --out m --seed 4294967295', ['seed']),
    ('tables --out m --seed 4294967295', ['seed']),
    ('tables --out m --only fusions', ["'fusions'", 'leukaemia_nested']),
    ('train --data mine --task kind --out m --balance site', ['balance site', '--site']),
])
def test_mistakes_of_words(work, words, parts):
    fails(onconet(*words.split(), cwd=work[0]), *parts)
    assert not (work[0]/'m').exists()

@pytest.mark.parametrize('words,part', [('--fusion glue', 'attention'), ('--audit loud', 'audit loud'), ('--size 15', '16'), ('--lr nan', 'lr nan'), ('--lr inf', 'lr inf'), ('--valid .6', 'valid 0.6')])
def test_options_are_checked_before_data(work, words, part):
    "The folder does not even exist, and yet the option is what is complained about"
    fails(onconet('train', '--data', 'nowhere', '--out', 'm', *words.split(), cwd=work[0]), words.split()[0], part)

def keep_only(d, ids):
    "Take all other patients out of a folder"
    for t in ('patients','clinical'): (x := pd.read_csv(d/f'{t}.csv', dtype={'id': str}))[x['id'].isin(ids)].to_csv(d/f'{t}.csv', index=False)
    g = pd.read_parquet(d/'genomic.parquet'); g[g.index.isin(ids)].to_parquet(d/'genomic.parquet')
    for i in (d/'images').iterdir():
        if i.name not in ids: shutil.rmtree(i)

def test_evaluate_knows_whom_it_was_trained_on(work, tmp_path):
    "A warning for the folder of the training, none for those held out nor for others of the same ids, and one where nobody can tell"
    d,_ = work; held = pd.read_csv(d/'model'/'valid.csv', dtype=str)['id'].tolist()
    keep_only(write_patients(tmp_path/'held'), held)
    (p := write_patients(tmp_path/'others')/'patients.csv').write_text(p.read_text().replace('ALL', '?').replace('AML', 'ALL').replace('?', 'AML'))
    def score(data, model=d/'model'):
        r = onconet('evaluate', '--model', model, '--data', data, cwd=tmp_path)
        assert r.returncode == 0 and 'accuracy' in r.stdout, r.stderr
        return r.stdout
    assert re.search(f'warning: .*{len(held)} patients .*valid.csv.*trained on', score(d/'mine'))
    assert 'warning' not in score('held') and 'trained on' not in score('others')
    shutil.copytree(d/'model', tmp_path/'bare'); (tmp_path/'bare'/'valid.csv').unlink()
    assert 'nobody can tell' in score('held', 'bare')

def test_a_set_says_whom_it_leaves_out(tmp_path):
    r = onconet('train', '--data', 'leukaemia', '--task', 'molecular', '--out', 'm', '--epochs', 1, '--genes', 20, cwd=tmp_path)
    assert r.returncode == 0 and 'note: patients: 49 of 128' in r.stdout, r.stdout+r.stderr

def test_laml_learns_classes(tmp_path):
    from onconet.data.files import home
    if not (home()/'tcga_laml').exists(): pytest.skip('ONCONET_DATA has no tcga_laml')
    for words in ([], ['--task', 'survival']):
        fails(onconet('train', '--data', 'laml', '--out', 'm', *words, cwd=tmp_path), ': fab', *['classes']*len(words[1:]))
    r = onconet('train', '--data', 'laml', '--task', 'fab', '--out', 'm', '--epochs', 1, '--genes', 20, cwd=tmp_path)
    assert r.returncode == 0 and 'note: patients: 8 of 200' in r.stdout, r.stdout+r.stderr

def spoil_text_png(d): (d/'images'/'000'/'a.png').write_text('hello')
def spoil_empty_png(d): (d/'images'/'000'/'a.png').write_bytes(b'')
def spoil_twice(d): (p := d/'patients.csv').write_text(p.read_text() + '001,ALL,p0,x\n')
def spoil_no_id(d): (p := d/'patients.csv').write_text(p.read_text() + ',ALL,p0,x\n')
def spoil_label(d): (p := d/'patients.csv').write_text(p.read_text().replace('005,ALL', '005,'))
def spoil_inf(d): (d/'genomic.parquet').unlink(); pd.DataFrame({'id': ['001','002'], 'G0': [1,np.inf], 'G1': [1.,2]}).to_csv(d/'genomic.csv', index=False)
def spoil_strange(d): (p := d/'clinical.csv').write_text(p.read_text() + '999,40,f\n')
def spoil_binary(d): (d/'clinical.csv').write_bytes(bytes(range(256)))
def spoil_predictions(d): (d/'old.csv').write_text('id,predicted,prob_ALL,prob_AML\n001,ALL,.9,.1\n')
def spoil_both(d): (d/'genomic.csv').write_text('id,G0\n001,1\n')
def spoil_name(d): (d/'rna.v2.csv').write_text('id,G0\n001,1\n')
def spoil_text(d): (d/'genomic.parquet').unlink(); pd.DataFrame({'id': ['001','002'], 'G0': [1.,2], 'G1': ['1.5','low']}).to_csv(d/'genomic.csv', index=False)
def spoil_classes(d): pd.read_csv(d/'patients.csv', dtype={'id': str}).assign(kind=np.arange(48)/7).to_csv(d/'patients.csv', index=False)
def spoil_truncated(d): (p := d/'images'/'000'/'a.png').write_bytes(p.read_bytes()[:300])
def spoil_transposed(d): pd.read_parquet(d/'genomic.parquet').T.rename_axis('id').to_parquet(d/'genomic.parquet')
def spoil_dates(d): pd.read_csv(d/'clinical.csv', dtype={'id': str}).assign(seen='2021-03-02').to_csv(d/'clinical.csv', index=False)
def spoil_below(d): (p := d/'clinical.csv').write_text(re.sub(r'^(010,)[^,]*', r'\1<5', p.read_text(), flags=re.M))
def spoil_one_class(d): pd.read_csv(d/'patients.csv', dtype={'id': str}).assign(kind='ALL').to_csv(d/'patients.csv', index=False)
def spoil_zeros(d): pd.read_csv(d/'clinical.csv').to_csv(d/'clinical.csv', index=False)
def spoil_class_folders(d): [((d/'images'/k).mkdir(), shutil.move(d/'images'/a/'a.png', d/'images'/k/f'{a}.png'), shutil.move(d/'images'/b/'a.png', d/'images'/k/f'{b}.png')) for k,a,b in (('AML','000','002'), ('ALL','004','006'))]
def spoil_deep(d): (d/'images'/'000'/'more').mkdir()
def spoil_split(d): pd.read_csv(d/'patients.csv', dtype={'id': str}).assign(split=['learn']*40+['test']*8).to_csv(d/'patients.csv', index=False)
def spoil_nothing(d): pd.read_csv(d/'clinical.csv', dtype={'id': str}).query('id!="001"').to_csv(d/'clinical.csv', index=False)

@pytest.mark.parametrize('spoil,parts', [(spoil_text_png, ['000','a.png']), (spoil_empty_png, ['000','a.png']), (spoil_twice, ['001','twice']), (spoil_no_id, ['patients.csv','no id']),
    (spoil_label, ['005','kind']), (spoil_inf, ['002','G0','infinite']), (spoil_strange, ['clinical','999']),
    (spoil_binary, ['clinical.csv']), (spoil_nothing, ['001']), (spoil_predictions, ['old.csv']), (spoil_both, ['genomic.csv','genomic.parquet']),
    (spoil_truncated, ['000','a.png','truncated']), (spoil_transposed, ['genomic','transpose']), (spoil_dates, ['clinical','seen','dates','2021-03-02']), (spoil_below, ['age','010','<5']),
    (spoil_one_class, ['kind','two classes']), (spoil_zeros, ['clinical','000','Write both alike']), (spoil_class_folders, ['images','AML','column']), (spoil_deep, ['images/000','more']),
    (spoil_split, ['split','learn']), (spoil_name, ['rna.v2']), (spoil_text, ['genomic','G1']), (spoil_classes, ['kind','48 distinct'])], ids=lambda o: getattr(o, '__name__', ''))
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
    code = f"from onconet.trained import load_model\nt = load_model({str(work[0]/'model')!r})\nwhile True: t.save('m')"
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

def test_who_has_nothing_the_model_knows_is_left_out(work, tmp_path):
    "Four patients of 48, no images at all; an id that is nowhere is still an error, and so is a table where nobody is left"
    d = write_patients(tmp_path/'mine'); shutil.rmtree(d/'images'); c = pd.read_csv(d/'clinical.csv', dtype={'id': str}); c[4:].to_csv(d/'clinical.csv', index=False)
    words = ['predict', '--model', work[0]/'model', '--data', 'mine', '--out', 'p.csv']
    r = onconet(*words, cwd=tmp_path)
    assert r.returncode == 0 and re.search('4 patients were left out.*: 000, 001, 002 ...', r.stdout) and re.search('no patient has image', r.stdout), r.stdout+r.stderr
    assert pd.read_csv(tmp_path/'p.csv', dtype={'id': str})['id'].tolist() == [f'{i:03d}' for i in range(4, 48)]
    assert '44 patients of mine' in onconet('evaluate', *words[1:-2], cwd=tmp_path).stdout
    c[4:].assign(id=lambda d: d['id'].replace('010', '0010')).to_csv(d/'clinical.csv', index=False)
    fails(onconet(*words, cwd=tmp_path), 'clinical', '0010')
    for f in (d/'clinical.csv', d/'genomic.parquet', tmp_path/'p.csv'): f.unlink()
    pd.DataFrame({'id': c['id'], 'crp': 1.5}).to_csv(d/'lab.csv', index=False)
    fails(onconet(*words, cwd=tmp_path), 'no patient has', 'genomic', 'lab')
    assert not (tmp_path/'p.csv').exists()

def test_a_broken_model_is_named(work, tmp_path):
    m = tmp_path/'model'; shutil.copytree(work[0]/'model', m)
    (m/'model.safetensors').write_bytes((m/'model.safetensors').read_bytes()[:1000])
    fails(onconet('predict', '--model', m, '--data', work[0]/'mine', '--out', 'p.csv', cwd=tmp_path), 'model.safetensors')
    (m/'config.json').write_text('{')
    fails(onconet('predict', '--model', m, '--data', work[0]/'mine', '--out', 'p.csv', cwd=tmp_path), 'config.json')

def test_small_dirt_is_said_and_trained_on(tmp_path):
    "Spaces around ids, files of no known form, a class of one, a gap: warnings, and a model all the same"
    d = write_patients(tmp_path/'mine')
    (p := d/'clinical.csv').write_text(p.read_text().replace('\n007,', '\n 007 ,'))
    (p := d/'patients.csv').write_text(p.read_text().replace('\n047,ALL', '\n047,CLL'))
    for f in ('notes.docx', 'images/.DS_Store', 'images/scan.svs'): (d/f).touch()
    g = pd.read_parquet(d/'genomic.parquet'); g.iloc[2,3] = np.nan; g.to_parquet(d/'genomic.parquet')
    (d/'images'/'001').mkdir(); shutil.move(d/'images'/'004'/'a.png', d/'images'/'004'/'A.PNG')
    r = onconet('train', '--data', 'mine', '--task', 'kind', '--out', 'm', '--epochs', 1, '--size', 16, '--cache', 'none', '--balance', 'label', cwd=tmp_path)
    assert r.returncode == 0, r.stderr
    for word in (" 007 ", 'notes.docx', 'scan.svs', '.DS_Store', 'empty folders', 'CLL', f'patient {g.index[2]} in column G3'): assert word in r.stdout+r.stderr, word

def test_example_is_clean_and_trains(tmp_path):
    assert onconet('data', 'example', 'ex', cwd=tmp_path).returncode == 0
    assert 'imulated' in (tmp_path/'ex'/'README.txt').read_text()
    r = onconet('data', 'check', 'ex', '--task', 'label', '--site', 'site', '--out', 'page.html', cwd=tmp_path)
    assert r.returncode == 0 and r.stdout.count('None found.') == 2, r.stdout+r.stderr
    assert max(map(len, r.stdout.splitlines())) <= 100 and '<!doctype html>' in (tmp_path/'page.html').read_text()
    for word in ('40 patients', 'CML', 'S1', 'image', 'genomic', 'clinical', '155 numbers', '%'): assert word in r.stdout, word
    r = onconet('train', '--data', 'ex', '--out', 'm', cwd=tmp_path)
    fails(r, '--task', 'label')
    r = onconet('train', '--data', 'ex', '--task', 'label', '--out', 'm', '--epochs', 1, '--site', 'site', '--balance', 'site', cwd=tmp_path)
    assert r.returncode == 0, r.stderr
    fails(onconet('data', 'example', 'ex', cwd=tmp_path), 'not an empty folder')

def test_check_names_every_fault(tmp_path):
    "Two tables that cannot be read, three images, a transposed table, text among numbers and more, on one page"
    d = write_patients(tmp_path/'mine')
    for spoil in (spoil_transposed, spoil_below, spoil_dates, spoil_name, spoil_truncated): spoil(d)
    (d/'lab.csv').write_bytes(bytes(range(256))); (d/'mirna.csv').write_text('id,a,a\n001,1,2\n')
    (d/'images'/'002'/'a.png').write_bytes(b''); (d/'images'/'004'/'a.png').write_text('hello')
    (d/'uni').mkdir(); np.save(d/'uni'/'001.npy', np.ones((3,4), 'f')); np.save(d/'uni'/'003.npy', np.ones((3,5), 'f')); (d/'uni'/'005.h5').write_text('x')
    (p := d/'patients.csv').write_text(p.read_text().replace('\n005,ALL', '\n005,all')); (d/'slide.svs').touch()
    r = onconet('data', 'check', 'mine', '--task', 'kind', '--site', 'clinic', cwd=tmp_path)
    assert r.returncode == 1 and 'Traceback' not in r.stderr, r.stderr
    said = ' '.join(r.stdout.split())
    for word in ('lab.csv', 'mirna.csv', 'rna.v2', "'clinic'", 'transpose', "'<5'", 'seen', 'patient 000: 000/a.png', 'patient 002', 'patient 004', 'patient 005', '5 features',
                 'slide.svs', "'all'", 'truncated', 'empty'): assert word in said, word
    assert max(map(len, r.stdout.splitlines())) <= 100

def test_check_without_patients(tmp_path):
    d = write_patients(tmp_path/'mine'); (d/'patients.csv').unlink(); spoil_text_png(d)
    r = onconet('data', 'check', 'mine', cwd=tmp_path)
    assert r.returncode == 1 and 'no patients.csv' in r.stdout and 'a.png' in r.stdout, r.stdout+r.stderr
    fails(onconet('data', 'check', 'nowhere', cwd=tmp_path), 'nowhere')
    fails(onconet('data', 'look', cwd=tmp_path), 'look', 'check')
    d = write_patients(tmp_path/'other'); spoil_text_png(d)
    r = onconet('data', 'check', 'other', '--task', 'kind', '--group', 'person', '--quick', cwd=tmp_path)
    assert r.returncode == 0 and 'not opened' in r.stdout, r.stdout

def test_check_finds_who_it_is(tmp_path):
    d = write_patients(tmp_path/'mine'); n = 48
    p = pd.read_csv(d/'patients.csv', dtype={'id': str})
    p.assign(Nachname=[f'Muster{i}' for i in range(n)], contact=['call']*47+['a.b@example.org'], fecha_nacimiento=[f'{1+i%28:02d}/03/{1930+i}' for i in range(n)],
             hospital_no=np.arange(n)*37+400000, remark=[f'seen {i} times by the family doctor' for i in range(n)]).to_csv(d/'patients.csv', index=False)
    pd.read_csv(d/'clinical.csv', dtype={'id': str}).assign(age=[93.]+[50.]*47).to_csv(d/'clinical.csv', index=False)
    exif = Image.Exif(); exif[315] = 'somebody'; exif.get_ifd(0x8825)[1] = 'N'
    Image.open(d/'images'/'000'/'a.png').save(d/'images'/'000'/'b.jpg', exif=exif)
    r = onconet('data', 'check', 'mine', '--task', 'kind', cwd=tmp_path)
    page = r.stdout.split('Suspected identifiers\n')[1]
    assert r.returncode == 1
    for word in ('patients.Nachname', 'patients.contact', 'patients.fecha_nacimiento', 'patients.hospital_no', 'patients.remark', 'clinical.age', 'GPS', 'Artist'): assert word in page, word
    for word in ('Muster1', 'example.org', '/03/1930'): assert word not in page, word

def test_official_parts_and_the_audit(tmp_path):
    d = write_patients(tmp_path/'mine')
    p = pd.read_csv(d/'patients.csv', dtype={'id': str}).assign(split=['train']*28+['valid']*10+['test']*10); p.to_csv(d/'patients.csv', index=False)
    shutil.copy(d/'images'/'000'/'a.png', d/'images'/'030'/'a.png')
    train = ['train', '--data', 'mine', '--task', 'kind', '--out', 'm', '--epochs', 1, '--size', 16]
    r = onconet(*train, '--audit', 'fail', cwd=tmp_path)
    assert r.returncode == 2 and 'Traceback' not in r.stderr and re.search('image: .* families stand in several splits .000, 030', r.stderr), r.stderr
    assert not (tmp_path/'m').exists()
    r = onconet(*train, cwd=tmp_path)
    assert r.returncode == 0 and '28 patients, 10 held out' in r.stdout and re.search('warning: audit: image.*000', r.stdout), r.stdout+r.stderr
    assert pd.read_csv(tmp_path/'m'/'valid.csv', dtype={'id': str})['id'].tolist() == p['id'][28:38].tolist()
    for split,said,seen in (([], '10 patients of mine, test part', False), (['--split', 'all'], '48 patients of mine (', True), (['--split', 'train'], '28 patients of mine, train part', True)):
        r = onconet('evaluate', '--model', 'm', '--data', 'mine', *split, cwd=tmp_path)
        assert said in r.stdout and ('trained on' in r.stdout) == seen, r.stdout+r.stderr

def test_class_folders_train(tmp_path):
    rng = np.random.default_rng(0)
    for k in ('ALL','AML'):
        (tmp_path/'cells'/k).mkdir(parents=True)
        for i in range(12): Image.fromarray(rng.integers(0, 255, (16,16,3), dtype=np.uint8)).save(tmp_path/'cells'/k/f'{k}{i}.png')
    r = onconet('train', '--data', 'cells', '--out', 'm', '--epochs', 1, '--size', 16, cwd=tmp_path)
    assert r.returncode == 0 and '24 patients of 2 classes' in r.stdout, r.stdout+r.stderr

def test_list_and_fetch(tmp_path):
    r = onconet('data', 'list', cwd=tmp_path)
    assert r.returncode == 0 and all(k in r.stdout for k in ('bloodmnist', 'leukaemia', 'CC BY 4.0'))
    fails(onconet('data', 'fetch', 'cnmc', cwd=tmp_path), 'https://', 'folder')
    fails(onconet('data', 'fetch', 'mnist', cwd=tmp_path), 'mnist')

def test_bloodmnist_from_its_name(tmp_path):
    "The official split; the file at hand says whether it is BloodMNIST or PBC-28"
    from onconet.data.files import home
    if not any((home()/d/'bloodmnist.npz').exists() for d in ('pbc28','bloodmnist')): pytest.skip('ONCONET_DATA has no pbc28/bloodmnist.npz')
    r = onconet('train', '--data', 'bloodmnist', '--out', 'm', '--epochs', 1, cwd=tmp_path)
    assert r.returncode == 0 and 'of 8 classes' in r.stdout and '11959 patients, 1712 held out' in r.stdout, r.stdout+r.stderr
    r = onconet('evaluate', '--model', 'm', '--data', 'bloodmnist', cwd=tmp_path)
    assert '3421 patients' in r.stdout and 'test part' in r.stdout
    assert float(re.search(r'accuracy +([\d.]+)', r.stdout)[1]) > .6

def test_treat(tmp_path):
    "A sheet of visits, beside a folder that bears the name of a policy"
    (tmp_path/'agent').mkdir()
    sheet = 'month,bcr_abl,dose\n3,4.1,1\n6,.62,1\n12,.13,1\n24,.02,1\n60,.004,.5\n63,.02,.75\n66,{},\n'
    (tmp_path/'eve.csv').write_text(sheet.format('.009'))
    r = onconet('treat', '--patient', 'eve.csv', '--since', '60', '--out', 'eve', cwd=tmp_path)
    assert r.returncode == 0 and 'the agent would give' in r.stdout and 'esearch use only' in r.stdout, r.stderr
    assert sorted(p.name for p in (tmp_path/'eve').iterdir()) == ['doses.csv','outlook.png','policies.csv']
    (tmp_path/'eve.csv').write_text(sheet.format('nan'))
    fails(onconet('treat', '--patient', 'eve.csv', '--out', 'eve', cwd=tmp_path), 'eve.csv', 'row 7', 'bcr_abl')
