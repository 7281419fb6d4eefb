"""Times what a user waits for, on this machine: best of a few runs each, and ratios against a named alternative in the same run.
With --out FOLDER the rows are added to FOLDER/speed.csv and FOLDER/loaders.csv.

    python tests/bench.py [--out results]
"""
import argparse, subprocess, sys, tempfile, time
from functools import partial
from pathlib import Path

import numpy as np, pandas as pd, torch
from torch.utils.data import DataLoader, Dataset
from onconet.core import set_seed
from onconet.data.cohort import Cohort, digital_cohort
from onconet.data.files import home
from onconet.data import leukaemia
from onconet.data.loaders import augment_images  # the module also gives Cohort its dataloaders
from onconet.data.omics import read_expression
from onconet.experiment import append_rows, row
from onconet.model import onconet_for
from onconet.simulate import simulate

class Items(Dataset):
    "The loader most people would write: one patient at a time"
    def __init__(self, tensors, y): self.tensors,self.y = tensors,y
    def __len__(self): return len(self.y)
    def __getitem__(self, i): return {k: v[i] for k,v in self.tensors.items()}, self.y[i]

def wait():
    "Until the graphics card has done what it was given"
    if torch.cuda.is_available(): torch.cuda.synchronize()

def best(f, n=3):
    "Seconds of the quickest of n runs"
    def once():
        wait(); t = time.perf_counter(); f(); wait()
        return time.perf_counter() - t
    return min(once() for _ in range(n))

def drain(batches):
    for _ in batches: pass

def step(model, opt, batch, y):
    opt.zero_grad()
    torch.nn.functional.cross_entropy(model(batch)[0], y).backward()
    opt.step()

def speed():
    "(what, data set, items, seconds)"
    onconet,device = Path(sys.executable).with_name('onconet'),'cuda' if torch.cuda.is_available() else 'cpu'
    yield 'import onconet', 'digital', 1, best(lambda: subprocess.run([sys.executable, '-c', 'import onconet'], check=True))
    yield 'onconet --help', 'digital', 1, best(lambda: subprocess.run([onconet, '--help'], check=True, capture_output=True))
    yield 'load_leukaemia, patients', 'leukaemia', 128, best(lambda: (leukaemia._read.cache_clear(), leukaemia.load_leukaemia()))
    yield 'simulate, patients', 'digital', 1000, best(lambda: simulate(1000), 1)
    set_seed(0)
    cohort = digital_cohort(n=1000)
    dls = cohort.dataloaders(bs=64, device=device)
    n,loader = len(dls.train.dataset),dls.train.new(shuffle=False)
    yield 'loader, patients', 'digital', n, best(lambda: drain(loader))
    items = DataLoader(Items({k: v[dls.train.dataset] for k,v in loader.tensors.items()}, loader.y[dls.train.dataset]), batch_size=64)
    yield "loader of torch's items, patients", 'digital', n, best(lambda: drain(items))
    model = onconet_for(dls.prep, dls.classes).to(device)
    opt,(batch,y) = torch.optim.Adam(model.parameters()),dls.one_batch()
    step(model, opt, batch, y)
    yield 'OncoNet training, patients', 'digital', len(y), best(lambda: step(model, opt, batch, y), 5)
    model.eval()
    with torch.no_grad(): yield 'OncoNet prediction, patients', 'digital', len(y), best(lambda: model(batch), 5)

def blood(folder):
    "MedMNIST's folder of BloodMNIST: PBC-28 where it is at hand, else as many simulated cells in the same layout"
    if (home()/'pbc28'/'bloodmnist.npz').exists(): return 'PBC-28', home()/'pbc28'
    s = simulate(11_959, size=28, missing=0)
    x,y = s.image.transpose(0,2,3,1),s.patients['label'].astype('category').cat.codes.to_numpy()[:,None].astype(np.uint8)
    np.savez(folder/'bloodmnist.npz', **{f'{k}_{what}': v[:n] for k,n in (('train',None),('val',8),('test',8)) for what,v in (('images',x),('labels',y))})
    return 'digital, 28 pixels', Path(folder)

def loaders(bs=128, shift=3, runs=5):
    "Images a second with flips, quarter turns and shifts of up to 3 pixels, shuffled, on one core: (what, data set, items, seconds)"
    from fastai.vision.all import CategoryBlock, DataBlock, ImageBlock, RandomSplitter, aug_transforms
    from medmnist import BloodMNIST
    from torchvision.transforms import v2
    with tempfile.TemporaryDirectory() as d:
        name,root = blood(Path(d))
        turns = v2.RandomChoice([torch.nn.Identity(), *(v2.RandomRotation((a,a)) for a in (90,180,270))])
        tfm = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip(), turns, v2.RandomCrop(28, padding=shift, padding_mode='reflect'), v2.PILToTensor()])
        items = BloodMNIST(split='train', root=root, download=False, transform=tfm)
    x,y = items.imgs,items.labels[:,0]
    cohort = Cohort(pd.DataFrame({'label': y.astype(str)}, index=np.arange(len(y)).astype(str)), {'image': x.transpose(0,3,1,2)}, label='label')
    ours = cohort.dataloaders(np.arange(len(y)), [], bs=bs, augment=partial(augment_images, shift=shift/28, sigma=0), device='cpu').train
    yield 'OncoNet', name, len(y), best(lambda: drain(ours), runs)
    yield 'medmnist, torchvision v2, torch DataLoader', name, len(y), best(lambda: drain(DataLoader(items, batch_size=bs, shuffle=True)), runs)
    block = DataBlock((ImageBlock, CategoryBlock), get_x=lambda i: x[i], get_y=lambda i: y[i], splitter=RandomSplitter(.001, seed=0),
                      batch_tfms=aug_transforms(flip_vert=True, max_rotate=0, max_zoom=1.2, max_warp=0, max_lighting=0))  # its zoom is what shifts
    theirs = block.dataloaders(np.arange(len(y)), bs=bs, num_workers=0, device='cpu').train
    yield 'fastai blocks', name, len(theirs.dataset), best(lambda: drain(theirs), runs)
    with_stain = ours.new(); with_stain.augment = partial(augment_images, shift=shift/28)
    yield 'OncoNet, stain too', name, len(y), best(lambda: drain(with_stain), runs)

