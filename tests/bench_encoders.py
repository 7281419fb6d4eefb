"""Times one training step (forward and backward) of each encoder, its memory, and what its heavy operations cost when they alone are run again.
Each measurement has a process of its own, so that its peak memory is its own. With --out FOLDER the rows are added to FOLDER/encoders.csv.

    python tests/bench_encoders.py [--out results]
"""
import argparse, json, re, subprocess, sys, warnings
from functools import partial
from pathlib import Path

import numpy as np, torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GCNConv
from torch_geometric.utils import to_torch_csr_tensor
from bench import best
from onconet.core import set_seed
from onconet.data.cohort import digital_cohort
from onconet.data.graph import Graph
from onconet.encoders.backbone import Backbone, HybridCNNViT
from onconet.encoders.bag import BagEncoder
from onconet.encoders.clinical import ClinicalEncoder
from onconet.encoders.genomic import Block, GeneMLP, PathwayTransformer
from onconet.encoders.graph import GraphEncoder
from onconet.encoders.image import ResidualCNN
from onconet.encoders.tokens import GenePerceiver, GeneTokens
from onconet.experiment import append_rows, row
from onconet.model import onconet_for

def made_graph(v, k=10):
    "A made network: every gene joined with k others, symmetric, without loops"
    a,b = torch.arange(v).repeat_interleave(k),torch.randint(v, (v*k,))
    e = torch.stack([torch.cat([a,b]), torch.cat([b,a])])
    e = e[:,e[0] != e[1]].unique(dim=1)
    return Graph(e, torch.ones(e.shape[1]), [f'G{i}' for i in range(v)])

def made_sets(g, s=300, size=50):
    "Made gene sets: membership [S,G]"
    return torch.zeros(s, g).scatter_(1, torch.rand(s, g).argsort(1)[:,:size], 1)

class GeneTransformer(nn.Module):
    "Every gene a token that sees every other: what pathway tokens and latents are there to avoid"
    def __init__(self, g):
        super().__init__()
        self.net,self.proj = nn.Sequential(GeneTokens([g,g]), Block(16)),nn.Linear(16, 64)
    def forward(self, x): return self.proj(self.net(x).mean(1))

class Copies(GraphEncoder):
    "The same graph network with PyG's own layers over a Batch of copies of the graph, as edges or as one sparse matrix"
    def __init__(self, graph, b, sparse=False):
        super().__init__(graph, 'gcn'); w,v = self.config['width'],len(graph.names)
        self.convs = nn.ModuleList([GCNConv(w, w, normalize=False) for _ in self.convs])
        copies = Batch.from_data_list([Data(x=torch.zeros(v, 1), edge_index=self.edges, weight=self.weight)]*b)
        self.edges,self.weight = copies.edge_index,copies.weight
        if sparse: self.register_buffer('matrix', to_torch_csr_tensor(copies.edge_index.flip(0), copies.weight, (v*b, v*b)))
        self.sparse = sparse
    def talk(self, x):
        h,e = self.tokens(x),(self.matrix,) if self.sparse else (self.edges, self.weight)
        for conv,norm in zip(self.convs, self.norms): h = h + self.drop(nn.functional.gelu(conv(norm(h).flatten(0, 1), *e).view_as(h)))
        return h

# Name -> function (genes, batch) -> module
GENOMIC = {'linear': lambda g, b: GeneMLP(g), 'perceptron': lambda g, b: GeneMLP(g, hidden=[256,128]), 'pathway tokens': lambda g, b: PathwayTransformer(made_sets(g)),
           'gene Perceiver': lambda g, b: GenePerceiver([g,g]), 'GCN': lambda g, b: GraphEncoder(made_graph(g), 'gcn'), 'GIN': lambda g, b: GraphEncoder(made_graph(g), 'gin'),
           'GAT': lambda g, b: GraphEncoder(made_graph(g), 'gat'), 'GCN on a PyG Batch, edges': lambda g, b: Copies(made_graph(g), b), 'GCN on a PyG Batch, sparse matrix': lambda g, b: Copies(made_graph(g), b, sparse=True),
           'gene transformer': lambda g, b: GeneTransformer(g)}
