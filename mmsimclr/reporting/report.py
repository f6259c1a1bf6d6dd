"""One page on trained encoders: how they were trained, how they do, and what they see."""

import base64
import hashlib
import json
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmsimclr import checkpoints
from mmsimclr.config import load_config
from mmsimclr.engine.hooks.representation_health import STAGES
from mmsimclr.environment import versions
from mmsimclr.errors import InputError, MissingFileError, UserError
from mmsimclr.evaluation.health import health
from mmsimclr.features import Embedder, FeatureFiles, extract_to_files, extraction_sha256, named_images
from mmsimclr.features.thumbnails import thumbnail
from mmsimclr.files import atomic_writer, file_digest
from mmsimclr.protocols import Result, read_result
from mmsimclr.registry import DATASETS
from mmsimclr.reporting.atlas import data_uri, make_atlas, write_parquet, write_projector
from mmsimclr.reporting.figures import image_and_draws, points_of, read_scalars
from mmsimclr.reporting.summary import summarize
from mmsimclr.reporting.table import asset, metric_title, template
from mmsimclr.runner.checkpointing import read_manifest

MAX_HEALTH_ROWS = 25_600                                    # of RankMe's paper
NUM_VIEW_ROWS, NUM_DRAWS, VIEW_PX = 4, 3, 96
MEASURES = {
    'rankme': ('RankMe', 'dimensions that the features effectively use; at most {dims}'),
    'alpha_req': ('α-ReQ', 'decay of the spectrum; around 1 is usual for good features'),
    'effective_dimensions': ('Participation', 'dimensions by the participation ratio of the variances'),
    'uniformity': ('Uniformity', 'spread over the sphere; lower is more even, 0 is one point'),
    'unit_deviation': ('Unit deviation', 'of a dimension, scaled so that 1 is isotropic and 0 collapsed'),
    'dead_share': ('Dead units', 'share of dimensions that never vary'),
}
# Titles of curves, and by what their values are multiplied; scalars with none of these names follow.
CURVES = {
    'loss': ('Contrastive loss (nats)', 1), 'contrastive_accuracy': ('Contrastive accuracy (%)', 100),
    'knn_accuracy': ('Online k-NN accuracy (%)', 1), 'lr': ('Learning rate', 1),
    'health/contrastive_loss': ('Held-out loss (nats)', 1),
    'health/contrastive_accuracy': ('Held-out accuracy (%)', 100),
    **{f'health/{stage}_{name}': (f'{title} of {of}', 1) for name, title in {
        **{name: title for name, (title, _) in MEASURES.items()}, 'lidar': 'LiDAR', 'alignment': 'Alignment',
        'deviation': 'Deviation'}.items() for stage, of in STAGES.items()}}
NOT_DRAWN = {'base_lr', 'data_time', 'time', 'epoch', 'iter', 'step', 'memory', 'images_per_second',
             'health/contrastive_chance'}