def peak():
    "Peak memory of this process, GiB"
    import resource  # not on Windows
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/(2**30 if sys.platform == 'darwin' else 2**20)

def epoch(n=100_000):
    "A training epoch of n simulated patients on one core: seconds, GiB"
    torch.set_num_threads(1)
    dls = digital_cohort(n).dataloaders(np.arange(n), [], bs=128, device='cpu')
    model = onconet_for(dls.prep, dls.classes)
    opt,t = torch.optim.Adam(model.parameters()),time.perf_counter()
    for batch,y in dls.train: step(model, opt, batch, y)
    return time.perf_counter()-t, peak()

def expression(path):
    "Read a matrix of expression: seconds, GiB"
    t = time.perf_counter(); read_expression(path)
    return time.perf_counter()-t, peak()

def made_expression(path, genes=20_000, samples=11_000):
    "Write a made matrix of the size of TCGA, genes in rows (1.6 GB of text)"
    rng = np.random.default_rng(0); words = np.array([f'{v:.4f}' for v in rng.gamma(2, 3, 100_000)], object)
    with open(path, 'w') as f:
        f.write('\t'.join(['sample', *(f'TCGA-{i//10000:02d}-{i%10000:04d}-01' for i in range(samples))])+'\n')
        f.writelines(f'ENSG{g:011d}.1\t'+'\t'.join(words[rng.integers(0, len(words), samples)])+'\n' for g in range(genes))
    return genes*samples

def alone(table, what, data, n, *args):
    "Rows of a measurement in a process of its own, whose peak memory is its own"
    out = subprocess.run([sys.executable, __file__, *args], check=True, capture_output=True, text=True).stdout
    s,gib = map(float, out.split('\n')[-2].split())
    print(f'{what:44}{s:10.3f}{n/s:12.0f}   peak {gib:.2f} GiB', flush=True)
    return [row(table, what, data, m, v, device='cpu, 1 thread', seconds=s, items=n) for m,v in (('items_per_second',n/s),('peak_gib',gib))]

RATIOS = [('loader, patients', "loader of torch's items, patients"), ('OncoNet', 'medmnist, torchvision v2, torch DataLoader'), ('OncoNet', 'fastai blocks')]

def rows(table, measured, device):
    "Print and collect a table's rows, ratios at its end"
    out,rate = [],{}
    for what,data,n,s in measured:
        print(f'{what:44}{s:10.3f}{n/s:12.0f}', flush=True)
        out.append(row(table, what, data, 'items_per_second', n/s, device=device, seconds=s)); rate[what] = n/s
    for ours,other in RATIOS:
        if ours in rate and other in rate:
            print(f'{ours} : {other} = {rate[ours]/rate[other]:.1f}')
            out.append(row(table, ours, data, 'ratio', rate[ours]/rate[other], device=device, against=other))
    return out

def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--out', type=Path, help='folder of result files')
    ap.add_argument('--only', choices=['speed','loaders'], help='one of the tables')
    ap.add_argument('--epoch', type=int, metavar='N', help='train one epoch of N simulated patients; print seconds and peak GiB')
    ap.add_argument('--expression', metavar='FILE', help='read a matrix of expression; print seconds and peak GiB')
    args,found = ap.parse_args(),{}
    if args.epoch: return print(*epoch(args.epoch))
    if args.expression: return print(*expression(args.expression))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f'cpu, {torch.get_num_threads()} threads'
    print(f'{"":44}{"seconds":>10}{"a second":>12}   ({device})')
    if args.only != 'loaders':
        found['speed'] = rows('speed', speed(), device)
        with tempfile.TemporaryDirectory() as d:
            n = made_expression(p := Path(d)/'expression.tsv')
            found['speed'] += alone('speed', 'read_expression, values', 'made, 20,000 genes of 11,000 samples', n, '--expression', str(p))
    if args.only != 'speed':
        torch.set_num_threads(1)
        found['loaders'] = rows('loaders', loaders(), 'cpu, 1 thread') + alone('loaders', 'OncoNet, training epoch', 'digital', 100_000, '--epoch', '100000')
    if args.out:
        for table,out in found.items(): append_rows(args.out/f'{table}.csv', out)

if __name__ == '__main__': main()
