"""Times a rival's training step: answers first, then CPU seconds of whole steps."""
import json
import statistics
import sys
import time

import torch
from torch.nn import functional as F

from hhsft import Case, Hhsft, Tables

MOST_LOGIT_ERROR = {"fp32": 1e-4, "bf16": 4e-2}


def run(name, folder, seconds, shared, routed, grouped, bf16, compiled, fbgemm):
    torch.set_num_threads(1)
    torch.manual_seed(1)
    case = Case(folder)
    model, tables = Hhsft(case, shared, routed, grouped), Tables(case, shared, fbgemm)
    tables.prepare(case)
    trunk, tail = model.trunk, model.tail
    if compiled:
        trunk = torch.compile(trunk, dynamic=False)
        if not routed:
            tail = torch.compile(tail, dynamic=False)

    def logits():
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            z, gate = trunk(tables(), case.request_of)
            return tail(z, gate, case.request_of, case.domain)

    got = logits().detach()
    error = (got - case.logit).abs().max().item()
    if not error <= MOST_LOGIT_ERROR["bf16" if bf16 else "fp32"]:
        raise SystemExit(f"{name}: wrong answers, not timed: max |logit difference| {error:.3g}")
    dense = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, betas=(0.9, 0.99), fused=compiled)
    sparse = None if fbgemm else torch.optim.Adagrad(tables.parameters(), lr=0.05, eps=1e-8)

    def step():
        loss = F.binary_cross_entropy_with_logits(logits(), case.label)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        for optimizer in (dense, sparse):
            if optimizer is not None:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        return loss.item()

    step()
    step()
    times = []
    while sum(times) < seconds or len(times) < 3:
        begin = time.process_time()
        step()
        times.append(time.process_time() - begin)
    median = statistics.median(times)
    print(json.dumps({"name": name, "ms": 1e3 * median, "candidates_per_s": len(case.label) / median, "error": error,
                      "steps": len(times), "range_ms": [1e3 * min(times), 1e3 * max(times)], "torch": torch.__version__}))


def variants(all_variants, arguments):
    """usage: run.py CASE_FOLDER SECONDS [VARIANT]; without a variant: their names."""
    if len(arguments) < 3:
        print("\n".join(all_variants))
        return
    run(arguments[3], arguments[1], float(arguments[2]), **all_variants[arguments[3]])
    sys.stdout.flush()
