"""One step of LARS on ResNet-50's parameters, beside torch's foreach SGD and mmpretrain's LARS.

    python benchmarks/lars.py --out benchmarks/results/lars.json

All have momentum and weight decay, and the parameters of SimCLR's ResNet-50 with its projection head in two
groups, norms and biases apart. On a GPU the same command measures there.
"""

import argparse
from importlib.util import find_spec

import torch
from measure import alternate, parse, peer_versions, ratios, write
from mmengine.optim import build_optim_wrapper

from mmsimclr.engine import LARS, LARSOptimWrapperConstructor
from mmsimclr.models import NonLinearNeck, ResNet

SETTINGS = dict(lr=0.3, momentum=0.9, weight_decay=1e-6)


def optimizers() -> dict[str, tuple[type, dict]]:
    found = {'ours': (LARS, {}), 'torch SGD, foreach': (torch.optim.SGD, dict(foreach=True))}
    if find_spec('mmpretrain'):
        from mmpretrain.engine.optimizers import LARS as MMPretrainLARS
        found['mmpretrain'] = (MMPretrainLARS, {})
    return found


def stepper(optimizer: type, extra: dict, base_channels: int, device: str):
    """Return a function that makes ``steps`` steps on a model of its own with fixed random gradients."""
    torch.manual_seed(0)
    width = 32 * base_channels
    model = torch.nn.Sequential(
        ResNet(depth=50, base_channels=base_channels),
        NonLinearNeck(in_channels=width, hid_channels=width, out_channels=128)).to(device)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter) * 1e-3
    wrapper = build_optim_wrapper(model, dict(
        constructor=LARSOptimWrapperConstructor, optimizer=dict(type=optimizer, **SETTINGS, **extra)))
    return wrapper.optimizer.step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--base-channels', type=int, default=64, help='64: ResNet-50 (default: %(default)s)')
    parser.add_argument('--steps', type=int, default=3, help='steps of a round (default: %(default)s)')
    parser.add_argument('--rounds', type=int, default=11, help='rounds that count (default: %(default)s)')
    args = parse(parser, quick=dict(base_channels=2, steps=1, rounds=1))
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    steps = {name: stepper(kind, extra, args.base_channels, device)
             for name, (kind, extra) in optimizers().items()}
    rows = ratios(alternate({name: lambda step=step: [step() for _ in range(args.steps)]
                             for name, step in steps.items()}, args.rounds), 'ours')
    for row in rows.values():
        row['median_s'] /= args.steps
    write(args.out, benchmark='lars', base_channels=args.base_channels, steps=args.steps, rounds=args.rounds,
          device=device, threads=torch.get_num_threads(), rows=rows, peers=peer_versions())


if __name__ == '__main__':
    main()
