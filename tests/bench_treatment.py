"""Trains OncoNet's deep Q-network and stable-baselines3's on the same task, with as many steps of the environment, on one thread.
Seconds are those of the processor, so that other work on the machine doesn't count. With --out FOLDER the rows are added to FOLDER/agents.csv.

    python tests/bench_treatment.py [--out results] [--seeds 0 1 2] [--visits 50000]
"""
import argparse, time, warnings
from pathlib import Path

import gymnasium as gym, torch
from fastai.callback.schedule import SchedLin, SchedNo, combine_scheds
from onconet.experiment import append_rows, row
from onconet.treatment.agent import dqn_learner
from onconet.treatment.network import returns_of

# rl-baselines3-zoo, hyperparams/dqn.yml, CartPole-v1: the same numbers for both. The zoo's copy is made anew every 10 steps, but as it learns
# 128 times after each 256 steps that means once in 128 gradient steps.
ZOO = dict(lr=2.3e-3, bs=64, size=100_000, warmup=1000, gamma=.99, ratio=.5, explore=.16, last=.04, hidden=(256,256), follow=128)

def ours(name, seed, visits, lanes=16, **options):
    "A policy, visits, gradient steps and seconds of the processor"
    z = ZOO
    steps = int((visits-z['warmup'])*z['ratio'])
    eps = combine_scheds([z['explore'],1-z['explore']], [SchedLin(1, z['last']),SchedNo(z['last'], z['last'])])
    env = gym.make_vec(name, num_envs=lanes, vectorization_mode='sync')
    kw = dict(double=False, dueling=False, hidden=z['hidden'], gamma=z['gamma'], size=z['size'], warmup=z['warmup'], ratio=z['ratio'], follow=z['follow'], bs=z['bs'], lr=z['lr'])
    learn = dqn_learner(env, eps=eps, steps=steps//20, seed=seed, **kw | options)
    t = time.process_time()
    with learn.no_bar(), learn.no_logging(): learn.fit(20)
    return learn.agent, learn.explore.replay.head*lanes, steps//20*20, time.process_time()-t

class SB3:
    "A policy of stable-baselines3"
    def __init__(self, model): self.model = model
    def start(self, n): pass
    def __call__(self, obs, mask=None): return self.model.predict(obs, deterministic=True)[0]

def theirs(name, seed, visits):
    "A policy, visits, gradient steps and seconds of the processor"
    from stable_baselines3 import DQN
    z = ZOO
    model = DQN('MlpPolicy', gym.make(name), learning_rate=z['lr'], batch_size=z['bs'], buffer_size=z['size'], learning_starts=z['warmup'], gamma=z['gamma'], target_update_interval=10,
                train_freq=256, gradient_steps=128, exploration_fraction=z['explore'], exploration_final_eps=z['last'], policy_kwargs=dict(net_arch=list(z['hidden'])), seed=seed, device='cpu')
    t = time.process_time(); model.learn(visits)
    return SB3(model), model.num_timesteps, model._n_updates, time.process_time()-t

# Name -> function (task, seed, visits) -> policy, visits, gradient steps, seconds
AGENTS = {'OncoNet DQN': ours, 'stable-baselines3 DQN': theirs,
          'OncoNet DQN, double, dueling, 3 steps': lambda *a: ours(*a, double=True, dueling=True, n=3, follow=.01)}

def agents(seeds, visits, name='CartPole-v1', only=None):
    "Rows of table 'agents': mean return of 100 courses without exploration, seconds, visits a second"
    judge = gym.make_vec(name, num_envs=100, vectorization_mode='sync')
    for seed in seeds:
        for who,train in AGENTS.items():
            if only and who not in only: continue
            policy,seen,steps,s = train(name, seed, visits)
            mean = returns_of(policy, judge, seed=10_000).mean()
            print(f'{who:40}{seed:3}{mean:8.1f}{s:8.1f} s{seen/s:8.0f} visits/s{steps/s:8.0f} gradient steps/s', flush=True)
            kw = dict(seed=seed, seconds=s, visits=seen, steps=steps, hidden=list(ZOO['hidden']), judged=judge.num_envs)
            yield from (row('agents', who, name, k, v, **kw) for k,v in {'return': mean, 'train_seconds': s, 'visits_per_second': seen/s}.items())

def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--out', type=Path, help='folder of agents.csv')
    ap.add_argument('--seeds', type=int, nargs='*', default=[0,1,2])
    ap.add_argument('--visits', type=int, default=50_000)
    ap.add_argument('--only', nargs='*', choices=AGENTS)
    args = ap.parse_args()
    warnings.simplefilter('ignore'); torch.set_num_threads(1)
    for seed in args.seeds:
        rows = list(agents([seed], args.visits, only=args.only))
        if args.out: append_rows(args.out/'agents.csv', rows)

if __name__ == '__main__': main()
