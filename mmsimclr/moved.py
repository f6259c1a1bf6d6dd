"""Names of version 0.1, found where they are now, with a DeprecationWarning.

Configs that a run of 0.1 has dumped, and code written for it, name components by the modules of then. Nothing
here costs anything until such a name is asked for.
"""

import sys
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

# Each module of today, and those of 0.1 whose names it has, all below mmsimclr.
MOVED = {
    'checkpoints.export.convert': 'checkpoints.export.usage',
    'checkpoints.export.tensor_files': 'checkpoints.export.limits',
    'checkpoints.key_maps': 'checkpoints.key_maps.detectron2 checkpoints.key_maps.official_resnet '
                            'checkpoints.key_maps.tensorflow1 checkpoints.key_maps.tensorflow2',
    'checkpoints.layouts': 'checkpoints.architecture checkpoints.key_maps.sequential '
                           'checkpoints.projection_head',
    'checkpoints.load': 'checkpoints.filling checkpoints.initializer checkpoints.source',
    'checkpoints.read': 'checkpoints.unpickling',
    'checkpoints.tensorflow': 'checkpoints.key_maps.tensorflow_official',
    'checkpoints.zoo': 'checkpoints.zoo_settings',
    'config.check': 'config.component_types config.sections config.training_parts config.variables',
    'config.load': 'config.options config.reading',
    'datasets.annotations': 'datasets.annotation_files datasets.coco_annotations datasets.whole_images',
    'datasets.cifar10': 'datasets.cifar10_format',
    'datasets.shapes.dataset': 'datasets.shapes',
    'datasets.shapes.geometry': 'datasets.shapes_geometry',
    'datasets.shapes.rendering': 'datasets.shapes_rendering',
    'datasets.shapes.scenes': 'datasets.shapes_scenes',
    'datasets.subsets': 'datasets.balanced_subset datasets.image_subset datasets.listed_subset',
    'datasets.unlabeled_image_folder': 'datasets.image_files',
    'datasets.webdataset_shards': 'datasets.shard_index',
    'evaluation': 'protocols',
    'evaluation.knn': 'models.heads.knn_classifier protocols.knn',
    'evaluation.linear_svm': 'protocols.linear_svm',
    'evaluation.logistic_regression': 'protocols.lbfgs protocols.logistic_regression '
                                      'protocols.principal_axes',
    'evaluation.metrics': 'protocols.average_precision protocols.classification_metrics',
    'evaluation.significance': 'protocols.permutation_test',
    'features.embedder': 'features.extractor features.pooling',
    'features.extraction': 'features.files',
    'features.images': 'features.preparation',
    'features.store': 'features.manifest features.npz features.row_writer',
    'files.archives': 'files.unpacking',
    'files.locks': 'files.locked_file',
    'files.progress': 'files.progress_line',
    'files.unpickling': 'checkpoints.unpickling datasets.cifar10_format',
    'files.verified': 'files.verified_file',
    'models.backbones.downstream_resnet': 'models.heads models.heads.stage4_head',
    'models.backbones.resnet': 'models.backbones.resnet_blocks',
    'prepare.cifar10': 'datasets.cifar10_archive',
    'prepare.devkits': 'datasets.annotation_layouts',
    'prepare.imagenet_subsets': 'datasets.imagenet_subsets',
    'prepare.shapes': 'datasets.shapes_export',
    'prepare.shards': 'datasets.shard_writer',
    'protocols.base': 'protocols.benchmarking protocols.encoder_source',
    'protocols.downstream': 'protocols.annotation_check protocols.detection protocols.downstream_model '
                            'protocols.segmentation',
    'protocols.linear': 'protocols.linear_per_layer',
    'protocols.result': 'protocols.predictions',
    'protocols.svm': 'protocols.linear_svm protocols.one_vs_rest',
    'protocols.training': 'protocols.evaluation',
    'protocols.transfer': 'protocols.transfer_datasets',
    'protocols.transfer_fine_tuning': 'protocols.fine_tuning_grid',
    'reporting.drawing': 'protocols.drawing',
    'reporting.figures': 'reporting.curves reporting.pictures',
    'reporting.predictor': 'protocols.predictor',
    'reporting.summary': 'reporting.published',
    'runner': 'checkpoints config engine',
    'runner.adapt': 'config.bad_images config.device_views config.fitting config.runner',
    'runner.build': 'config.runner',
    'runner.checkpointing': 'checkpoints.manifest config.checkpoint_content',
    'runner.failures': 'config.plain_errors config.run_errors',
    'runner.log': 'engine.deferred_message_hub engine.log_processor',
    'runner.loop': 'engine.random_state engine.resumable_loop',
    'runner.resume': 'config.resuming',
    'runner.runner': 'config.fitting config.pretrain_runner engine.compiling',
    'transforms.batch.device_views': 'transforms.batch.pack_for_device',
    'transforms.batch.parameters': 'transforms.batch.counter_random',
    'transforms.color': 'transforms.color_ops transforms.lighting',
    'transforms.load': 'transforms.load_for_crops',
    'transforms.views': 'transforms.random_view',
}
# Names that have changed, as 'module of 0.1:name': 'module of today:name'.
RENAMED = {
    'checkpoints.zoo_settings:mirrors': 'checkpoints.zoo:configured_mirrors',
    'config.checkpoint_content:bare_model': 'distributed:unwrap_model',
    'features.pooling:out_indices': 'models.backbones.resnet:out_indices_of',
    'models.algorithms.classifier:MAPS': 'models.backbones.resnet:STAGE_INDICES',
    'protocols.downstream_model:unwrap': 'distributed:unwrap_model',
    'protocols.permutation_test:check_comparable': 'reporting.comparison:check_comparable',
    'reporting:summarise': 'reporting:summarize',
    'reporting.summary:summarise': 'reporting:summarize',
}
PLACES: dict[str, list[str]] = {}
for new, old_modules in MOVED.items():
    for old in old_modules.split():
        PLACES.setdefault(old, []).append(new)
