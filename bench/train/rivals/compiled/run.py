"""The best PyTorch that we could make: torch.compile, bf16 autocast, request side once, FBGEMM's tables, fused AdamW.

Variants: the per-token product as one batched product or a loop; experts for all rows in one graph, or routed outside it.
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from steps import variants  # noqa: E402

if __name__ == "__main__":
    common = dict(shared=True, bf16=True, compiled=True, fbgemm=True)
    variants({f"compile bf16 shared fbgemm {grouped} {'routed' if routed else 'masked'}": dict(common, grouped=grouped, routed=routed)
              for grouped in ("batched", "loop") for routed in (False, True)}, sys.argv)
