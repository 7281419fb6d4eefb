"Every encoder with every fusion: trains, reaches each parameter, cannot be moved by what is absent, survives a file, bfloat16 and the compiler"
import json
import tempfile

import numpy as np
import pytest
import torch
from fastai.losses import CrossEntropyLossFlat
from safetensors.torch import load, save

from onconet.core import batch_names, set_seed
from onconet.data.cohort import digital_cohort
from onconet.data.images import Embeddings
from onconet.data.prep import Prep
from onconet.fusion import FUSIONS
from onconet.model import ENCODERS, build, config_of, onconet_for

# The modality each kind of data has here, and arguments that keep an encoder small
WHERE = dict(image='image', matrix='genomic', mixed='clinical', bag='slide')
SMALL = dict(residual=dict(widths=[32,32]), backbone=dict(name='mobilenetv3_small_050'), hybrid=dict(widths=[32,32], depth=1), perceiver=dict(latents=4),
             **{k: dict(width=8, latents=2) for k in ('gcn','gat','gin')})
PLAIN = dict(image=dict(kind='residual', **SMALL['residual']), genomic=dict(kind='mlp'), clinical={}, slide={})
EACH = [(kind, name) for kind,of in ENCODERS.items() for name in of]

@pytest.fixture(scope='module')
def data(tmp_path_factory):
    "64 simulated patients with images, genes, a sheet and bags of embeddings; a third of it missing"
    d,rng = tmp_path_factory.mktemp('slides'),np.random.default_rng(0)
    cohort = digital_cohort(64, seed=0, missing=0, size=32); sets = cohort.gene_sets
    for i,y in zip(cohort.ids, cohort.y): np.save(d/f'{i}.npy', rng.normal(size=(2+y, 6)).astype(np.float32)+y)
    present = rng.random((64, 4)) > .33
    present[~present.any(1), 0] = True
    cohort = cohort.remade(modalities=cohort.modalities | {'slide': Embeddings(d)}, present=present)
    return cohort, Prep.fit(cohort, genes=30, tiles=4), sets

TILES = dict(kind='bag', tile=dict({'class': 'ResidualCNN'}, widths=[32,32], size=32, d=12))

def make(cohort, prep, sets, kind, name, fusion, only=None):
    "A model of all four modalities, or of some, one of them with the encoder in question"
    special = TILES if (kind, name) == ('image','bag') else dict(kind=name, **SMALL.get(name, {}))
    set_seed(0)
    encoders = {k: v for k,v in (PLAIN | {WHERE[kind]: special}).items() if only is None or k in only}
    return onconet_for(prep, cohort.classes, d=12, fusion=fusion, only=only, sets=sets, encoders=encoders)

def batch_for(cohort, prep, kind, name):
    "All patients; images as bags of two tiles where bags are asked for"
    batch = prep(cohort)
    batch = {k: v if isinstance(v, torch.Tensor) else v[np.arange(len(cohort))] for k,v in batch.items()}
    if (kind, name) == ('image','bag'): batch['image'] = torch.stack([batch['image'], batch['image'].flip(3)], 1)
    return batch

def spoiled(batch):
    "NaN, or 7, wherever a modality is absent"
    out = dict(batch)
    for i,k in enumerate(batch_names(batch)):
        away = ~batch['present'][:,i].view(-1, *[1]*(batch[k].ndim-1))
        out[k] = torch.where(away, torch.full_like(batch[k], 7 if batch[k].dtype == torch.uint8 else torch.nan), batch[k])
    return out

def grads(model, batch, y, half=False):
    "Gradients of a training step with a fixed dropout, perhaps in bfloat16; the loss must be finite"
    model.train().zero_grad(); set_seed(0)
    with torch.autocast('cpu', torch.bfloat16, enabled=half): scores = model(batch)[0]
    loss = CrossEntropyLossFlat()(scores.float(), y); loss.backward()
    assert loss.isfinite()
    return {n: p.grad.clone() for n,p in model.named_parameters() if p.grad is not None}

