"""What a synthetic world looks like: click-through by position, and how well the production score, the true probability and
the unbeatable one (truth x examination) rank the exposed search candidates. Joins the truth to the logs, as an example.

    .venv/bin/python examples/synth/describe.py build/synth/store
"""

import glob
import json
import sys

import numpy as np
import pyarrow.parquet as pq

EXAMINATION_DECAY = 0.5  # synth.examination_decay


def auc(score, label):
    """Area under the ROC curve, ties counted half."""
    _, inverse, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[inverse]
    positives = label.sum()
    negatives = len(label) - positives
    return (rank[label].sum() - positives * (positives + 1) / 2) / (positives * negatives)


def published(store, parts, table):
    """The files of a table, by their folder below it: only what a manifest lists exists."""
    files = {}
    for manifest in sorted(glob.glob(f"{store}/manifests/{parts}.json")):
        with open(manifest) as lines:
            for entry in json.load(lines)["files"]:
                if entry["path"].startswith(table + "/"):
                    files["/".join(entry["path"].split("/")[1:-1])] = f"{store}/{entry['path']}"
    return files


def read(store):
    clicks = set()
    for path in published(store, "dt=*", "events").values():
        table = pq.read_table(path, columns=["action", "request_id", "item_id"]).to_pydict()
        clicks.update((r, i) for a, r, i in zip(table["action"], table["request_id"], table["item_id"]) if a == "click")
    score, truth, position, clicked = [], [], [], []
    truths = published(store, "truth-dt=*", "truth")
    for folder, path in published(store, "dt=*", "requests").items():
        probs = pq.read_table(truths[folder], columns=["click_prob"])["click_prob"].to_numpy()
        table = pq.read_table(path, columns=["domain", "request_id", "candidates"])
        at = 0
        for row in table.to_pylist():
            for candidate in row["candidates"]:
                if row["domain"] == "search" and candidate["position"] is not None:
                    score.append(candidate["score"])
                    truth.append(probs[at])
                    position.append(candidate["position"])
                    clicked.append((row["request_id"], candidate["item_id"]) in clicks)
                at += 1
    return np.array(score), np.array(truth), np.array(position), np.array(clicked)


def main():
    score, truth, position, clicked = read(sys.argv[1])
    print(f"exposed search candidates {len(clicked)}, click-through {clicked.mean():.4f}")
    for p in (1, 2, 3, 5, 10, 20):
        print(f"  position {p:2}: {clicked[position == p].mean():.3f}")
    print(f"auc: production score {auc(score, clicked):.3f}, true click probability {auc(truth, clicked):.3f}, "
          f"truth x examination {auc(truth * position ** -EXAMINATION_DECAY, clicked):.3f}")


main()
