#!/usr/bin/env python3
"""Rivals of bench_serve: HHSFT with a bundle's weights in torch, ONNX Runtime and OpenVINO, on one core.

They start at what each token's MLP reads (features and embedding rows are free for them). "shared" graphs compute
the request side once (what the mask user_isolated allows), the others give every candidate a copy of it. "loop"
graphs have one product a token, "batched" ones a batched product over all tokens. A contender whose logits are
wrong is not timed. One JSON object a line on stdout: name, candidates, shares, ms (median CPU time).

usage: rivals.py <version directory of a bundle> <folder with inputs-<candidates>.safetensors> [candidates …]
"""

import json
import pathlib
import struct
import sys
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F

SIZES = (200, 500, 1000)
MOST_LOGIT_ERROR = 0.1  # ours is held to 0.02; rivals may round what we keep in fp32
torch.set_num_threads(1)
torch.set_grad_enabled(False)
warnings.filterwarnings("ignore")


def read_safetensors(path):
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + at for at in entry["data_offsets"])
            tensors[name] = torch.from_numpy(np.frombuffer(data[begin:end], np.float32).reshape(entry["shape"]).copy())
    return tensors


class Hhsft(torch.nn.Module):
    """The equations of docs/formats/weights.md for the search domain; forward(request inputs…, candidate inputs…)."""

    def __init__(self, bundle, shared, batched):
        super().__init__()
        manifest = json.loads((bundle / "manifest.json").read_text())
        spec = json.loads((bundle / "feature_spec.json").read_text())
        self.options = manifest["architecture_options"]
        self.shared, self.batched = shared, batched
        names = {side: [t["name"] for t in spec["tokens"] if t["side"] == side] for side in ("request", "candidate")}
        self.names = names["request"] + names["candidate"]
        self.num_request = len(names["request"])
        self.domains = spec["domains"]
        self.gate_places = [names["request"].index(name) for name in self.options["gate_tokens"]]
        self.width = self.options["token_dim"]
        weights = read_safetensors(bundle / "weights.safetensors")
        # [T, in, out] for x @ W; the two sides apart, so that no call copies a slice.
        self.own = {}
        for name, value in weights.items():
            if name.startswith("table."):
                continue
            if name.startswith("hfa."):
                value = value.transpose(1, 2).contiguous() if value.dim() == 3 else value.unsqueeze(1)
                for side, part in (("r", value[: self.num_request]), ("c", value[self.num_request :])):
                    self.add(f"{side}.{name}", part)
                self.add(f"a.{name}", value)
            elif name.startswith("gfa.0.") and name.endswith(".0.weight"):
                split = self.num_request * self.width
                self.add(f"r.{name}", value[:, :split])
                self.add(f"c.{name}", value[:, split:])
                self.add(f"a.{name}", value)
            else:
                self.add(name, value)

    def add(self, name, value):
        self.register_buffer(name.replace(".", "_"), value.contiguous())

    def get(self, name):
        return getattr(self, name.replace(".", "_"))

    def mlp(self, name, x, act=F.gelu):
        i = 0
        while hasattr(self, f"{name}.{i}.weight".replace(".", "_")):
            if i > 0:
                x = act(x)
            x = F.linear(x, self.get(f"{name}.{i}.weight"), self.get(f"{name}.{i}.bias"))
            i += 1
        return x

    @staticmethod
    def norm(x):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-6)

    def by_token(self, name, x, bias=None):
        weight = self.get(name)
        if self.batched:
            return torch.bmm(x, weight) if bias is None else torch.baddbmm(self.get(bias), x, weight)
        parts = []
        for t in range(weight.shape[0]):
            y = x[t] @ weight[t]
            parts.append(y if bias is None else y + self.get(bias)[t])
        return torch.stack(parts)

    def heads(self, x):  # [n, rows, D] -> [rows, H, n, D / H]
        n, rows, width = x.shape
        return x.view(n, rows, self.options["num_heads"], width // self.options["num_heads"]).permute(1, 2, 0, 3)

    def hfa(self, side, layer, x, keys, mask):
        name = f"{side}.hfa.{layer}"
        n, rows, width = x.shape
        qkv = self.by_token(f"{name}.qkv.weight", self.norm(x) * self.get(f"{name}.attention_norm.gain"))
        q, k, v = (self.heads(part) for part in qkv.split(width, -1))
        own = (k, v)
        if keys is not None:
            k = torch.cat([keys[0].expand(rows, -1, -1, -1), k], 2)
            v = torch.cat([keys[1].expand(rows, -1, -1, -1), v], 2)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        attended = attended.permute(2, 0, 1, 3).reshape(n, rows, width)
        x = x + self.by_token(f"{name}.output.weight", attended)
        normed = self.norm(x) * self.get(f"{name}.ffn_norm.gain")
        hidden = F.gelu(self.by_token(f"{name}.ffn.0.weight", normed, f"{name}.ffn.0.bias"))
        return x + self.by_token(f"{name}.ffn.1.weight", hidden, f"{name}.ffn.1.bias"), own

    def forward(self, *inputs):
        u, layers = self.num_request, self.options["num_layers"]
        tokens = [self.mlp(f"token.{name}", x) for name, x in zip(self.names, inputs)]
        gate = torch.sigmoid(self.mlp("dapga.gate", torch.cat([tokens[p] for p in self.gate_places], -1)))
        request = torch.stack(tokens[:u])
        candidate = torch.stack(tokens[u:])
        rows = candidate.shape[1]
        gain = self.get("gfa.0.norm.gain").unsqueeze(1)
        if self.shared:
            for layer in range(layers):
                request_in = request
                request, keys = self.hfa("r", layer, request_in, None, None)
                candidate, _ = self.hfa("c", layer, candidate, keys, None)
            x = torch.cat([request.expand(-1, rows, -1), candidate])
            normed = [(self.norm(request) * gain[:u]).transpose(0, 1).flatten(1),
                      (self.norm(candidate) * gain[u:]).transpose(0, 1).flatten(1)]
            down = lambda part: F.linear(normed[0], self.get(f"r.gfa.0.{part}.0.weight")) + F.linear(
                normed[1], self.get(f"c.gfa.0.{part}.0.weight"))
        else:
            x = torch.cat([request, candidate])
            mask = torch.ones(x.shape[0], x.shape[0], dtype=torch.bool)
            mask[:u, u:] = False
            for layer in range(layers):
                x, _ = self.hfa("a", layer, x, None, mask)
            normed = (self.norm(x) * gain).transpose(0, 1).flatten(1)
            down = lambda part: F.linear(normed, self.get(f"a.gfa.0.{part}.0.weight"))
        q, k, v = (
            self.heads(F.linear(down(part), self.get(f"gfa.0.{part}.1.weight")).view(rows, len(self.names), -1).transpose(0, 1))
            for part in ("query", "key", "value")
        )
        y = F.scaled_dot_product_attention(q, k, v).permute(2, 0, 1, 3).reshape(x.shape) + x
        y = self.norm(y) * self.get("readout.norm.gain").unsqueeze(1)
        z = self.mlp("readout", y.transpose(0, 1).flatten(1))
        alpha = torch.softmax(self.mlp("dref.gate." + self.domains[0], z), -1)
        e = alpha[:, :1] * self.mlp("dref.shared", z) + alpha[:, 1:] * self.mlp("dref.expert." + self.domains[0], z)
        bank = torch.stack([self.mlp("dapga.expert." + domain, e) for domain in self.domains], 1)  # [rows, N, d_a]
        query = F.linear(bank[:, :1], self.get("dapga.query.weight"))
        out = F.scaled_dot_product_attention(query, F.linear(bank, self.get("dapga.key.weight")),
                                             F.linear(bank, self.get("dapga.value.weight")))[:, 0]
        return self.mlp(f"head.{self.domains[0]}.click", gate * out, F.relu)[:, 0]


def read_inputs(model, path):
    tensors = read_safetensors(path)
    inputs = [tensors["input." + name] for name in model.names]
    rows = inputs[-1].shape[0]
    if not model.shared:
        inputs = [x.expand(rows, -1).contiguous() for x in inputs]
    return inputs, tensors["logit.click"]


def report(name, shares, call, want):
    got = torch.as_tensor(call()).float().flatten()
    error = (got - want).abs().max().item()
    ranks = [x.argsort().argsort().double() for x in (got, want)]
    correlation = torch.corrcoef(torch.stack(ranks))[0, 1].item()
    note = f"{name} × {len(want)}: max |Δlogit| {error:.2g}, rank correlation {correlation:.5f}"
    if not error <= MOST_LOGIT_ERROR:
        print(f"  {note}: wrong answers, not timed", file=sys.stderr)
        return
    call()
    times = []
    while sum(times) < 1.0 or len(times) < 5:
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    print(f"  {note}: {1e3 * sorted(times)[len(times) // 2]:.1f} ms", file=sys.stderr, flush=True)
    print(json.dumps({"name": name, "candidates": len(want), "shares": shares,
                      "ms": 1e3 * sorted(times)[len(times) // 2]}), flush=True)


def run_torch(bundle, folder, size):
    for shared, batched, bf16, compiled in (
        (True, True, False, False), (True, True, True, False), (False, True, True, False),
        (True, True, True, True), (True, False, True, True), (False, True, True, True),
    ):
        model = Hhsft(bundle, shared, batched)
        inputs, want = read_inputs(model, folder / f"inputs-{size}.safetensors")
        if bf16:
            model, inputs = model.bfloat16(), [x.bfloat16() for x in inputs]
        name = " ".join(["torch", "compile" if compiled else "eager", "bf16" if bf16 else "fp32",
                         "shared" if shared else "as is", "batched" if batched else "loop"])
        run = torch.compile(model, dynamic=False) if compiled else model
        report(name, shared, lambda: run(*inputs), want)
        torch._dynamo.reset()


def run_openvino(bundle, folder, size):
    import openvino

    core = openvino.Core()
    for shared, batched in ((True, True), (True, False), (False, True), (False, False)):
        model = Hhsft(bundle, shared, batched).eval()
        inputs, want = read_inputs(model, folder / f"inputs-{size}.safetensors")
        graph = openvino.convert_model(model, example_input=tuple(inputs))
        for port, x in zip(graph.inputs, inputs):
            port.get_node().set_partial_shape(openvino.PartialShape(list(x.shape)))
        graph.validate_nodes_and_infer_types()
        compiled = core.compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "bf16", "INFERENCE_NUM_THREADS": "1",
                                                     "NUM_STREAMS": "1", "PERFORMANCE_HINT": "LATENCY"})
        request = compiled.create_infer_request()
        arrays = [x.numpy() for x in inputs]
        name = f"openvino bf16 {'shared' if shared else 'as is'} {'batched' if batched else 'loop'}"
        report(name, shared, lambda: request.infer(arrays)[compiled.output(0)].copy(), want)


def run_onnx(bundle, folder, size):
    import io

    import onnxruntime

    model = Hhsft(bundle, True, True).eval()
    inputs, want = read_inputs(model, folder / f"inputs-{size}.safetensors")
    file = io.BytesIO()
    torch.onnx.export(model, tuple(inputs), file, dynamo=False, opset_version=17)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file.getvalue(), options, providers=["CPUExecutionProvider"])
    feed = {port.name: x.numpy() for port, x in zip(session.get_inputs(), inputs)}
    report("onnxruntime fp32 shared batched", True, lambda: session.run(None, feed)[0], want)


def main():
    bundle, folder = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    for size in [int(one) for one in sys.argv[3:]] or SIZES:
        for run in (run_torch, run_openvino, run_onnx):
            try:
                run(bundle, folder, size)
            except Exception as error:  # a package that is not there, a graph that it cannot take
                print(f"  {run.__name__} × {size}: not measured: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)


if __name__ == "__main__":
    main()
