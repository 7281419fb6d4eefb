"""Trains OncoNet's deep Q-network and stable-baselines3's on the same tasks, sets it beside a tuned rule on two other worlds, and times OncoNet's simulated patients against SciPy's solver, on one thread.
Seconds are those of the processor, so that other work on the machine doesn't count. With --out FOLDER the rows are added to FOLDER/agents.csv and FOLDER/speed.csv.

    python tests/bench_treatment.py [--bench cartpole cml worlds speed] [--out results] [--seeds 0 1 2] [--visits 50000] [--epochs 30]
"""
import argparse, time, warnings
from functools import partial
from itertools import groupby
from pathlib import Path

import gymnasium as gym, numpy as np, pandas as pd, torch
from fastai.callback.core import Callback
from fastai.callback.schedule import SchedLin, SchedNo, combine_scheds, combined_cos
from fastcore.imports import noop
from gymnasium.spaces import Box, Discrete
from scipy.integrate import solve_ivp
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from onconet.experiment import append_rows, row
from onconet.treatment.agent import dqn_learner
from onconet.treatment.network import returns_of
from onconet.treatment.rules import PRICE, cost, follow, mean_interval
from onconet.treatment.simulate import A, CML, DOSES, KY, M, PY, RZ, WEIGHTS, Patients, hahnel_patients, virtual_patients
from onconet.treatment.study import EPOCHS, EXPLORE, RECIPE, teachers, train_agent, world
from onconet.treatment.worlds import Neutropenia, Resistance, SwitchAbove, Titrate

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

def stacked(past, obs, k):
    "The last k observations of a course side by side [N,kF], the first of them as often as it takes"
    return np.tile(obs, k) if past is None else np.concatenate([past[:,obs.shape[1]:],obs], 1)

class SB3:
    "A policy of stable-baselines3, which reads a stack of observations after a function `scale`"
    def __init__(self, model, k=1, scale=noop): self.model,self.k,self.scale = model,k,scale
    def start(self, n): self.past = None
    def __call__(self, obs, mask=None):
        self.past = stacked(self.past, obs, self.k)
        return self.model.predict(self.scale(self.past), deterministic=True)[0]

def theirs(name, seed, visits):
    "A policy, visits, gradient steps and seconds of the processor"
    z = ZOO
    model = DQN('MlpPolicy', gym.make(name), learning_rate=z['lr'], batch_size=z['bs'], buffer_size=z['size'], learning_starts=z['warmup'], gamma=z['gamma'], target_update_interval=10,
                train_freq=256, gradient_steps=128, exploration_fraction=z['explore'], exploration_final_eps=z['last'], policy_kwargs=dict(net_arch=list(z['hidden'])), seed=seed, device='cpu')
    t = time.process_time(); model.learn(visits)
    return SB3(model), model.num_timesteps, model._n_updates, time.process_time()-t

# Name -> function (task, seed, visits) -> policy, visits, gradient steps, seconds
AGENTS = {'OncoNet DQN': ours, 'stable-baselines3 DQN': theirs,
          'OncoNet DQN, double, dueling, 3 steps': lambda *a: ours(*a, double=True, dueling=True, n=3, follow=.01)}

def cartpole(seeds, visits, name='CartPole-v1', only=None):
    "Rows of table 'agents', agent by agent: mean return of 100 courses without exploration, seconds, visits a second"
    judge = gym.make_vec(name, num_envs=100, vectorization_mode='sync')
    for seed in seeds:
        for who,train in AGENTS.items():
            if only and who not in only: continue
            policy,seen,steps,s = train(name, seed, visits)
            mean = returns_of(policy, judge, seed=10_000).mean()
            print(f'{who:40}{seed:3}{mean:8.1f}{s:8.1f} s{seen/s:8.0f} visits/s{steps/s:8.0f} gradient steps/s', flush=True)
            kw = dict(seed=seed, seconds=s, visits=seen, steps=steps, hidden=list(ZOO['hidden']), judged=judge.num_envs)
            yield [row('agents', who, name, k, v, **kw) for k,v in {'return': mean, 'train_seconds': s, 'visits_per_second': seen/s}.items()]

