"""Versions, hardware and settings of this machine; needs only the standard library."""

import os
import platform
import sys
from importlib import import_module, metadata

from mmsimclr.version import __version__

TESTED_PYTHONS = ('3.10', '3.11', '3.12')
# Tested versions of each distribution that a run depends on.
TESTED = {
    'torch': ('2.11',),
    'torchvision': ('0.26',),
    'onedl-mmengine': ('0.10',),
    'onedl-mmcv': ('2.3',),
    'onedl-mmpretrain': ('1.3',),
    'onedl-mmdetection': ('3.5',),
    'onedl-mmsegmentation': ('1.4',),
    'numpy': ('2.2',),
    'opencv-python-headless': ('4.12',),
    'scikit-learn': ('1.7', '1.8', '1.9'),
}
# Environment variables that change the bits of a result.
BITS = ('CUBLAS_WORKSPACE_CONFIG', 'CUDA_VISIBLE_DEVICES', 'MKL_NUM_THREADS', 'OMP_NUM_THREADS',
        'PYTHONHASHSEED')


def versions() -> dict[str, str | None]:
    """Return the versions of Python, mmsimclr and each dependency; None where it is not installed."""
    found = {'python': platform.python_version(), 'mmsimclr': __version__}
    for distribution in TESTED:
        try:
            found[distribution] = metadata.version(distribution)
        except metadata.PackageNotFoundError:
            found[distribution] = None
    # Distributions of OpenCV overwrite each other; the imported one runs.
    if 'cv2' in sys.modules:
        found['opencv-python-headless'] = sys.modules['cv2'].__version__
    return found


def flags() -> dict[str, bool | int | dict[str, str]]:
    """Return the settings that change the bits of a result on the same machine and versions."""
    try:
        torch = import_module('torch')
    except ImportError:
        return {}
    return {
        'deterministic_algorithms': torch.are_deterministic_algorithms_enabled(),
        'cudnn_benchmark': torch.backends.cudnn.benchmark,
        'cudnn_deterministic': torch.backends.cudnn.deterministic,
        'tf32': torch.backends.cuda.matmul.allow_tf32,
        'threads': torch.get_num_threads(),
        'environment': {name: os.environ[name] for name in BITS if name in os.environ},
    }


def num_usable_cores() -> int:
    """Return the number of CPU cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1


def cpu_name() -> str:
    """Return the processor's name."""
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as lines:
            for line in lines:
                if line.startswith('model name'):
                    return line.split(':', 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def hardware() -> dict[str, str | int | list[str]]:
    """Return the processor, the number of usable cores, and the names of the GPUs that torch can use."""
    gpus: list[str] = []
    try:
        cuda = import_module('torch').cuda
        gpus = [cuda.get_device_name(i) for i in range(cuda.device_count())]
    except ImportError:
        pass
    return {'cpu': cpu_name(), 'cores': num_usable_cores(), 'gpus': gpus}