@pytest.mark.parametrize('fusion', FUSIONS)
@pytest.mark.parametrize('kind,name', EACH, ids=[f'{k}-{n}' for k,n in EACH])
def test_pair(data, kind, name, fusion):
    cohort,prep,sets = data
    model,batch,y,loss = make(cohort, prep, sets, kind, name, fusion),batch_for(cohort, prep, kind, name),torch.as_tensor(cohort.y),CrossEntropyLossFlat()
    opt,losses = torch.optim.Adam(model.parameters(), 3e-3),[]
    touched = {n: 0. for n,_ in model.named_parameters()}
    for _ in range(10):
        opt.zero_grad(); l = loss(model.train()(batch)[0], y); l.backward(); opt.step(); losses.append(l.item())
        for n,p in model.named_parameters(): touched[n] += 0. if p.grad is None else p.grad.abs().sum().item()
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    assert not [n for n,g in touched.items() if not g > 0], 'parameters without a gradient'
    clean,dirty = grads(model, batch, y),grads(model, spoiled(batch), y)
    assert clean and clean.keys() == dirty.keys() and all(torch.equal(clean[n], dirty[n]) for n in clean)
    assert all(g.isfinite().all() for g in grads(model, spoiled(batch), y, half=True).values())
    model.eval()
    with torch.no_grad():
        out,_,alpha = model(batch)
        assert torch.equal(model(spoiled(batch))[0], out)
        assert (alpha[~batch['present']] == 0).all() and torch.allclose(alpha.sum(1), torch.ones(64), atol=1e-4)
        twin = build(json.loads(json.dumps(config_of(model))))
        twin.load_state_dict(load(save({k: v.contiguous() for k,v in model.state_dict().items()})))
        assert torch.equal(twin.eval()(batch)[0], out)
        with torch.autocast('cpu', torch.bfloat16): half = model(batch)[0]
        assert half.isfinite().all() and (half.float()-out).abs().max() < .25*out.abs().max()

@pytest.mark.parametrize('kind,name,fusion', [pytest.param(k, n, f, marks=[] if f == 'attention' or n == 'mlp' else pytest.mark.slow) for k,n in EACH for f in FUSIONS])
def test_compiles(data, kind, name, fusion):
    "The compiler's graph gives the same numbers and gradients; by default each encoder with attention and each fusion with a perceptron, all pairs with `-m slow`"
    cohort,prep,sets = data
    model,batch = make(cohort, prep, sets, kind, name, fusion, sorted({WHERE[kind], 'clinical'})).eval(),batch_for(cohort, prep, kind, name)
    rows = batch['present'][:,[list(WHERE.values()).index(k) for k in model.names]].any(1)
    batch = {k: v[rows] for k,v in batch.items()}
    out = model(batch)[0]; out.square().sum().backward()
    grads = {n: p.grad.clone() for n,p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    torch._dynamo.reset()
    again = torch.compile(model, backend='aot_eager')(batch)[0]; again.square().sum().backward()
    assert torch.allclose(again, out, atol=1e-4)
    for n,p in model.named_parameters():
        if n in grads: assert torch.allclose(p.grad, grads[n], atol=1e-3, rtol=1e-2), n

def test_heads(data):
    "All kinds of heads at once, with targets that some patients lack: weights stay finite, and a file gives the same answers"
    from onconet.heads import Classes, Cox, Hazards, Labels, Number
    from onconet.learner import Bfloat16, onco_learner
    from onconet.trained import load_model
    cohort,_,sets = data
    p = cohort.patients.assign(age=cohort.table('clinical')['age'].to_numpy(), seen=cohort.patients['event'])
    p = p.astype({'age': float, 'seen': float, 'time': float})
    for i,c in enumerate(('age','seen','time')): p.loc[p.index[i::7], c] = np.nan
    p = p.assign(label=p['label'].where(np.arange(64) % 9 > 0))
    cohort = cohort.remade(patients=p)
    dls = cohort.dataloaders(np.arange(48), np.arange(48, 64), bs=16, tiles=4, heads=[Classes(weights='balanced'), Labels('seen'), Cox(), Hazards(bins=3), Number('age')])
    set_seed(0)
    learn = onco_learner(dls, lr=3e-3, cbs=Bfloat16())
    with learn.no_bar(), learn.no_logging(): learn.fit(6)
    losses = [float(v[0]) for v in learn.recorder.values]
    assert losses[-1] < losses[0]
    assert all(v.isfinite().all() for v in learn.model.state_dict().values())
    got = learn.trained.predict(cohort)
    with tempfile.TemporaryDirectory() as d:
        learn.trained.save(d)
        assert load_model(d).predict(cohort).equals(got)
    assert {'predicted','prob_seen','risk','risk_4','age'} <= set(got)