IMAGE = {'residual CNN': lambda px, b: ResidualCNN(size=px), 'CNN and transformer': lambda px, b: HybridCNNViT(size=px),
         'timm ResNet-18': lambda px, b: Backbone('resnet18', pretrained=False, size=px)}
OTHER = {'clinical': lambda n, b: ClinicalEncoder(n, [4]*n), 'bag of tiles': lambda t, b: BagEncoder(384)}
KIND = {**dict.fromkeys(GENOMIC, 'genes'), **dict.fromkeys(IMAGE, 'pixels'), 'clinical': 'columns', 'bag of tiles': 'tiles'}

def made_input(name, size, b):
    "A batch as the encoder wants it"
    if name in GENOMIC: return torch.randn(b, size)
    if name in IMAGE: return torch.randint(256, (b,3,size,size), dtype=torch.uint8)
    if name == 'bag of tiles': return torch.randn(b, size, 384)
    return torch.cat([torch.randn(b, size), torch.randint(4, (b,size))], 1).float()

_SDPA = [f'_scaled_dot_product_{k}' for k in ('flash_attention_for_cpu','flash_attention','efficient_attention','cudnn_attention')]
HEAVY = {'mm','addmm','bmm','baddbmm','convolution','convolution_backward', *_SDPA, *(f'{k}_backward' for k in _SDPA), '_sparse_mm','_addmm_with_reduce',
         '_embedding_bag','_embedding_bag_backward','_embedding_bag_dense_backward','embedding','embedding_dense_backward','index_add','scatter_add','scatter_add_','index_select','gather'}

class Heavy(TorchDispatchMode):
    "Keeps each matrix product, convolution, attention, gather and sparse sum of a step, with what it was given"
    def __init__(self): super().__init__(); self.calls = []
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket.__name__ in HEAVY: self.calls.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))

@torch.no_grad()
def replay(calls):
    for f,a,k in calls: f(*a, **k)

def step(enc, x):
    for p in enc.parameters(): p.grad = None
    enc(x).square().mean().backward()

def memory(reset=False):
    "MB that this process holds, and the most it held since the last reset (Linux)"
    if reset: Path('/proc/self/clear_refs').write_text('5')
    held = dict(re.findall(r'(VmRSS|VmHWM):\s+(\d+) kB', Path('/proc/self/status').read_text()))
    return int(held['VmRSS'])/1024, int(held['VmHWM'])/1024

def build(name, size, b, device): return (GENOMIC | IMAGE | OTHER)[name](size, b).to(device).train(), made_input(name, size, b).to(device)

def measure(name, size, b, device, compiled):
    "Seconds of a step, of its heavy operations alone, of the compiled step; memory in MB that a step adds to model and batch"
    torch.set_num_threads(1); set_seed(0)
    step(*build(name, dict(genes=200, pixels=28, columns=10, tiles=50)[KIND[name]], 2, device))  # the libraries set themselves up
    enc,x = build(name, size, b, device)
    if device == 'cuda': torch.cuda.reset_peak_memory_stats(); at = torch.cuda.memory_allocated()
    else: at = memory(reset=True)[0]
    step(enc, x)
    mb = (torch.cuda.max_memory_allocated()-at)/2**20 if device == 'cuda' else memory()[1]-at
    s = best(partial(step, enc, x), 1); n = int(np.clip(2/s, 2, 20))
    out = dict(seconds=best(partial(step, enc, x), n), peak_mb=mb)
    with Heavy() as heavy: step(enc, x)
    replay(heavy.calls)
    out['heavy_seconds'] = best(partial(replay, heavy.calls), n); heavy.calls.clear()
    if compiled:
        fast = torch.compile(enc)
        step(fast, x)
        out['compiled_seconds'] = best(partial(step, fast, x), n)
    return out

