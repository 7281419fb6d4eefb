"""Times what a user waits for, on this machine: best of a few runs each, and ratios against a named alternative in the same run.
With --out FOLDER the rows are added to FOLDER/speed.csv.

    python tests/bench.py [--out results]
"""
import argparse, subprocess, sys, time
from pathlib import Path

import onconet.data.loaders, torch  # the first gives Cohort its dataloaders
from torch.utils.data import DataLoader, Dataset
from onconet.core import set_seed
from onconet.data.cohort import digital_cohort
from onconet.data.leukaemia import load_leukaemia
from onconet.experiment import append_rows, row
from onconet.model import onconet_for
from onconet.simulate import simulate

class Items(Dataset):
    "The loader most people would write: one patient at a time"
    def __init__(self, tensors, y): self.tensors,self.y = tensors,y
    def __len__(self): return len(self.y)
    def __getitem__(self, i): return {k: v[i] for k,v in self.tensors.items()}, self.y[i]

RATIOS = [('loader, patients', "loader of torch's items, patients")]

def best(f, n=3):
    "Seconds of the quickest of n runs"
    def once():
        t = time.perf_counter(); f()
        return time.perf_counter() - t
    return min(once() for _ in range(n))

def drain(batches):
    for _ in batches: pass

def step(model, opt, batch, y):
    opt.zero_grad()
    torch.nn.functional.cross_entropy(model(batch)[0], y).backward()
    opt.step()

def measure():
    "(what, items, seconds)"
    onconet,device = Path(sys.executable).with_name('onconet'),'cuda' if torch.cuda.is_available() else 'cpu'
    yield 'import onconet', 1, best(lambda: subprocess.run([sys.executable, '-c', 'import onconet'], check=True))
    yield 'onconet --help', 1, best(lambda: subprocess.run([onconet, '--help'], check=True, capture_output=True))
    yield 'load_leukaemia, patients', 128, best(load_leukaemia)
    yield 'simulate, patients', 1000, best(lambda: simulate(1000), 1)
    set_seed(0)
    cohort = digital_cohort(n=1000)
    dls = cohort.dataloaders(bs=64, device=device)
    n,loader = len(dls.train.dataset),dls.train.new(shuffle=False)
    yield 'loader, patients', n, best(lambda: drain(loader))
    items = DataLoader(Items({k: v[dls.train.dataset] for k,v in loader.tensors.items()}, loader.y[dls.train.dataset]), batch_size=64)
    yield "loader of torch's items, patients", n, best(lambda: drain(items))
    model = onconet_for(dls.prep, dls.classes).to(device)
    opt,(batch,y) = torch.optim.Adam(model.parameters()),dls.one_batch()
    step(model, opt, batch, y)
    yield 'OncoNet training, patients', len(y), best(lambda: step(model, opt, batch, y), 5)
    model.eval()
    with torch.no_grad(): yield 'OncoNet prediction, patients', len(y), best(lambda: model(batch), 5)

def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--out', type=Path, help='folder of result files')
    out,device = ap.parse_args().out,torch.cuda.get_device_name() if torch.cuda.is_available() else f'cpu, {torch.get_num_threads()} threads'
    print(f'{"":36}{"seconds":>10}{"a second":>12}   ({device})')
    rows,rate = [],{}
    for what,n,s in measure():
        print(f'{what:36}{s:10.3f}{n/s:12.0f}', flush=True)
        rows.append(row('speed', what, 'digital', 'items_per_second', n/s, device=device, seconds=s)); rate[what] = n/s
    for ours,other in RATIOS:
        print(f'{ours} : {other} = {rate[ours]/rate[other]:.1f}')
        rows.append(row('speed', ours, 'digital', 'ratio', rate[ours]/rate[other], device=device, against=other))
    if out: append_rows(out/'speed.csv', rows)

if __name__ == '__main__': main()
