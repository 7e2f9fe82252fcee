"""HHSFT once more, candidate by candidate and plain, from paper.md §2, model.md and docs/formats/weights.md."""
import torch
from torch.nn.functional import gelu

from .baselines import per_token_ffn, rms


def attention(q, k, v, num_heads, allowed):
    """q [C, T_q, D], k and v [C, T_k, D]; allowed[i, j]: may query i see key j?"""
    dim = q.shape[2] // num_heads
    parts = []
    for h in range(num_heads):
        s = slice(h * dim, (h + 1) * dim)
        scores = torch.einsum("cid,cjd->cij", q[:, :, s], k[:, :, s]) / dim**0.5
        weights = torch.softmax(scores.masked_fill(~allowed, float("-inf")), -1)
        parts.append(torch.einsum("cij,cjd->cid", weights, v[:, :, s]))
    return torch.cat(parts, 2)


def per_token(x, weight):
    """y_i = W_i x_i."""
    return torch.stack([x[:, i] @ weight[i].T for i in range(x.shape[1])], 1)


def hfa(case, l, x, allowed):
    name, dim = f"hfa.{l}", x.shape[2]
    qkv = per_token(rms(x, case[name + ".attention_norm.gain"]), case[name + ".qkv.weight"])
    q, k, v = qkv[:, :, :dim], qkv[:, :, dim : 2 * dim], qkv[:, :, 2 * dim :]
    x = x + per_token(attention(q, k, v, case.options["num_heads"], allowed), case[name + ".output.weight"])
    return x + per_token_ffn(case, name + ".ffn", rms(x, case[name + ".ffn_norm.gain"]))


def gfa(case, g, x):
    name, o = f"gfa.{g}", case.options
    m, width = o["gfa_tokens"] or x.shape[1], o["gfa_dim"]
    a = rms(x, case[name + ".norm.gain"]).flatten(1)

    def composite(part, rank):
        if rank == 0:
            y = a @ case[f"{name}.{part}.weight"].T
        else:
            y = a @ (case[f"{name}.{part}.1.weight"] @ case[f"{name}.{part}.0.weight"]).T
        return y.reshape(-1, m, width)

    q, k, v = composite("query", o["rank_qk"]), composite("key", o["rank_qk"]), composite("value", o["rank_v"])
    y = attention(q, k, v, o["num_heads"], torch.ones(m, m, dtype=torch.bool))
    if o["gfa_skip"] == "identity":
        y = y + x
    elif o["gfa_skip"] == "linear":
        y = y + (x.flatten(1) @ case[name + ".skip.weight"].T).reshape(-1, m, width)
    return y


def isolated(x, share):
    """The value of x; of its gradient only `share` goes through."""
    return x.detach() + share * (x - x.detach())


def dref(case, z, t):
    """z [d_z] of one candidate of domain t."""
    shared = case.mlp(z, "dref.shared", gelu)
    if not case.options["dref"]:
        return shared
    own = case.mlp(z, f"dref.expert.{t}", gelu)
    alpha = torch.softmax(case.mlp(z, f"dref.gate.{t}", gelu), 0)
    return alpha[0] * shared + alpha[1] * own


def dapga(case, e, t, gate_input):
    share = case.options["isolation"]
    keys, values, query = [], [], None
    for domain in case.domains:
        u = case.mlp(e, f"dapga.expert.{domain}", gelu)
        foreign = domain != t
        if not foreign:
            query = case["dapga.query.weight"] @ u
        if foreign and case.options["stop_gradient"] == "pre":
            u = isolated(u, share)
        key, value = case["dapga.key.weight"] @ u, case["dapga.value.weight"] @ u
        if foreign and case.options["stop_gradient"] == "post":
            key, value = isolated(key, share), isolated(value, share)
        keys.append(key)
        values.append(value)
    weights = torch.softmax(torch.stack([query @ key for key in keys]) / len(query) ** 0.5, 0)
    mixed = sum(weight * value for weight, value in zip(weights, values))
    return torch.sigmoid(case.mlp(gate_input, "dapga.gate", gelu)) * mixed


def hhsft(case):
    o = case.options
    request, _ = case.tokens()
    x = case.all_tokens()
    num_request, num_tokens = request.shape[1], x.shape[1]
    allowed = torch.ones(num_tokens, num_tokens, dtype=torch.bool)
    if o["mask"] == "user_isolated":
        allowed[:num_request, num_request:] = False

    names = [token["name"] for token in case.spec["tokens"] if token["side"] == "request"]
    gate_inputs = x[:, [names.index(name) for name in o["gate_tokens"]]].flatten(1) if o["dapga"] else None
    if o["dapga"] and o["gate_stop_gradient"]:
        gate_inputs = gate_inputs.detach()

    for l in range(o["num_layers"]):
        x = hfa(case, l, x, allowed)
    for g in range(o["gfa_layers"] if o["gfa"] else 0):
        x = gfa(case, g, x)
    z = case.mlp(rms(x, case["readout.norm.gain"]).flatten(1), "readout", gelu)

    outputs = []
    for c in range(len(z)):
        t = case.domains[int(case.domain_of[c])]
        e = dref(case, z[c], t)
        outputs.append(dapga(case, e, t, gate_inputs[c]) if o["dapga"] else e)
    return case.heads(torch.stack(outputs))