VISIT,ASSAY,LANES,CHECKS = 3,'noisy',1000,15 # Months, assay, patients at once, times that an agent is judged

class Judge:
    "Judges a policy while it learns, on patients for development alone; its own time doesn't count"
    def __init__(self, n=300): self.env = world(virtual_patients(n, 50), VISIT, ASSAY)
    def start(self): self.found,self.idle,self.begun = [],0.,time.process_time()
    @property
    def seconds(self): return time.process_time()-self.begun-self.idle
    def __call__(self, policy):
        s = self.seconds
        d = follow(policy, self.env, 10_000)[0][['controlled','mean_dose']].mean()
        self.found.append(dict(seconds=s, controlled=d.controlled, mean_dose=d.mean_dose) | {'return': -cost(d.controlled, d.mean_dose)})
        self.idle += self.seconds-s

def seconds_to_95(found):
    "Seconds until the return had gone for good 95 % of the way from the full dose for everyone to where it ended; nan if it ended no higher"
    goal = -1+.95*(found[-1]['return']+1)
    late = [i for i,o in enumerate(found) if o['return'] < goal]
    return found[late[-1]+1 if late else 0]['seconds'] if found[-1]['return'] > -1 else float('nan')

class Checks(Callback):
    "Calls a judge after every so many epochs"
    order = -10
    def __init__(self, judge, every): self.judge,self.every = judge,every
    def before_fit(self): self.judge.start()
    def after_epoch(self):
        if (self.epoch+1) % self.every == 0 or self.epoch+1 == self.n_epoch: self.judge(self.learn.agent)

