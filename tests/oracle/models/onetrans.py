"""OneTrans once more, candidate by candidate without padding, from paper.md §3.7 and docs/formats/weights-baselines.md."""
import torch
from torch.nn.functional import gelu

from .baselines import rms
from .hhsft import attention


def sequences(case):
    """{name: features}, in the order of the spec."""
    out = {}
    for feature in case.spec["features"]:
        if feature["kind"] == "sequence":
            source = feature["source"]
            name = source if source == "query_history" else source.split(".")[1]
            out.setdefault(name, []).append(feature)
    return out


def events(case, r):
    """The event tokens of request r, [n, D]: those of each sequence, then its separator."""
    tokens = []
    for s, (name, features) in enumerate(sequences(case).items()):
        offsets = case.batch[f"feature.{features[0]['name']}.offsets"].tolist()
        for i in range(offsets[r], offsets[r + 1]):
            fields = [case["table." + f["table"]][case.batch[f"feature.{f['name']}.ids"][i]] for f in features]
            tokens.append(case.mlp(torch.cat(fields)[None], f"event.{name}", gelu)[0])
        tokens.append(case["event.separator.weight"][s])
    return tokens


def onetrans(case):
    o = case.options
    num_layers, num_tokens = o["num_layers"], len(case.spec["tokens"])
    longest = sum(features[0]["max_length"] + 1 for features in sequences(case).values())
    all_tokens = case.all_tokens()
    rows = []
    for c in range(len(all_tokens)):
        mine = events(case, int(case.request_of[c]))
        x = torch.stack(mine + list(all_tokens[c]))
        num_events = len(mine)
        for l in range(num_layers):
            # Row i has the weights of the events, or of its own token.
            def of(part, i):
                if i < num_events:
                    return case[f"onetrans.{l}.event.{part}"][0]
                return case[f"onetrans.{l}.token.{part}"][i - num_events]

            n, dim = x.shape
            qkv = torch.stack([of("qkv.weight", i) @ rms(x[i], of("attention_norm.gain", i)) for i in range(n)])
            allowed = torch.ones(n, n, dtype=torch.bool).tril()
            attended = attention(qkv[None, :, :dim], qkv[None, :, dim : 2 * dim], qkv[None, :, 2 * dim :],
                                 o["num_heads"], allowed)[0]
            going_on = min(num_events, longest * (num_layers - 1 - l) // num_layers)
            out = []
            for i in range(num_events - going_on, n):
                y = x[i] + of("output.weight", i) @ attended[i]
                hidden = of("ffn.0.weight", i) @ rms(y, of("ffn_norm.gain", i)) + of("ffn.0.bias", i)
                out.append(y + of("ffn.1.weight", i) @ gelu(hidden) + of("ffn.1.bias", i))
            x, num_events = torch.stack(out), going_on
        assert x.shape[0] == num_tokens
        rows.append(rms(x, case["readout.norm.gain"]).flatten())
    return case.heads(torch.stack(rows))