def epoch(n, device):
    "Seconds of a training epoch of OncoNet on n simulated patients"
    torch.set_num_threads(1); set_seed(0)
    dls = digital_cohort(n).dataloaders(np.arange(n), [], bs=64, device=device)
    model = onconet_for(dls.prep, dls.classes).to(device)
    opt = torch.optim.Adam(model.parameters())
    def run():
        for batch,y in dls.train: opt.zero_grad(); nn.functional.cross_entropy(model(batch)[0], y).backward(); opt.step()
    return dict(seconds=best(run, 2))

def jobs():
    "(name, size, batch, whether to compile)"
    for name in ('linear','perceptron','pathway tokens','gene Perceiver','GCN','GIN','GAT'):
        yield from ((name, g, 32, g == 2000) for g in (200,2000,20_000))
        yield from ((name, 2000, b, False) for b in (8,128))
    yield from (('gene transformer', g, 32, False) for g in (200,2000))
    yield from ((f'GCN on a PyG Batch, {k}', g, 32, False) for k in ('edges','sparse matrix') for g in (200,2000))
    for name in IMAGE: yield from ((name, 28, b, b == 128) for b in (8,32,128))
    yield from (('clinical', 10, b, b == 128) for b in (8,32,128))
    yield from (('bag of tiles', t, 8, t == 500) for t in (50,500,5000))

AGAINST = [('GCN','GCN on a PyG Batch, sparse matrix'), ('GCN','GCN on a PyG Batch, edges'), ('pathway tokens','gene transformer'), ('gene Perceiver','gene transformer')]

def child(*args):
    "A measurement in a process of its own"
    r = subprocess.run([sys.executable, __file__, '--job', json.dumps(args)], capture_output=True, text=True)
    if r.returncode: raise SystemExit(f'{args}: {r.stderr[-2000:]}')
    return json.loads(r.stdout.split('\n')[-2])

def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--out', type=Path, help='folder of encoders.csv')
    ap.add_argument('--job', help='one measurement, as JSON; prints JSON')
    args = ap.parse_args()
    warnings.simplefilter('ignore')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if args.job:
        job = json.loads(args.job)
        return print(json.dumps(epoch(job[1], device) if job[0] == 'OncoNet' else measure(*job[:3], device, job[3])))
    machine,seen = torch.cuda.get_device_name() if device == 'cuda' else 'cpu, 1 thread',{}
    def keep(rows):
        if args.out: append_rows(args.out/'encoders.csv', rows)
    print(f'{"a training step":34}{"size":>8}{"batch":>7}{"ms":>10}{"of heavy":>9}{"compiled":>9}{"MB":>8}   ({machine})')
    for name,size,b,compiled in jobs():
        m = child(name, size, b, compiled); s = m['seconds']; seen[name,size,b] = s
        ratios = {'ratio_to_heavy': s/m['heavy_seconds'], **({'compiled_ratio': m['compiled_seconds']/s} if compiled else {})}
        print(f'{name:34}{size:8}{b:7}{s*1e3:10.2f}{ratios["ratio_to_heavy"]:9.1f}{ratios.get("compiled_ratio", np.nan):9.2f}{m["peak_mb"]:8.0f}', flush=True)
        kw = dict(device=machine, seconds=s, batch=b, size=size, unit=KIND[name])
        keep([row('encoders', name, 'made', k, v, **kw) for k,v in (dict(step_seconds=s, peak_mb=m['peak_mb']) | ratios).items()])
    for name,other in AGAINST:
        for size in (200,2000):
            if (other,size,32) not in seen: continue
            r = seen[other,size,32]/seen[name,size,32]
            print(f'{other} : {name} at {size} genes = {r:.1f}')
            keep([row('encoders', name, 'made', 'ratio', r, device=machine, against=other, size=size, batch=32, unit='genes')])
    for n in (500,2000,8000):
        s = child('OncoNet', n)['seconds']
        print(f'{"OncoNet, an epoch of patients":34}{n:8}{64:7}{s*1e3:10.0f}', flush=True)
        keep([row('encoders', 'OncoNet', 'digital', 'epoch_seconds', s, device=machine, seconds=s, batch=64, size=n, unit='patients')])

if __name__ == '__main__': main()