def write_report(work_dirs: Sequence[str | Path] | str | Path, images: Any = None,
                 out: str | Path = 'report', *, checkpoint: str | Path | None = None,
                 parquet: bool = False, projector: bool = False, device: str = 'auto', num_workers: int = 0,
                 progress: Callable[[int, int], None] | None = None, **settings: Any) -> Path:
    """Write a page about runs, which needs no other file, and lists of images beside it; return its path.

    Args:
        work_dirs: Folders of runs. The first of them with a checkpoint gives the encoder of the atlas: its
            best checkpoint where it keeps one, otherwise the newest.
        images: What the atlas shows: a folder, a config (``.py``) with a dataset, or a dataset with
            ``get_data_info(i)``; None for a page without an atlas.
        out: Folder for ``index.html`` and the lists. Features are kept in ``features`` in the work directory.
        checkpoint: Encoder of the atlas, in place of the run's.
        parquet: Whether to write ``atlas.parquet``, with the features, too.
        projector: Whether to write a folder ``projector`` for TensorBoard too.
        device: Where to compute; 'auto' is the GPU if there is one.
        num_workers: Processes that read images.
        progress: Called with (images done, images in all).
        **settings: Further ones of :func:`mmsimclr.reporting.atlas.make_atlas`: ``labels``, ``map_method``,
            ``seed``, ``num_clusters``, ``num_diverse``.

    Raises:
        MissingFileError, InputError: If there is no such folder, checkpoint or image, or no such map.
    """
    folders = [Path(folder) for folder in ([work_dirs] if isinstance(work_dirs, str | Path) else work_dirs)]
    if not folders:
        raise InputError('work_dirs must name at least one folder')
    for folder in folders:
        if not folder.is_dir():
            raise MissingFileError(f'no work directory {folder}')
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    atlas, measures = None, []
    if images is not None:
        source = checkpoint or _checkpoint_of(folders)
        features, dataset = _features(source, images, folders[0], device, num_workers, progress)
        atlas = make_atlas(features, dataset, progress=progress, **settings)
        atlas.about |= dict(images=features.manifest['images']['source'], encoder=str(source),
                            unreadable=features.manifest['images']['num_unreadable'])
        atlas.write_lists(out)
        rows, = features.stages.values()
        measures = _measures(features)
    page = render(dict(
        runs=[_run(folder) for folder in folders], results=_if_there(summarize, folders), measures=measures,
        views=_views(folders[0]), atlas=atlas and atlas.about, num_images=atlas and len(atlas.names),
        written=f'{datetime.now():%-d %B %Y, %H:%M}', versions=versions()), atlas and atlas.page_data())
    with atomic_writer(out / 'index.html') as file:
        file.write(page)
    if atlas and parquet:
        write_parquet(atlas, rows, out / 'atlas.parquet')
    if atlas and projector:
        write_projector(atlas, rows, out / 'projector')
    return out / 'index.html'


def _checkpoint_of(folders: Sequence[Path]) -> Path:
    for folder in folders:
        best = max(folder.glob('best_*.pth'), key=lambda path: path.stat().st_mtime, default=None)
        try:
            newest = checkpoints.find_checkpoint(folder)
            runs = {(read_manifest(each) or {}).get('run_id') for each in (best or newest, newest)}
            return best if best and len(runs) == 1 else newest
        except UserError as error:
            reason = error
            if best:
                return best
    raise reason


def _features(source: str | Path, images: Any, work_dir: Path, device: str, num_workers: int,
              progress: Callable[[int, int], None] | None) -> tuple[FeatureFiles, Any]:
    dataset = named_images(images) if isinstance(images, str | Path) else images
    embedder = Embedder(source, device)
    # Named as protocols name them, which may have extracted them already.
    name = f'{embedder.fingerprint()[:16]}_{extraction_sha256(embedder, dataset)[:16]}'
    return extract_to_files(embedder, dataset, work_dir / 'features' / name, num_workers=num_workers,
                            skip_unreadable=True, progress=progress), dataset


