"""Reads a case that model_dump wrote: batch, weights, logits and gradients, and makes tokens (docs/formats/weights.md)."""
import json
import pathlib
import struct

import torch

DTYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64, "I32": torch.int32, "U8": torch.uint8}


def read_safetensors(path):
    raw = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        data = torch.frombuffer(bytearray(raw[begin:end]), dtype=DTYPES[entry["dtype"]]) if end > begin else (
            torch.empty(0, dtype=DTYPES[entry["dtype"]]))
        tensors[name] = data.reshape(entry["shape"])
    return tensors


class Case:
    """R requests, C candidates. `request` [R, U, D] and `candidate` [C, I, D] come from tokens()."""

    def __init__(self, folder):
        folder = pathlib.Path(folder)
        case = json.loads((folder / "case.json").read_text())
        self.architecture, self.options, self.spec = case["architecture"], case["options"], case["feature_spec"]
        self.weights = {
            name: value.requires_grad_() for name, value in read_safetensors(folder / "weights.safetensors").items()}
        self.batch = read_safetensors(folder / "batch.safetensors")
        self.logits = read_safetensors(folder / "logits.safetensors")
        self.gradients = read_safetensors(folder / "gradients.safetensors")
        offsets = self.batch["candidate_offsets"]
        self.num_requests = len(offsets) - 1
        self.request_of = torch.repeat_interleave(torch.arange(self.num_requests), offsets[1:] - offsets[:-1])
        self.domain_of = self.batch["domain"][self.request_of]  # [C]
        self.domains = self.spec["domains"]

    def __getitem__(self, name):
        return self.weights[name]

    def linear(self, x, name):
        return x @ self[name + ".weight"].T + self[name + ".bias"]

    def mlp(self, x, name, activation):
        """Layers name.0, name.1, …; nothing after the last."""
        i = 0
        while f"{name}.{i}.weight" in self.weights:
            if i > 0:
                x = activation(x)
            x = self.linear(x, f"{name}.{i}")
            i += 1
        assert i > 0, name
        return x

    def feature_value(self, feature):
        """[rows, width] of the side of its token."""
        name = "feature." + feature["name"]
        if name + ".values" in self.batch:
            return self.batch[name + ".values"]
        rows = self["table." + feature["table"]][self.batch[name + ".ids"]]
        if name + ".offsets" not in self.batch:
            return rows
        offsets = self.batch[name + ".offsets"].tolist()
        bags = [rows[a:b] for a, b in zip(offsets, offsets[1:])]
        pooling = feature.get("sequence_pooling", "mean")
        if pooling == "target":
            (target,) = [f for f in self.spec["features"] if f["name"] == feature["target"]]
            by = self.feature_value(target)
            return torch.stack([self.pool(feature, bags[int(r)], by[c]) for c, r in enumerate(self.request_of)])
        return torch.stack([self.pool(feature, bag, bag.mean(0) if pooling == "self" else None) for bag in bags])

    def pool(self, feature, bag, by):
        """One row of a bag of rows: its mean, or attention of `by` over it; an empty bag is 0."""
        if len(bag) == 0:
            return torch.zeros(bag.shape[1], dtype=bag.dtype)
        if by is None:
            return bag.mean(0)
        query = self.linear(by, "pool." + feature["name"])
        return torch.softmax(bag @ query / bag.shape[1] ** 0.5, 0) @ bag

    def tokens(self):
        """Request side [R, U, D], candidate side [C, I, D], each in the order of the spec."""
        features = {feature["name"]: feature for feature in self.spec["features"]}
        sides = {"request": [], "candidate": []}
        for token in self.spec["tokens"]:
            values = torch.cat([self.feature_value(features[name]) for name in token["features"]], 1)
            gelu = torch.nn.functional.gelu
            sides[token["side"]].append(self.mlp(values, "token." + token["name"], gelu))
        return torch.stack(sides["request"], 1), torch.stack(sides["candidate"], 1)

    def all_tokens(self):
        """One row a candidate, nothing shared: [C, T, D], request-side tokens first."""
        request, candidate = self.tokens()
        return torch.cat([request[self.request_of], candidate], 1)

    def heads(self, z):
        """z [C, width] → {task: logits [C]}, each candidate through its own domain's heads."""
        out = {}
        for task in self.options["tasks"]:
            rows = []
            for c in range(len(z)):
                domain = self.domains[0 if self.options["shared_head"] else int(self.domain_of[c])]
                rows.append(self.mlp(z[c : c + 1], f"head.{domain}.{task}", torch.relu).reshape(()))
            out[task] = torch.stack(rows)
        return out

    def loss(self, logits):
        """Mean cross-entropy of click and, as a product with click, of every other task."""
        click = torch.sigmoid(logits["click"])
        total = 0.0
        for task, logit in logits.items():
            p = click if task == "click" else click * torch.sigmoid(logit)
            total = total + torch.nn.functional.binary_cross_entropy(p, self.batch["label." + task].to(p.dtype))
        return total
