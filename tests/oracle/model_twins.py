"""Every model against its plain twin on random batches: logits and gradients.

usage: model_twins.py MODEL_DUMP ARCHITECTURE…
"""
import pathlib
import subprocess
import sys
import tempfile

import torch

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from models.baselines import TWINS  # noqa: E402
from models.case import Case  # noqa: E402
from models.hhsft import hhsft  # noqa: E402
from models.onetrans import onetrans  # noqa: E402

TWINS = {**TWINS, "hhsft": hhsft, "onetrans": onetrans}

# Both sides compute in double; the order of sums is all that differs.
LOGIT_TOLERANCE, GRADIENT_TOLERANCE = 1e-9, 1e-8


def compare(folder):
    case = Case(folder)
    logits = TWINS[case.architecture](case)
    problems = []
    if set(logits) != set(case.logits):
        problems.append(f"tasks: expected {sorted(case.logits)}, got {sorted(logits)}")
    for task, expected in case.logits.items():
        error = (logits[task] - expected).abs().max().item()
        spread = (expected - expected.mean()).abs().max().item()
        if not error <= LOGIT_TOLERANCE:
            problems.append(f"logits of {task} differ by {error:.3g}")
        if not spread > 1e-3:
            problems.append(f"logits of {task} are all alike: the case shows nothing")
    case.loss(logits).backward()
    for name, weight in case.weights.items():
        got = weight.grad if weight.grad is not None else torch.zeros_like(weight)
        expected = case.gradients.get(name)
        if expected is None:
            # The model leaves out what gets no gradient at all; here it may be a zero, but an exact one.
            if got.abs().max().item() != 0:
                problems.append(f"{name}: expected no gradient, got {got.abs().max().item():.3g}")
            continue
        scale = max(1e-3, expected.abs().max().item())
        error = (got - expected).abs().max().item()
        if not error <= GRADIENT_TOLERANCE * scale:
            problems.append(f"gradient of {name} differs by {error:.3g} of {scale:.3g}")
    for name in case.gradients:
        if name not in case.weights:
            problems.append(f"gradient of {name}, which is no weight")
    return problems


def main():
    dump, architectures = sys.argv[1], sys.argv[2:]
    torch.set_num_threads(1)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([dump, folder, *architectures], check=True)
        cases = sorted(pathlib.Path(folder).iterdir())
        for architecture in architectures:
            if not any(case.name.startswith(architecture + "-") for case in cases):
                print(f"{architecture}: no case")
                failed += 1
        for case in cases:
            problems = compare(case)
            print(f"{case.name}: {'ok' if not problems else ''}")
            for problem in problems:
                print(f"  {problem}")
            failed += bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
