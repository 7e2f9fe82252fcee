"""Plain PyTorch, as people write it: eager fp32, every candidate a sample of its own, EmbeddingBag with sparse gradients."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from steps import variants  # noqa: E402

if __name__ == "__main__":
    variants({"eager fp32 sample-wise": dict(shared=False, routed=True, grouped="batched", bf16=False, compiled=False, fbgemm=False)}, sys.argv)
