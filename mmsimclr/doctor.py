"""Report of what is installed and what works: ``mmsimclr doctor``."""

import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from mmsimclr.environment import TESTED, TESTED_PYTHONS, hardware, versions

CORE, FULL = 'tools/install.sh core (or make quickstart)', 'tools/install.sh full (or make test)'
OPS = FULL
if not (Path(__file__).parents[1] / 'tools/install.sh').is_file():                      # of a wheel
    PIP = f'{sys.executable} -m pip' if find_spec('pip') else 'uv pip'
    CORE, FULL = f'{PIP} install mmsimclr', f"{PIP} install 'mmsimclr[detection,segmentation]'"
    # Built against the torch that is there, which a build of pip's own environment would not see.
    OPS = (f'{PIP} install setuptools==80.9.0 wheel ninja && {PIP} install --no-build-isolation --no-deps '
           f'--no-cache-dir --force-reinstall onedl-mmcv=={versions()["onedl-mmcv"] or "2.3.6"}')


class Unusable(Exception):
    """A part cannot be used, for a reason; ``mend`` says what to do about it."""

    def __init__(self, reason: str, mend: str) -> None:
        super().__init__(reason)
        self.mend = mend


def _need(mend: str, *modules: str, found: str = '') -> str:
    """Return what was found if all modules can be imported."""
    for module in modules:
        try:
            import_module(module)
        except Exception as error:                    # a broken package can raise anything at import
            raise Unusable(f'{module} cannot be imported: {error}', mend) from error
    return found


def _need_ops() -> None:
    try:
        ops, torch = import_module('mmcv.ops'), import_module('torch')
        boxes = torch.tensor([[0., 0., 10., 10.], [1., 1., 10., 10.]])
        kept = ops.nms(boxes, torch.tensor([0.9, 0.8]), iou_threshold=0.5)[1]
        if len(kept) != 1:
            raise RuntimeError(f'nms kept {len(kept)} of 2 boxes that overlap')
    except Exception as error:
        raise Unusable(f"mmcv's compiled ops do not run: {error}", OPS) from error


def _downstream(package: str) -> str:
    _need(FULL, package)
    _need_ops()
    return f"{package}, mmcv's ops run"


def _gpu() -> str:
    _need(CORE, 'torch')
    torch = import_module('torch')
    if not torch.backends.cuda.is_built():
        raise Unusable('this torch is built for the CPU only',
                       'install torch and torchvision with CUDA, at matching versions')
    if not torch.cuda.is_available():
        raise Unusable(
            f'torch, built for CUDA {torch.version.cuda}, sees no NVIDIA GPU',
            'if this machine has one, check CUDA_VISIBLE_DEVICES, and that the driver that nvidia-smi shows '
            f'is for CUDA {torch.version.cuda} or newer; everything but speed works on the CPU')
    return ', '.join(hardware()['gpus'])


PARTS: dict[str, Callable[[], str]] = {
    'pre-training': partial(
        _need, CORE, 'torch', 'torchvision', 'cv2', 'mmengine', 'mmcv', 'mmsimclr.models', 'mmsimclr.engine',
        'mmsimclr.transforms', 'mmsimclr.datasets', found='mmsimclr explore, mmsimclr train'),
    'classification protocols': partial(
        _need, CORE, 'mmpretrain', 'mmsimclr.protocols',
        found='k-NN, SVM, linear, semi-supervised, transfer: mmsimclr benchmark'),
    'detection': partial(_downstream, 'mmdet'),
    'segmentation': partial(_downstream, 'mmseg'),
    'GPU': _gpu,
}


def examine() -> dict[str, tuple[bool, str, str]]:
    """Try every part; return whether it is usable, what was found or why it is not, and the mend if not."""
    findings = {}
    for part, check in PARTS.items():
        try:
            findings[part] = (True, check(), '')
        except Unusable as unusable:
            findings[part] = (False, str(unusable), unusable.mend)
    return findings


def untested(found: dict[str, str | None]) -> list[str]:
    """Return a line for each installed version outside the tested matrix."""
    lines = []
    if (python := found.get('python')) and not python.startswith(TESTED_PYTHONS):
        lines.append(f'Python {python} is not among the tested versions ({", ".join(TESTED_PYTHONS)})')
    for name, accepted in TESTED.items():
        if (version := found.get(name)) and not version.startswith(tuple(f'{each}.' for each in accepted)):
            lines.append(f'{name} {version} is not among the tested versions ({", ".join(accepted)}); '
                         'it may work')
    return lines


def main() -> int:
    """Print the report; return 0 if pre-training is usable, else 1."""
    found, machine = versions(), hardware()
    print('versions')
    for name, version in found.items():
        print(f'  {name:<24} {version or "not installed"}')
    print(f'devices\n  {"CPU":<24} {machine["cpu"]}, {machine["cores"]} usable core(s)')
    print(f'  {"GPU":<24} {", ".join(machine["gpus"]) or "none"}')
    print('parts')
    findings = examine()
    for part, (usable, detail, mend) in findings.items():
        print(f'  {part:<24} {"usable" if usable else "NOT usable"}: {detail}')
        if mend:
            print(f'  {"":<24} mend: {mend}')
    for line in untested(found):
        print(f'warning: {line}')
    return 0 if findings['pre-training'][0] else 1


if __name__ == '__main__':
    sys.exit(main())
