"""anomalib's KCenterGreedy, in the peers' environment: run by `benchmarks.peers.in_peer`, never by hand.

Its argument: {"features": file of float32 (N, D), "picks": M, "ratio": share of N that is selected}.
"""

import json
import sys
import time

import numpy as np
import torch
from anomalib.models.components.sampling import (  # type: ignore[import-not-found, unused-ignore]
    KCenterGreedy,
)


def main(features: str, picks: int, ratio: float) -> None:
    """Select, and print the seconds and the picks."""
    torch.manual_seed(0)
    patches = torch.from_numpy(np.load(features))
    started = time.perf_counter()
    greedy = KCenterGreedy(patches, ratio)
    greedy.coreset_size = min(greedy.coreset_size, picks)
    indices = greedy.select_coreset_idxs()
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "indices": indices, "dimensions": int(greedy.model.n_components)}))


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
