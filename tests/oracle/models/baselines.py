"""The baselines once more, sample by sample and plain, from paper.md §3 and docs/formats/weights-baselines.md."""
import torch
from torch.nn.functional import gelu


def rms(x, gain):
    return gain * x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6)


def layer_norm(x, gain, bias):
    centred = x - x.mean(-1, keepdim=True)
    return gain * centred / torch.sqrt((centred * centred).mean(-1, keepdim=True) + 1e-5) + bias


def trunk(case, x):
    return torch.relu(case.mlp(x, "trunk", torch.relu))


def per_token_ffn(case, name, x):
    """x [C, T, D], an FFN for each token."""
    rows = []
    for t in range(x.shape[1]):
        hidden = gelu(x[:, t] @ case[f"{name}.0.weight"][t].T + case[f"{name}.0.bias"][t])
        rows.append(hidden @ case[f"{name}.1.weight"][t].T + case[f"{name}.1.bias"][t])
    return torch.stack(rows, 1)


def dlrm_mlp(case):
    return case.heads(trunk(case, case.all_tokens().flatten(1)))


def dcnv2(case):
    x0 = x = case.all_tokens().flatten(1)
    o = case.options
    for l in range(o["num_layers"]):
        name, bias = f"cross.{l}", case[f"cross.{l}.bias"]
        if o["cross_rank"] == 0:
            x = x0 * (x @ case[name + ".weight"].T + bias) + x
        elif o["cross_experts"] == 1:
            x = x0 * (x @ case[name + ".down.weight"].T @ case[name + ".up.weight"].T + bias) + x
        else:
            gates = torch.softmax(x @ case[name + ".gate.weight"].T, 1)
            total = x
            for k in range(o["cross_experts"]):
                inner = torch.tanh(x @ case[name + ".down.weight"][k].T)
                inner = torch.tanh(inner @ case[name + ".middle.weight"][k].T)
                total = total + gates[:, k : k + 1] * x0 * (inner @ case[name + ".up.weight"][k].T + bias)
            x = total
    return case.heads(trunk(case, x))


def wukong(case):
    x, o = case.all_tokens(), case.options
    num_fmb, dim = o["fmb_rows"], x.shape[2]
    for l in range(o["num_layers"]):
        name = f"wukong.{l}"
        interactions = x @ (x.transpose(1, 2) @ case[name + ".fm.weight"])  # [C, n, k]
        normed = layer_norm(interactions.flatten(1), case[name + ".fm_norm.gain"], case[name + ".fm_norm.bias"])
        fmb = case.mlp(normed, name + ".mlp", torch.relu).reshape(-1, num_fmb, dim)
        lcb = torch.einsum("on,cnd->cod", case[name + ".lcb.weight"], x)
        residual = x
        if x.shape[1] != num_fmb + o["lcb_rows"]:
            residual = torch.einsum("on,cnd->cod", case[name + ".residual.weight"], x)
        x = layer_norm(torch.cat([fmb, lcb], 1) + residual, case[name + ".norm.gain"], case[name + ".norm.bias"])
    return case.heads(trunk(case, x.flatten(1)))


def rankmixer(case):
    x, o = case.all_tokens(), case.options
    num, num_tokens, dim = x.shape
    segments = max(s for s in range(1, num_tokens + 1) if dim % s == 0)
    if segments != num_tokens:
        width = num_tokens * dim // segments
        flat = x.flatten(1)
        x = torch.stack([flat[:, s * width : (s + 1) * width] @ case["mixer.segment.weight"][s].T
                         + case["mixer.segment.bias"][s] for s in range(segments)], 1)
    part = dim // segments
    for l in range(o["num_layers"]):
        name = f"mixer.{l}"
        mixed = torch.stack([torch.cat([x[:, s, h * part : (h + 1) * part] for s in range(segments)], 1)
                             for h in range(segments)], 1)
        y = layer_norm(mixed + x, case[name + ".mix_norm.gain"], case[name + ".mix_norm.bias"])
        x = layer_norm(per_token_ffn(case, name + ".ffn", y) + y, case[name + ".ffn_norm.gain"],
                       case[name + ".ffn_norm.bias"])
    return case.heads(x.mean(1))


def hiformer(case):
    o = case.options
    x = case.all_tokens()
    num_tasks, dim, num_heads = len(o["tasks"]), x.shape[2], o["num_heads"]
    x = torch.cat([x, case["task_token.weight"].expand(len(x), -1, -1)], 1)
    n = x.shape[1]

    def composite(a, name, rows):
        if name + ".weight" in case.weights:
            y = a @ case[name + ".weight"].T
        else:
            y = a @ case[name + ".0.weight"].T @ case[name + ".1.weight"].T
        return y.reshape(len(a), rows, dim)

    for l in range(o["num_layers"]):
        name = f"hiformer.{l}"
        m = num_tasks if l == o["num_layers"] - 1 else n
        a = rms(x, case[name + ".attention_norm.gain"]).flatten(1)
        q, k, v = composite(a, name + ".query", m), composite(a, name + ".key", n), composite(a, name + ".value", n)
        parts = []
        for h in range(num_heads):
            s = slice(h * dim // num_heads, (h + 1) * dim // num_heads)
            scores = q[:, :, s] @ k[:, :, s].transpose(1, 2) / (dim // num_heads) ** 0.5
            parts.append(torch.softmax(scores, -1) @ v[:, :, s])
        x = x[:, n - m :] + torch.cat(parts, 2)
        x = x + per_token_ffn(case, name + ".ffn", rms(x, case[name + ".ffn_norm.gain"]))
    return case.heads(x.flatten(1))


TWINS = {"dlrm_mlp": dlrm_mlp, "dcnv2": dcnv2, "wukong": wukong, "rankmixer": rankmixer, "hiformer": hiformer}