def our_recipe(judge, seed, epochs):
    "The agent of the study: visits, settings"
    check = Checks(judge, max(epochs//CHECKS, 1))
    train_agent(VISIT, ASSAY, seed, epochs=epochs, lanes=LANES, cbs=[check])
    return check.learn.explore.replay.head*LANES, RECIPE | dict(epochs=epochs, lanes=LANES)

class Lanes(VecEnv):
    "A `Course` whose lanes end together, as stable-baselines3 wants it: stacks of observations, and new courses in the step that ends the old ones"
    def __init__(self, env, k):
        self.env,self.k,box = env,k,env.single_observation_space
        super().__init__(env.num_envs, Box(np.tile(box.low, k), np.tile(box.high, k)), env.single_action_space)
    def reset(self):
        self.past = stacked(None, self.env.reset(seed=self._seeds[0])[0], self.k); self._reset_seeds()
        return self.past
    def step_async(self, actions): self.actions = actions
    def step_wait(self):
        obs,r,done,_,_ = self.env.step(self.actions)
        last = self.past = stacked(self.past, obs, self.k)
        return (self.reset(), r, done, [{'terminal_observation': o} for o in last]) if done.all() else (last, r, done, [{} for _ in r])
    def get_attr(self, name, indices=None): return [getattr(self.env, name)]*self.num_envs
    def env_is_wrapped(self, wrapper, indices=None): return [False]*self.num_envs
    def set_attr(self, *_, **__): raise NotImplementedError
    env_method = set_attr
    def close(self): self.env.close()

def their_dqn(patients, judge, seed, budget):
    """stable-baselines3's DQN with as many seconds: visits, settings.
    It has the study's simulator, patients, lanes, stack of observations, network widths, batch, ratio, replay and schedules, and the reward that the study's agent learns, dose and relapse;
    inputs are scaled by its VecNormalize. Of 100, 300 and 1,000 lanes, and of a slow copy that moves by 1 % at each gradient step or once in ten, it has what did best in runs of 48 seconds.
    It has one value an action: no distribution, no parts, no double or dueling network, no masks (the environment replaces what is forbidden). All lanes explore at the same visits."""
    z,each = RECIPE,round(LANES*RECIPE['ratio'])
    weights = dict.fromkeys(WEIGHTS, 0.) | dict(dose=1., relapse=PRICE)
    env = VecNormalize(Lanes(world(patients, VISIT, ASSAY, LANES, weights=weights), z['history']), norm_reward=False)
    lr = combined_cos(.5, 1e-3, 1e-3, 1e-8)
    def done(): return min(judge.seconds/budget, 1)
    judge.start()
    model = DQN('MlpPolicy', env, learning_rate=lambda _: lr(done()), batch_size=z['bs'], buffer_size=z['size'], learning_starts=z['warmup'], gamma=z['gamma'], tau=z['follow'],
                target_update_interval=1, train_freq=1, gradient_steps=each, policy_kwargs=dict(net_arch=list(z['hidden'])), optimize_memory_usage=True,
                replay_buffer_kwargs=dict(handle_timeout_termination=False), seed=seed, device='cpu')
    model.exploration_schedule = lambda _: EXPLORE(done())
    policy = SB3(model, z['history'], env.normalize_obs)
    def going(*_):
        if judge.seconds >= budget*(len(judge.found)+1)/CHECKS: judge(policy)
        return judge.seconds < budget
    model.learn(10**9, going, log_interval=None)
    return model.num_timesteps, {k: z[k] for k in ('history','hidden','gamma','ratio','bs','size','warmup','follow')} | dict(steps=model._n_updates, lanes=LANES, copy_every=each)

def cml(seeds, epochs):
    "Rows of table 'agents', agent by agent: where it ended on patients for development, how soon, visits a second"
    judge = Judge()
    agents = {'OncoNet C51, parts': lambda seed: our_recipe(judge, seed, epochs),
              'stable-baselines3 DQN': lambda seed: their_dqn(teachers(3000, seed), judge, seed, judge.found[-1]['seconds'])}
    for seed in seeds:
        for who,train in agents.items():
            seen,settings = train(seed)
            end = judge.found[-1]; s = end['seconds']
            found = {k: end[k] for k in ('return','controlled','mean_dose')} | dict(train_seconds=s, visits_per_second=seen/s, seconds_to_95=seconds_to_95(judge.found))
            print(f'{who:40}{seed:3}', *(f'  {k} {v:.3f}' for k,v in found.items()), flush=True)
            kw = settings | dict(seed=seed, seconds=s, visits=seen, judged=judge.env.num_envs)
            curve = dict(curve=[[round(o['seconds'], 1), round(o['return'], 4)] for o in judge.found])
            yield [row('agents', who, f'CML, visit {VISIT}, {ASSAY}', k, v, **kw | (curve if k == 'seconds_to_95' else {})) for k,v in found.items()]

# World -> rules, of which the one that earns most on patients for development is the one to beat
TRIED = {Resistance: {f'{dose:g} of imatinib, second drug above {x} %': SwitchAbove(x, dose) for dose in (.25,.5,.75,1.) for x in (.01,.02,.03,.05,.07,.1,.15,.2,.3)},
         Neutropenia: {f'titrated, counts {low} to {high}': Titrate(low, high) for low in (1.,1.25,1.5,1.75,2.) for high in (2.,2.25,2.5,2.75,3.,4.)}}
# For both worlds. Tried, a seed each, on patients for development: one or three steps of a return, ratio .02 or .005, priorities, parts with heads of their own, lr 3e-4,
# 6, 10 or 20 visits at a time, 128 or 256 units. Longer histories helped most in Resistance, the rest little; in Neutropenia a few of them were tried
ELSEWHERE = dict(kind='qr', atoms=21, n=1, prioritised=False, history=10, hidden=(256,256), gamma=1., size=200_000, warmup=20_000, ratio=.005, follow=.01, bs=512, steps=400)
ENDS = ('','_lo','_hi')

def worlds(seeds, epochs=20, n=1000, lanes=256):
    "Rows of table 'agents', world by world: return of the best rule tried and of agents on fresh patients, and what the agents, their mean, earn more, paired by patient"
    for make,rules in TRIED.items():
        name,env = make.__name__,make(n)
        tuned = max(rules, key=lambda k: returns_of(rules[k], env, seed=50).mean())
        rule,earned = returns_of(rules[tuned], env, seed=10_000)[0],[]
        yield [row('agents', f'best rule of {len(rules)}', name, f'return{e}', v, rule=tuned, judged=n) for e,v in zip(ENDS, mean_interval(rule))]
        for seed in seeds:
            learn,t = dqn_learner(make(lanes), eps=EXPLORE, seed=seed, **ELSEWHERE),time.process_time()
            with learn.no_bar(), learn.no_logging(): learn.fit_flat_cos(epochs, 1e-3, pct_start=.5)
            s = time.process_time()-t
            earned.append(returns_of(learn.agent, env, seed=10_000)[0])
            found = {'return': earned[-1].mean(), 'train_seconds': s, 'visits_per_second': learn.explore.replay.head*lanes/s}
            print(f'{name:16}{seed:3}  return {found["return"]:.3f}  {tuned} {rule.mean():.3f}  {s:.0f} s', flush=True)
            yield [row('agents', 'OncoNet QR-DQN', name, k, v, seed=seed, seconds=s, judged=n, epochs=epochs, lanes=lanes, **ELSEWHERE) for k,v in found.items()]
        mine = np.mean(earned, 0)
        yield [row('agents', 'OncoNet QR-DQN', name, f'{m}{e}', v, judged=n, seeds=list(seeds), against=tuned)
               for m,x in (('return', mine), ('gain', mine-rule)) for e,v in zip(ENDS, mean_interval(x)) if m+e != 'return']

def cells(t, x, pyx, pxy, tki, pz, kz, dose):
    "The model as SciPy solves it best: cells and plain numbers"
    x,y,z = x.tolist()
    rest = pyx*y-pxy*x
    return [rest, y*(PY*(1-y/KY)-M*z-dose*tki)-rest, RZ-A*z+pz*y*z/(kz*kz+y*y)]

def solved(x, p, dose, months, rtol=1e-5, atol=1e-12):
    "One patient's cells at the end of each month [3,months]"
    return solve_ivp(cells, (0,months), x, 'LSODA', np.arange(1, months+1), rtol=rtol, atol=atol, args=(*p,dose)).y

def one_by_one(x, p, doses, **kw):
    "Leukaemic cells of each patient at each visit [T,N], solved in one go as long as the dose stays"
    def course(x, p, doses):
        for dose,same in groupby(doses):
            out = solved(x, p, dose, VISIT*len(list(same)), **kw); x = out[:,-1]
            yield from out[1,VISIT-1::VISIT]
    return np.array([list(course(*o)) for o in zip(x.T, p.T, doses.T)]).T

class OneBySciPy(gym.Env):
    "One patient as most people would write it"
    def __init__(self, x, p): self.all,self.observation_space,self.action_space = (x,p),Box(-np.inf, np.inf, (3,)),Discrete(len(DOSES))
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        i = self.np_random.integers(self.all[0].shape[1])
        (self.x,self.p),self.month,self.relapsed = (o[:,i] for o in self.all),0,False
        return self.seen(1.), {}
    def level(self, y): return np.log10(100*y/(2*KY-y))
    def seen(self, dose): return np.array([self.level(self.x[1])+.2*self.np_random.standard_normal(),dose,self.month], np.float32)
    def step(self, a):
        dose = 1. if self.relapsed else DOSES[a]
        out = solved(self.x, self.p, dose, VISIT)
        new = self.level(out[1]).max() > -1 and not self.relapsed
        self.x,self.month,self.relapsed = out[:,-1],self.month+VISIT,self.relapsed or new
        return self.seen(dose), -dose*VISIT/120-PRICE*new, self.month >= 120, False, {}

def treat(env, actions, seed=0):
    "Whole courses: doses and leukaemic cells at each visit [T,N] if the environment shows them"
    env.reset(seed=seed); out = []
    for a in actions: env.step(a); out.append((env.dose,env.u[1].exp().numpy()) if isinstance(env, CML) else ())
    return map(np.array, zip(*out))

def quickest(f, runs=3):
    "Seconds of the processor"
    def once(): t = time.process_time(); f(); return time.process_time()-t
    return min(once() for _ in range(runs))

def speed(n=1000, sample=100, lanes=8, courses=3, device='cpu, 1 thread'):
    "Rows of table 'speed', by doses: patient-months a second, ratios, and the largest relative error of leukaemic cells at a visit"
    published = hahnel_patients().table
    patients = Patients(pd.concat([published, virtual_patients(n-len(published)).table.drop(columns='age')]))
    env,visits = CML(patients=patients, visit=VISIT),120//VISIT
    x,p = env.states.exp().numpy(),patients.p.numpy()
    loops = {'gymnasium loop, solve_ivp': gym.vector.SyncVectorEnv([partial(OneBySciPy, x, p)]*lanes),
             'gymnasium loop, one_cml': gym.make_vec('onconet/CML-v0', num_envs=lanes, vectorization_mode='sync', patients=patients, visit=VISIT)}
    mine,other = f'CML, {n:,} at once','solve_ivp, one at a time'
    for regime,actions in (('half the dose', np.full((visits,n), 2)), ('doses at random', np.random.default_rng(0).integers(len(DOSES), size=(visits,n)))):
        doses,y = (o[:,:sample] for o in treat(env, actions))
        few = x[:,:sample],p[:,:sample],doses
        true = one_by_one(*few, rtol=1e-9, atol=1e-15)
        error = {mine: abs(y/true-1).max(), other: abs(one_by_one(*few)/true-1).max()}
        took = {mine: (n, quickest(lambda: treat(env, actions))), other: (sample, quickest(lambda: one_by_one(*few)))}
        took |= {k: (lanes*courses, quickest(lambda: [treat(e, actions[:,:lanes], seed) for seed in range(courses)])) for k,e in loops.items()}
        data,rows = f'CML, visit {VISIT}, {regime}',[]
        for k,(m,s) in took.items():
            rate,kw = 120*m/s,dict(device=device, seconds=s, clock='CPU')
            print(f'{k+", patient-months":44}{regime:20}{s:10.3f}{rate:12.0f}' + (f'   error {error[k]:.1e}' if k in error else ''), flush=True)
            rows.append(row('speed', k+', patient-months', data, 'items_per_second', rate, items=120*m, **kw))
            if k in error: rows.append(row('speed', k+', patient-months', data, 'largest_relative_error', error[k], device=device, patients=sample, against='LSODA, rtol 1e-9'))
            if k != mine: rows.append(row('speed', mine+', patient-months', data, 'ratio', 120*n/took[mine][1]/rate, device=device, against=k+', patient-months'))
        yield rows

def main():
    ap = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    ap.add_argument('--bench', nargs='*', choices=(all_of := ['cartpole','cml','worlds','speed']), default=all_of)
    ap.add_argument('--out', type=Path, help='folder of agents.csv and speed.csv')
    ap.add_argument('--seeds', type=int, nargs='*', default=[0,1,2])
    ap.add_argument('--visits', type=int, default=50_000, help='of CartPole')
    ap.add_argument('--only', nargs='*', choices=AGENTS, help='agents of CartPole')
    ap.add_argument('--epochs', type=int, default=EPOCHS[VISIT], help="of CML, OncoNet's; the other agent has as many seconds")
    args = ap.parse_args()
    warnings.simplefilter('ignore'); torch.set_num_threads(1)
    benches = dict(cartpole=lambda: cartpole(args.seeds, args.visits, only=args.only), cml=lambda: cml(args.seeds, args.epochs), worlds=lambda: worlds(args.seeds), speed=speed)
    for b in args.bench:
        for rows in benches[b]():
            if args.out: append_rows(args.out/f'{rows[0]["table"]}.csv', rows)

if __name__ == '__main__': main()
