"""HHSFT `base` as one writes it in PyTorch (docs/model.md), from the weights that `bench_train export` wrote.

`shared`: request-side tokens are computed once a request, else every candidate is a sample of its own.
`routed`: candidates go to their domain's experts by index, else every expert sees all rows and a mask chooses.
"""
import json
import pathlib
import struct

import torch
from torch import nn
from torch.nn import functional as F

DTYPES = {"F32": torch.float32, "I64": torch.int64}


def read_safetensors(path):
    raw = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    tensors = {}
    for name, entry in json.loads(raw[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            data = torch.frombuffer(bytearray(raw[begin:end]), dtype=DTYPES[entry["dtype"]])
            tensors[name] = data.reshape(entry["shape"])
    return tensors


class Case:
    """What `bench_train export` wrote: the spec, the touched rows of the tables, a batch, its logits."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.spec = json.loads((folder / "feature_spec.json").read_text())
        self.options = json.loads((folder / "options.json").read_text())
        self.weights = read_safetensors(folder / "weights.safetensors")
        self.rows = read_safetensors(folder / "rows.safetensors")
        self.batch = read_safetensors(folder / "batch.safetensors")
        offsets = self.batch["candidate_offsets"]
        self.request_of = torch.repeat_interleave(torch.arange(len(offsets) - 1), offsets[1:] - offsets[:-1])
        self.domain = self.batch["domain"][self.request_of]
        self.label = self.batch["label"].float()
        self.logit = self.batch["logit"]


def rms(x, gain):
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * gain


def attention(q, k, v, heads):
    """[B, T, D]. Written out: for lists as short as these torch's scaled_dot_product_attention is several times slower."""
    split = lambda x: x.unflatten(2, (heads, -1)).transpose(1, 2)
    shares = torch.softmax(split(q) @ split(k).transpose(2, 3) * (q.shape[2] // heads) ** -0.5, -1)
    return (shares.to(v.dtype) @ split(v)).transpose(1, 2).flatten(2)


class Hhsft(nn.Module):
    def __init__(self, case, shared, routed, grouped):
        super().__init__()
        self.o, self.shared, self.routed, self.grouped = case.options, shared, routed, grouped
        self.domains, self.tokens = case.spec["domains"], case.spec["tokens"]
        self.num_request = sum(token["side"] == "request" for token in self.tokens)
        names = [token["name"] for token in self.tokens]
        self.gate_tokens = [names.index(name) for name in self.o["gate_tokens"]]
        self.dense = nn.ParameterDict(
            {name.replace(".", "_"): nn.Parameter(value.clone()) for name, value in case.weights.items()})

    def w(self, name):
        return self.dense[name.replace(".", "_")]

    def mlp(self, x, name, activation=F.gelu, last=1):
        for i in range(last + 1):
            x = F.linear(activation(x) if i else x, self.w(f"{name}.{i}.weight"), self.w(f"{name}.{i}.bias"))
        return x

    def per_token(self, x, name, first, n, bias=False):
        """y_i = W_i x_i (+ b_i): one product a token, or a batched one."""
        weight = self.w(name + ".weight")[first : first + n]
        if self.grouped == "loop":
            y = torch.stack([F.linear(x[:, i], weight[i]) for i in range(n)], 1)
        else:
            y = torch.bmm(x.transpose(0, 1), weight.transpose(1, 2)).transpose(0, 1)
        return y + self.w(name + ".bias")[first : first + n] if bias else y

    def finish(self, l, x, attended, first):
        n = x.shape[1]
        y = x + self.per_token(attended, f"hfa.{l}.output", first, n)
        h = rms(y, self.w(f"hfa.{l}.ffn_norm.gain")[first : first + n])
        h = F.gelu(self.per_token(h, f"hfa.{l}.ffn.0", first, n, True))
        return y + self.per_token(h, f"hfa.{l}.ffn.1", first, n, True)

    def qkv(self, l, x, first):
        n = x.shape[1]
        return self.per_token(rms(x, self.w(f"hfa.{l}.attention_norm.gain")[first : first + n]), f"hfa.{l}.qkv", first, n).chunk(3, 2)

    def hfa(self, l, r, c, request_of):
        u, heads = self.num_request, self.o["num_heads"]
        rq, rk, rv = self.qkv(l, r, 0)
        cq, ck, cv = self.qkv(l, c, u)
        k, v = rk, rv
        if self.shared:
            k, v = rk[request_of], rv[request_of]
        attended = attention(cq, torch.cat([k, ck], 1), torch.cat([v, cv], 1), heads)
        return self.finish(l, r, attention(rq, rk, rv, heads), 0), self.finish(l, c, attended, u)

    def split_linear(self, r, c, weight, bias, request_of):
        if not self.shared:
            return F.linear(torch.cat([r, c], 1), weight, bias)
        a = r.shape[1]
        return F.linear(r, weight[:, :a], bias)[request_of] + F.linear(c, weight[:, a:])

    def gfa(self, r, c, request_of):
        u, o = self.num_request, self.o
        gain = self.w("gfa.0.norm.gain")
        ar, ac = rms(r, gain[:u]).flatten(1), rms(c, gain[u:]).flatten(1)
        parts = []
        for part in ("query", "key", "value"):
            low = self.split_linear(ar, ac, self.w(f"gfa.0.{part}.0.weight"), None, request_of)
            parts.append(F.linear(low, self.w(f"gfa.0.{part}.1.weight")).unflatten(1, (o["gfa_tokens"], o["gfa_dim"])))
        x = torch.cat([r[request_of] if self.shared else r, c], 1)
        return x + attention(*parts, o["num_heads"])

    def experts(self, e, name, domain, activation=F.gelu, last=1):
        """Each row through its own domain's network."""
        if self.routed:
            out = None
            for d, one in enumerate(self.domains):
                rows = (domain == d).nonzero().squeeze(1)
                y = self.mlp(e[rows], name.format(one), activation, last)
                out = torch.zeros(len(e), y.shape[1], dtype=y.dtype).index_copy(0, rows, y) if out is None else out.index_copy(0, rows, y)
            return out
        ys = torch.stack([self.mlp(e, name.format(one), activation, last) for one in self.domains])
        return sum(ys[d] * (domain == d).unsqueeze(1) for d in range(len(self.domains)))

    def trunk(self, values, request_of):
        x = [self.mlp(value, "token." + token["name"]) for token, value in zip(self.tokens, values)]
        u = self.num_request
        r, c = torch.stack(x[:u], 1).float(), torch.stack(x[u:], 1).float()
        gate = r[:, self.gate_tokens].flatten(1)
        for l in range(self.o["num_layers"]):
            r, c = self.hfa(l, r, c, request_of)
        y = self.gfa(r, c, request_of)
        return self.mlp(rms(y, self.w("readout.norm.gain")).flatten(1), "readout"), gate

    def tail(self, z, gate, request_of, domain):
        alpha = torch.softmax(self.experts(z, "dref.gate.{}", domain), 1)
        e = alpha[:, :1] * self.mlp(z, "dref.shared") + alpha[:, 1:] * self.experts(z, "dref.expert.{}", domain)
        us = []
        for d, one in enumerate(self.domains):
            if self.routed:
                rows = (domain == d).nonzero().squeeze(1)
                with torch.no_grad():
                    u = self.mlp(e, f"dapga.expert.{one}")
                us.append(u.index_copy(0, rows, self.mlp(e[rows], f"dapga.expert.{one}").to(u.dtype)))
            else:
                u = self.mlp(e, f"dapga.expert.{one}")
                us.append(torch.where((domain == d).unsqueeze(1), u, u.detach()))
        u = torch.stack(us, 1)  # [C, N, d_a]
        own = (u * F.one_hot(domain, len(self.domains)).unsqueeze(2).to(u.dtype)).sum(1)
        q = F.linear(own, self.w("dapga.query.weight"))
        k, v = F.linear(u, self.w("dapga.key.weight")), F.linear(u, self.w("dapga.value.weight"))
        share = torch.softmax((k * q.unsqueeze(1)).sum(2).float() / k.shape[2] ** 0.5, 1)
        g = torch.sigmoid(self.mlp(gate.detach(), "dapga.gate"))
        if self.shared:
            g = g[request_of]
        o = g * (share.unsqueeze(2) * v).sum(1)
        with torch.autocast("cpu", enabled=False):
            return self.experts(o.float(), "head.{}.click", domain, F.relu).squeeze(1)


class Tables(nn.Module):
    """Embedding tables with sparse gradients: torch's EmbeddingBag or FBGEMM's table-batched one (its optimiser inside)."""

    def __init__(self, case, shared, fbgemm):
        super().__init__()
        self.spec, self.shared = case.spec, shared
        places = {table["name"]: t for t, table in enumerate(self.spec["tables"])}
        self.features = {feature["name"]: feature for feature in self.spec["features"]}
        for feature in self.features.values():
            if isinstance(feature.get("table"), str):
                feature["table"] = places.get(feature["table"], -1)
        self.names = [table["name"] for table in self.spec["tables"]]
        self.fbgemm = fbgemm
        sizes = [(table["rows"], table["dim"]) for table in self.spec["tables"]]
        if fbgemm:
            from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation, PoolingMode
            from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
                ComputeDevice, OptimType, SplitTableBatchedEmbeddingBagsCodegen)

            # A group for each side: its features have as many bags. The history shares the items' rows, as FBGEMM
            # cannot across two groups: the history comes with its own copy (it costs the rival nothing).
            self.groups = nn.ModuleDict()
            self.chosen = {}
            for side in ("request", "candidate"):
                self.chosen[side] = [f for f in self.features.values() if f.get("table", -1) >= 0 and f["side"] == side]
                tables = [f["table"] for f in self.chosen[side]]
                self.groups[side] = SplitTableBatchedEmbeddingBagsCodegen(
                    [(*sizes[t], EmbeddingLocation.HOST, ComputeDevice.CPU) for t in tables],
                    optimizer=OptimType.EXACT_ROWWISE_ADAGRAD, learning_rate=0.05, eps=1e-8, pooling_mode=PoolingMode.MEAN)
                for weight, t in zip(self.groups[side].split_embedding_weights(), tables):
                    fill(weight, case, self.names[t])
            return
        self.bags = nn.ModuleList(nn.EmbeddingBag(rows, dim, mode="mean", sparse=True) for rows, dim in sizes)
        for bag, name in zip(self.bags, self.names):
            fill(bag.weight.data, case, name)

    def prepare(self, case):
        """The batch's ids in the form that forward reads: not timed."""
        self.inputs, b = {}, case.batch
        for name, feature in self.features.items():
            of_request = feature["side"] == "request"
            if f"feature.{name}.values" in b:
                x = b[f"feature.{name}.values"]
                self.inputs[name] = x[case.request_of] if of_request and not self.shared else x
                continue
            ids = b[f"feature.{name}.ids"]
            offsets = b.get(f"feature.{name}.offsets", torch.arange(len(ids) + 1))
            if of_request and not self.shared:
                parts = [ids[offsets[r] : offsets[r + 1]] for r in case.request_of.tolist()]
                offsets = torch.tensor([0] + [len(part) for part in parts]).cumsum(0)
                ids = torch.cat(parts)
            self.inputs[name] = (ids, offsets)
        if self.fbgemm:
            self.flat = {}
            for side, chosen in self.chosen.items():
                ids = torch.cat([self.inputs[f["name"]][0] for f in chosen])
                lengths = torch.cat([self.inputs[f["name"]][1].diff() for f in chosen])
                self.flat[side] = (ids, torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)]))

    def forward(self):
        """By token: its input."""
        values = {}
        if self.fbgemm:
            for side, chosen in self.chosen.items():
                out = self.groups[side](*self.flat[side])
                values.update(zip([f["name"] for f in chosen], out.split([f["dim"] for f in chosen], 1)))
        out = []
        for token in self.spec["tokens"]:
            (name,) = (f if isinstance(f, str) else self.spec["features"][f]["name"] for f in token["features"])
            if name not in values:
                x = self.inputs[name]
                feature = self.features[name]
                values[name] = x if torch.is_tensor(x) else self.bags[feature["table"]](x[0], x[1][:-1])
            out.append(values[name])
        return out


def fill(weight, case, name):
    weight.normal_(0, 0.1) if weight.shape[0] <= 100_000 else weight.fill_(0.05)
    weight[case.rows[f"{name}.ids"]] = case.rows[f"{name}.rows"]
