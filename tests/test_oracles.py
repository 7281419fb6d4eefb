"Losses and metrics agree with the libraries people know: torchsurv, lifelines, torchmetrics"
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings, strategies as st
from lifelines import CoxPHFitter
from lifelines.utils import concordance_index
from torch.nn.functional import binary_cross_entropy
from torchmetrics.classification import BinaryAUROC, MulticlassAUROC, MulticlassAccuracy, MulticlassCalibrationError, MulticlassF1Score
from torchsurv.loss.cox import neg_partial_log_likelihood
from torchsurv.metrics.cindex import ConcordanceIndex

from onconet.heads import Hazards
from onconet.losses import cox
from onconet.metrics import METRICS, auc, c_index, ece

SEEDS = given(st.integers(0, 10_000))

def survival(seed, n=60, ties=True):
    "Risk, follow-up (with ties or without) and event of n made patients; the first has an event"
    rng = np.random.default_rng(seed)
    time = rng.integers(1, 15, n).astype(float) if ties else rng.permutation(n)+1.
    event = rng.random(n) < .6; event[0] = True
    return rng.normal(size=n), time, event

@SEEDS
@settings(deadline=None, max_examples=30)
@pytest.mark.filterwarnings('ignore:Ties in `time`')
def test_cox_value_and_gradient(seed):
    risk,time,event = (torch.as_tensor(v) for v in survival(seed))
    ours,theirs = risk.clone().requires_grad_(),risk.clone().requires_grad_()
    a = cox(ours, time, event.double(), 'none').sum()
    b = neg_partial_log_likelihood(theirs, event, time, ties_method='breslow', reduction='sum')  # its mean is over times, ours over events
    a.backward(); b.backward()
    assert cox(ours, time, event.double()).item() == pytest.approx(a.item()/event.sum().item())
    assert a.item() == pytest.approx(b.item(), rel=1e-6)
    assert torch.allclose(ours.grad, theirs.grad, atol=1e-6)

def test_cox_coefficients():
    "The minimum of the loss over linear risks is where lifelines has it"
    rng = np.random.default_rng(1)
    x = rng.normal(size=(300,4)); beta = np.array([.8,-.5,0,.3])
    t,c = rng.exponential(np.exp(-x@beta)),rng.exponential(1.5, 300)
    time,event = np.minimum(t, c),t <= c
    theirs = CoxPHFitter().fit(pd.DataFrame(x).assign(time=time, event=event), 'time', 'event').params_.to_numpy()
    w,X,T,E = torch.zeros(4, dtype=torch.double, requires_grad=True),*(torch.as_tensor(v) for v in (x, time, event.astype(float)))
    opt = torch.optim.LBFGS([w], max_iter=100, tolerance_grad=1e-9, tolerance_change=1e-12)
    def closure(): opt.zero_grad(); l = cox(X@w, T, E); l.backward(); return l
    opt.step(closure)
    assert w.detach().numpy() == pytest.approx(theirs, abs=1e-4)

@SEEDS
@settings(deadline=None, max_examples=30)
def test_concordance(seed):
    for ties in (False, True):
        risk,time,event = survival(seed, ties=ties)
        ours = c_index(np.c_[time,event], risk)
        assert ours == pytest.approx(concordance_index(time, -risk, event))
        if not ties: assert ours == pytest.approx(ConcordanceIndex()(*(torch.as_tensor(v) for v in (risk, event, time))).item(), abs=1e-6)

def test_hazards_by_hand():
    "The discrete-time loss is a binary cross-entropy over the intervals that each patient was seen in"
    rng = np.random.default_rng(2)
    head,s = Hazards('time', 'event', cuts=[2.,4.,8.]),torch.as_tensor(rng.normal(size=(5,3)), dtype=torch.float)
    y = torch.tensor([[1.,1.],[3.,1.],[8.,1.],[5.,0.],[9.,0.]])
    seen = [[1.],[0.,1.],[0.,0.,1.],[0.,0.],[0.,0.,0.]]
    h = s.sigmoid()
    by_hand = [sum(binary_cross_entropy(h[i,j], torch.tensor(v)) for j,v in enumerate(row)) for i,row in enumerate(seen)]
    assert torch.allclose(head.loss(s, y, 'none'), torch.stack(by_hand), atol=1e-6)
    assert torch.allclose(head.activation(s), (1-h).cumprod(1), atol=1e-6)

@SEEDS
@settings(deadline=None, max_examples=30)
def test_classification(seed):
    rng = np.random.default_rng(seed)
    k = int(rng.integers(3, 7))
    y,p = np.r_[np.arange(k), rng.integers(k, size=80)],rng.dirichlet(np.ones(k), 80+k)
    Y,P = torch.as_tensor(y),torch.as_tensor(p)
    theirs = dict(accuracy=MulticlassAccuracy(k, average='micro'), macro_recall=MulticlassAccuracy(k), macro_f1=MulticlassF1Score(k), auc=MulticlassAUROC(k))
    assert set(theirs) == set(METRICS)
    for name,m in theirs.items(): assert METRICS[name](y, p) == pytest.approx(m(P, Y).item(), abs=1e-6), name
    assert ece(y, p) == pytest.approx(MulticlassCalibrationError(k, n_bins=15)(P, Y).item(), abs=1e-6)
    two = p[:,:2]/p[:,:2].sum(1, keepdims=True)
    assert auc(y % 2, two) == pytest.approx(BinaryAUROC()(torch.as_tensor(two[:,1]), Y % 2).item(), abs=1e-6)
