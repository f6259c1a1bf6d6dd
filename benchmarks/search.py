"""Search among many stored features: peak memory, recall@10 beside exact search, time.

    python benchmarks/search.py --rows 1000000 --dims 512 --out benchmarks/results/search.json

Features are drawn around 10,000 centres, and lie in a memory-mapped file.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import write
from numpy.lib.format import open_memmap

from mmsimclr.features import FeatureFiles
from mmsimclr.features.search import search

CHUNK = 10_000


def write_features(path: Path, rows: int, dims: int) -> np.ndarray:
    """Write features to a file and return it mapped."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10_000, dims)).astype(np.float32)
    file = open_memmap(path, 'w+', np.float32, (rows, dims))
    for start in range(0, rows, CHUNK):
        part = slice(start, min(start + CHUNK, rows))
        size = (part.stop - start, dims)
        file[part] = centres[rng.integers(len(centres), size=size[0])] + rng.standard_normal(
            size, np.float32) * rng.uniform(0.3, 1.0, (size[0], 1)).astype(np.float32)
    file.flush()
    del file
    return np.load(path, mmap_mode='r')


def peak_anonymous_mb() -> float:
    """Return the process's own memory now, without mapped files, in MB."""
    status = Path('/proc/self/status').read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith('RssAnon')) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--rows', type=int, default=1_000_000)
    parser.add_argument('--dims', type=int, default=512)
    parser.add_argument('--out', type=Path, required=True)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = write_features(Path(folder) / 'pooled.npy', args.rows, args.dims)
        features = FeatureFiles({'pooled': rows}, None, None, dict(checksums={}))
        before, times = peak_anonymous_mb(), []
        for _ in range(2):                                  # with the index made, and with it read
            started = time.perf_counter()
            found = search(features, Path(folder) / 'features', rows[:100], k=10)
            times.append(time.perf_counter() - started)
        write(args.out, benchmark='search', images=args.rows, dims=args.dims, rows={found.index: dict(
            recall_at_10=found.recall, features_mb=rows.nbytes / 2 ** 20,
            own_memory_mb=peak_anonymous_mb() - before,
            peak_resident_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            first_s=times[0], again_s=times[1])})


if __name__ == '__main__':
    main()
