import subprocess
import sys

import pytest
from mmengine import registry as roots
from mmengine.registry import Registry

from mmsimclr import registry

COMPONENTS = [
    ('MODELS', ('SimCLR', 'ResNet', 'NonLinearNeck', 'ContrastiveHead', 'NTXentLoss', 'KNNClassifier',
                'ViewPreprocessor')),
    ('DATASETS', ('Shapes', 'CIFAR10', 'UnlabeledImageFolder')),
    ('TRANSFORMS', ('MultiView', 'SimCLRView', 'PackViews', 'PackImage', 'LoadImage')),
    ('HOOKS', ('FiniteLossHook', 'OnlineKNNHook', 'RunSummaryHook')),
    ('OPTIMIZERS', ('LARS',)),
    ('OPTIM_WRAPPERS', ('BFloat16OptimWrapper',)),
    ('OPTIM_WRAPPER_CONSTRUCTORS', ('LARSOptimWrapperConstructor',)),
    ('PARAM_SCHEDULERS', ('WarmupCosineLR',)),
    ('DATA_SAMPLERS', ('SeededSampler',)),
    ('LOG_PROCESSORS', ('PretrainLogProcessor',)),
    ('FUNCTIONS', ('as_fetched',)),
]


@pytest.mark.parametrize('tree, names', COMPONENTS, ids=[tree for tree, _ in COMPONENTS])
def test_our_components_are_found_from_our_registry_and_from_mmengines_root(tree, names):
    for name in names:
        component = getattr(registry, tree).get(name)
        assert component is not None and component.__name__ == name
        assert component.__module__.startswith('mmsimclr.')
        assert getattr(roots, tree).get(f'mmsimclr.{name}') is component


@pytest.mark.slow
@pytest.mark.parametrize('imports, tree, name', [
    ('import mmsimclr, mmengine', 'MODELS', 'NTXentLoss'),
    ('import mmengine, mmsimclr', 'MODELS', 'NTXentLoss'),
    ('import mmengine, mmsimclr', 'FUNCTIONS', 'as_fetched')])
def test_importing_the_package_is_enough_for_a_name_to_resolve(imports, tree, name):
    code = f"{imports}; print(mmengine.registry.{tree}.get('mmsimclr.{name}').__name__)"
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split()[-1:] == [name], done.stderr


def test_every_registry_is_a_child_of_mmengines_root_of_its_name():
    ours = {name: value for name, value in vars(registry).items() if isinstance(value, Registry)}
    assert ours.pop('PROTOCOLS').parent is None                              # MMEngine has none of the kind
    for name, value in ours.items():
        assert value.scope == 'mmsimclr' and value.parent is getattr(roots, name), name
