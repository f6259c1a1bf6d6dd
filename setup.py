"""Install mmsimclr: pip install -e ."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = {}
exec((ROOT / 'mmsimclr/version.py').read_text(encoding='utf-8'), VERSION)

setup(
    name='mmsimclr',
    version=VERSION['__version__'],
    description='SimCLR pre-training and its benchmarks, assembled from registered components',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mmsimclr', 'mmsimclr.*']),
    python_requires='>=3.10',
    install_requires=[
        'torch>=2.6', 'torchvision>=0.21', 'onedl-mmengine>=0.10.12', 'onedl-mmcv>=2.3.6',
        'onedl-mmpretrain>=1.3.6', 'numpy>=1.26', 'pillow', 'matplotlib', 'scikit-learn', 'safetensors',
    ],
    extras_require={
        'detection': ['onedl-mmdetection>=3.5.1'],
        'segmentation': ['onedl-mmsegmentation>=1.4.2'],
        'tensorflow': ["tensorflow-cpu>=2.16; sys_platform == 'linux' and platform_machine == 'x86_64'",
                       "tensorflow>=2.16; sys_platform != 'linux' or platform_machine != 'x86_64'"],
        'onnx': ['onnx', 'onnxscript', 'onnxruntime'],
        'test': ['pytest', 'pytest-timeout', 'ruff', 'import-linter', 'pycocotools', 'tensorboard', 'timm'],
    },
)
