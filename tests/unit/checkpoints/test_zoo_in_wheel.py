"""What is built from setup.py carries configs and model index, and finds them without the source tree."""

import json
import os
import subprocess
import sys

import mmsimclr

SCRIPT = '''
import json, mmsimclr
from mmsimclr.checkpoints.zoo_index import find_entry
name = 'simclr_resnet18-w16_1xb128-coslr-5e_shapes'
model = mmsimclr.get_model(name)
print(json.dumps([mmsimclr.__file__, str(find_entry(name).config), mmsimclr.list_models(),
                  model.backbone.feat_dim]))
'''


def test_a_built_package_lists_and_builds_its_models(root, tmp_path):
    library = tmp_path / 'library'
    subprocess.run([sys.executable, 'setup.py', '-q', 'build_py', '--build-lib', str(library)], cwd=root,
                   check=True, capture_output=True, timeout=60)
    mim = library / 'mmsimclr' / '.mim'
    assert (mim / 'tools' / 'dist_train.sh').is_file()
    assert (mim / 'configs' / '_base_' / 'runtime.py').is_file()
    assert not list(mim.rglob('__pycache__'))
    ran = subprocess.run([sys.executable, '-c', SCRIPT], cwd=tmp_path, check=True, capture_output=True,
                         timeout=120, env={**os.environ, 'PYTHONPATH': str(library)})
    module, config, names, channels = json.loads(ran.stdout.splitlines()[-1])
    assert module == str(library / 'mmsimclr' / '__init__.py')
    assert config == str(mim / 'configs' / 'simclr' / 'simclr_resnet18-w16_1xb128-coslr-5e_shapes.py')
    assert names == mmsimclr.list_models()
    assert channels == 128
