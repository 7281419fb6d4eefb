import torch
from torch import nn
class PathwayTransformer(nn.Module):
    def __init__(self, membership, d=64, dropout=.2):
        super().__init__()
        m = membership if torch.is_tensor(membership) else torch.zeros(*membership)
        self.register_buffer('membership', m)
        S,G = m.shape; self.config=dict(membership=[S,G], d=d, dropout=dropout)
        self.w = nn.Parameter(torch.randn(S,G)*.1); self.emb=nn.Parameter(torch.randn(S,d)*.1)
        self.skip=nn.Linear(G,d); self.norm=nn.LayerNorm(d); self.drop=nn.Dropout(dropout)
    def forward(self,x):
        t = x@(self.w*self.membership).T/self.membership.sum(1).clamp(min=1).sqrt()
        z = (t[...,None]*self.emb).mean(1)
        return self.norm(z+self.drop(self.skip(x)))
