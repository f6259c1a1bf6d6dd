"""Install mmsimclr: pip install -e ."""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
MIM_PARTS = ('configs', 'tools', 'model-index.yml')
VERSION = {}
exec((ROOT / 'mmsimclr/version.py').read_text(encoding='utf-8'), VERSION)                 # nosec B102: our own file


class BuildWithConfigs(build_py):
    """Puts configs, tools and model index into mmsimclr/.mim, where OpenMMLab's tools look."""

    def run(self):
        """Build the package; an editable install has links to the parts beside it."""
        super().run()
        mim = ROOT / 'mmsimclr' / '.mim' if self.editable_mode else Path(self.build_lib, 'mmsimclr', '.mim')
        shutil.rmtree(mim, ignore_errors=True)
        if self.editable_mode:
            mim.mkdir()
            for part in MIM_PARTS:
                (mim / part).symlink_to(Path('..', '..', part))
            return
        for part in MIM_PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, mim / part, ignore=shutil.ignore_patterns('__pycache__', '.*'))
            else:
                shutil.copy2(ROOT / part, mim / part)


setup(
    name='mmsimclr',
    version=VERSION['__version__'],
    description='SimCLR pre-training and its benchmarks, assembled from registered components',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    cmdclass={'build_py': BuildWithConfigs},
    packages=find_packages(include=['mmsimclr', 'mmsimclr.*']),
    package_data={'': ['py.typed', '*.json', '*.yml'], 'mmsimclr.reporting': ['assets/*.*']},
    entry_points={'console_scripts': ['mmsimclr = mmsimclr.cli:main']},
    # With tarfile.data_filter, which came to each of them as a security fix.
    python_requires='>=3.10.12,!=3.11.0,!=3.11.1,!=3.11.2,!=3.11.3',
    install_requires=[
        'torch>=2.6', 'torchvision>=0.21', 'onedl-mmengine>=0.10.12', 'onedl-mmcv>=2.3.6',
        'onedl-mmpretrain>=1.3.6', 'numpy>=1.26', 'pillow', 'matplotlib', 'scikit-learn', 'safetensors',
        'pyyaml', 'click', 'filelock>=4.1', 'tqdm', 'scipy', 'jinja2',
    ],
    extras_require={
        'detection': ['onedl-mmdetection>=3.5.1'],
        'segmentation': ['onedl-mmsegmentation>=1.4.2'],
        'tensorflow': ["tensorflow-cpu>=2.16; sys_platform == 'linux' and platform_machine == 'x86_64'",
                       "tensorflow>=2.16; sys_platform != 'linux' or platform_machine != 'x86_64'"],
        'onnx': ['onnx', 'onnxscript', 'onnxruntime'],
        'timm': ['timm'],
        'images': ['tifffile', 'imagecodecs', 'pydicom'],
        'hub': ['huggingface_hub'],
        'studies': ['submitit'],
        'stores': ['obstore'],
        'report': ['pacmap', 'faiss-cpu', 'pyarrow'],
        'test': ['pytest', 'pytest-timeout', 'ruff', 'import-linter', 'pycocotools', 'tensorboard', 'timm',
                 'tifffile', 'imagecodecs', 'pydicom'],
    },
)