for key in RENAMED:
    PLACES.setdefault(key.split(':')[0], [])
PLACES['checkpoints.key_maps'] = []                          # a package then, and a module now


class _OldModules(MetaPathFinder, Loader):
    """Finds the modules of 0.1 that are gone, and the names that the others have lost."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Find a module of the table; Python's own finders find any other."""
        package, _, module = name.partition('.')
        if package != 'mmsimclr' or module not in PLACES:
            return None
        spec = PathFinder.find_spec(name, path)
        return run_after(spec, self.exec_module) if spec else ModuleSpec(name, self)

    def exec_module(self, module: ModuleType) -> None:
        """Let a module look up what it lacks, and import what was below it."""
        module.__getattr__ = lambda name: _find(module.__name__, name)
        if any(f'mmsimclr.{old}'.startswith(f'{module.__name__}.') for old in PLACES):
            vars(module).setdefault('__path__', [])


def _find(module: str, name: str) -> Any:
    old = module.removeprefix('mmsimclr.')
    renamed = RENAMED.get(f'{old}:{name}')
    places = [renamed.split(':')] if renamed else [(place, name) for place in PLACES[old]]
    folder = vars(sys.modules[module]).get('__path__')
    if name.startswith('__') or (folder and PathFinder.find_spec(f'{module}.{name}', folder)):
        places = []                                          # a file of the package, which comes next
    for place, new_name in places:
        found = getattr(import_module(f'mmsimclr.{place}'), new_name, None)
        if found is not None and not isinstance(found, ModuleType):
            warnings.warn(f'{module}.{name} is now mmsimclr.{place}.{new_name}', DeprecationWarning, 3)
            return found
    raise AttributeError(f'module {module!r} has no attribute {name!r}')


def run_after(spec: ModuleSpec, action: Callable[[ModuleType], None]) -> ModuleSpec:
    """Have a function called with a module as soon as it is imported."""
    execute = spec.loader.exec_module

    def exec_module(module: ModuleType) -> None:
        execute(module)
        action(module)
    spec.loader.exec_module = exec_module
    return spec


def install() -> None:
    """Let Python's import find the modules of 0.1."""
    sys.meta_path.insert(0, _OldModules())
