"""Frames of the report's map with 50,000 points, in Chromium without a GPU.

    python benchmarks/report_page.py --out benchmarks/results/report_page.json

The page is moved and zoomed with the mouse; a frame lasts from one requestAnimationFrame to the next.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
from measure import write
from playwright.sync_api import sync_playwright

from mmsimclr.reporting.atlas import Atlas
from mmsimclr.reporting.report import render
from mmsimclr.version import __version__

SOFTWARE = ['--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader',
            '--ignore-gpu-blocklist']


def synthetic_page(folder: Path, count: int) -> Path:
    """Write the page of ``count`` points in eight clusters."""
    rng = np.random.default_rng(0)
    cluster = rng.integers(0, 8, count)
    points = rng.normal(size=(8, 2))[cluster] + 0.2 * rng.normal(size=(count, 2))
    atlas = Atlas([f'folder/{number:06d}.jpg' for number in range(count)],
                  (0.95 * points / np.abs(points).max()).astype(np.float32),
                  np.full((count, 20), 0.9, np.float32), rng.integers(0, count, (count, 20)),
                  dict(label=[f'class {number}' for number in cluster]), [], np.arange(40), np.arange(60),
                  cluster, np.zeros((count, 24, 24, 3), np.uint8))
    page = folder / 'index.html'
    page.write_bytes(render(dict(
        runs=[], results=None, measures=[], views={}, num_images=count, written='',
        atlas=dict(map='', clusters='', encoder='', images=''), versions=dict(mmsimclr=__version__)),
        atlas.page_data()))
    return page


def frames(page: Path, width: int, height: int) -> np.ndarray:
    """Return the milliseconds between frames while the map is zoomed and moved."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which('chromium'), args=SOFTWARE)
        tab = browser.new_page(viewport=dict(width=width, height=height))
        tab.goto(f'file://{page}')
        tab.locator('#canvas[data-drawn]').wait_for(timeout=60_000)
        tab.locator('#map').scroll_into_view_if_needed()
        box = tab.locator('#canvas').bounding_box()
        x, y = box['x'] + box['width'] / 2, box['y'] + min(box['height'], height - box['y']) / 2
        tab.mouse.move(x, y)
        tab.evaluate('''() => { window.times = []; const tick = (time) => { times.push(time);
            requestAnimationFrame(tick); }; requestAnimationFrame(tick); }''')
        for step in range(40):
            tab.mouse.wheel(0, -40 if step % 3 else 60)
        tab.mouse.down()
        for step in range(160):
            tab.mouse.move(x + 100 * np.sin(step / 8), y + 60 * np.cos(step / 8))
        tab.mouse.up()
        times = tab.evaluate('times')
        browser.close()
    return np.diff(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--points', type=int, default=50_000)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = synthetic_page(Path(folder), args.points)
        rows = {f'{width} x {height}': dict(zip(
            ('median_ms', 'p90_ms'), np.percentile(np.concatenate(
                [frames(page, width, height) for _ in range(args.rounds)]), [50, 90]).tolist(), strict=True))
            for width, height in ((1440, 900), (390, 844))}
    for name, row in rows.items():
        sys.stdout.write(f'{name}: median {row["median_ms"]:.1f} ms, 90 % below {row["p90_ms"]:.1f} ms\n')
    if args.out:
        write(args.out, benchmark='report_page', points=args.points, rounds=args.rounds, rows=rows)


if __name__ == '__main__':
    main()