def _measures(features: FeatureFiles) -> list[dict[str, str]]:
    rows, = features.stages.values()
    found = health(np.array(rows[::max(1, len(rows) // MAX_HEALTH_ROWS)], np.float32))
    return [dict(title=title, value=f'{found[name]:.3g}' if math.isfinite(found[name]) else '–',
                 text=text.format(dims=min(rows.shape)))
            for name, (title, text) in MEASURES.items()]


def _run(folder: Path) -> dict[str, Any]:
    """Return what is known of a run: facts, and curves."""
    result = _if_there(read_result, folder / 'result.json')
    if result is not None and result.protocol == 'pretraining':
        with suppress(UserError):                           # there is no checkpoint any more
            newest = file_digest(checkpoints.find_checkpoint(folder))
            # Else it is of an earlier run in the folder, or of the first part of this one.
            result = result if newest == result.checkpoint_sha256 else None
    alarms = result.settings.pop('alarms', None) if result else None
    return dict(name=folder.resolve().name, facts=_facts(folder, result), alarms=alarms or [],
                curves=_curves(_if_there(read_scalars, folder) or []),
                figures=dict(starmap(_figure, ((name, value) for name, value in (
                    result.metrics.items() if result else ()) if not name.startswith('health_')))))


def _if_there(read: Callable[[Any], Any], path: Any) -> Any:
    try:
        return read(path)
    except MissingFileError:
        return None


def _figure(name: str, value: float) -> tuple[str, str]:
    """Return a metric's title and value for people: ``pretraining_s`` in minutes, others in their units."""
    units = dict(percent=(' %', 1), nats=(' nats', 1), s=(' min', 60))
    start, _, end = name.rpartition('_')
    unit, factor = units.get(end, ('', 1))
    title = metric_title(start if unit else name)
    return title if title.startswith('k-NN') else title[:1].upper() + title[1:], f'{value / factor:.4g}{unit}'


def _facts(folder: Path, result: Result | None) -> dict[str, str]:
    facts: dict[str, Any] = {'folder': folder}
    if result is not None:
        facts |= {
            'protocol': result.protocol, 'config': result.config, 'command': result.command,
            'images': ', '.join(f'{count:,} {part}' for part, count in result.num_images.items()),
            'seed': result.seed, 'checkpoint': result.checkpoint, 'SHA-256': result.checkpoint_sha256,
            'time': None if result.wall_time_s is None else f'{result.wall_time_s / 60:.1f} minutes',
            **{name.replace('_', ' '): value for name, value in result.settings.items()},
            'hardware': ', '.join(f'{name}: {value}' if isinstance(value, int) else str(value)
                                  for name, value in result.hardware.items() if value),
            'versions': ', '.join(f'{name} {text}' for name, text in result.versions.items() if text)}
    return {name: str(value) for name, value in facts.items() if value not in (None, '')}


def _curves(scalars: list[dict]) -> list[dict[str, Any]]:
    """Return the curves of scalars for the page: their points, within 0 and 1, as an SVG path has them."""
    names = dict.fromkeys(name for entry in scalars for name, value in entry.items()
                          if isinstance(value, float) and name not in NOT_DRAWN)
    curves = []
    for name in sorted(names, key=lambda name: [*CURVES, name].index(name)):
        title, factor = CURVES.get(name, (name.replace('_', ' ').capitalize(), 1))
        if len(points := points_of(scalars, name, factor)) > 1:
            steps, values = np.array(points).T
            low, high = values.min(), values.max()
            x = (steps - steps[0]) / max(1, steps[-1] - steps[0])
            y = (high - values) / max(high - low, 1e-12)
            path = 'M' + 'L'.join(f'{320 * a:.1f} {100 * b:.1f}' for a, b in zip(x, y, strict=True))
            curves.append(dict(title=title, of_health=name.startswith('health/'), path=path, low=f'{low:.3g}',
                               high=f'{high:.3g}', last=f'{values[-1]:.4g}', steps=f'{int(steps[-1]):,}'))
    return curves


def _views(folder: Path) -> dict[str, Any]:
    """Return some training images and draws of their views, as data URIs; or why there are none."""
    try:
        path = max(folder.glob('*.py'), key=lambda path: path.stat().st_mtime, default=None)
        if path is None:
            raise MissingFileError(f'{folder} holds no config')
        config: Config = load_config(path)
        init_default_scope(config.get('default_scope', 'mmsimclr'))
        dataset = DATASETS.build(config.train_dataloader.dataset)
        rows = []
        for index in np.linspace(0, len(dataset) - 1, min(NUM_VIEW_ROWS, len(dataset))).astype(int).tolist():
            rows.append([data_uri(thumbnail(dict(img=np.ascontiguousarray(image)), VIEW_PX)[0], 90)
                         for image in image_and_draws(dataset, index, NUM_DRAWS)])
        return dict(rows=rows)
    except (UserError, OSError, KeyError, AttributeError) as error:
        return dict(rows=[], reason=str(error))


def render(content: dict[str, Any], atlas: dict[str, Any] | None) -> bytes:
    """Return the page, in UTF-8, of what its template names and what its script shows."""
    style, scripts = asset('report.css'), [asset('map.min.js'), asset('report.js')][0 if atlas else 1:]
    # Of JSON in a script element only "<" could end it.
    data = json.dumps(atlas, allow_nan=False).replace('<', '\\u003c')
    page = template('report.html').render(
        **content, data=data, style=style, scripts=scripts,
        hashes=dict(script=' '.join(map(_csp_hash, scripts)), style=_csp_hash(style)))
    return page.encode('utf-8', 'replace')                              # of paths that are no text


def _csp_hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
