"""From a benchmark's config and a checkpoint to a result."""

from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import set_random_seed

from mmsimclr import distributed
from mmsimclr.config import ConfigError
from mmsimclr.protocols.base import Benchmark
from mmsimclr.protocols.encoder_source import EncoderSource
from mmsimclr.protocols.result import Result
from mmsimclr.registry import PROTOCOLS


def run_benchmark(config: Config, checkpoint: str | None, *, config_path: str | Path | None = None,
                  command: str | None = None, select: str | None = None, cache_dir: str | Path | None = None,
                  device: str = 'auto') -> Result:
    """Measure an encoder as a config says.

    Args:
        config: From :func:`mmsimclr.config.load_config`; it has a ``protocol``.
        checkpoint: A file, folder, address or model-zoo name; None for a randomly initialised encoder,
            whose architecture is then the config's ``encoder``.
        config_path: Where the config came from, for the result.
        command: The command that repeats it, for the result.
        select: Address of the encoder in the checkpoint, where it has several.
        cache_dir: Where extracted features are kept; by default ``features`` beside the work directory, so
            that all evaluations of an encoder share them.
        device: Where to compute; 'auto' is the GPU if there is one.

    Returns:
        The result, which is written into the work directory as well.

    Raises:
        ConfigError: If the config describes no protocol.
        CheckpointError: If the checkpoint cannot be used.
    """
    if not config.get('protocol'):
        raise ConfigError('the config has no protocol=dict(type=...): it is not one of a benchmark '
                          '(configs/benchmarks/); to pre-train, use tools/train.py')
    if config.get('launcher', 'none') != 'none':
        distributed.start(config.launcher, config.get('env_cfg', {}).get('dist_cfg', {}))
    work_dir = Path(config.work_dir)
    work_dir.mkdir(parents=True, exist_ok=True)
    seed = _seed(config)
    set_random_seed(seed, deterministic=bool((config.get('randomness') or {}).get('deterministic')))
    MMLogger.get_instance('mmsimclr', log_file=str(work_dir / 'benchmark.log'))
    source = EncoderSource(checkpoint, select, dict(config.get('encoder') or {}), seed)
    benchmark = Benchmark(
        source, config, work_dir, Path(cache_dir) if cache_dir else work_dir.parent / 'features',
        config_path=str(config_path) if config_path else None, command=command, seed=seed, device=device,
        num_workers=config.get('num_workers', 0))
    return PROTOCOLS.build(config.protocol).run(benchmark)


def _seed(config: Config) -> int:
    randomness: dict[str, Any] = config.get('randomness') or {}
    seed = randomness.get('seed')
    return 0 if seed is None else seed
