import subprocess
import sys

import pytest
import sklearn

from mmsimclr import doctor
from mmsimclr.environment import TESTED, num_usable_cores, versions

BARE = '''
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {'torch', 'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'mmseg', 'sklearn'}:
            raise ImportError(f'{name} is not here')
sys.meta_path.insert(0, Refuse())
from mmsimclr.doctor import main
sys.exit(main())
'''


def test_everything_for_pretraining_is_usable_here():
    findings = doctor.examine()
    assert list(findings) == ['pre-training', 'classification protocols', 'detection', 'segmentation', 'GPU']
    assert findings['pre-training'] == (True, 'mmsimclr explore, mmsimclr train', '')
    assert findings['classification protocols'][0]


@pytest.mark.parametrize('module, parts', [
    ('mmdet', {'detection'}), ('mmseg', {'segmentation'}), ('mmpretrain', {'classification protocols'}),
    ('mmcv.ops', {'detection', 'segmentation'}), ('cv2', {'pre-training'})])
def test_a_missing_package_makes_its_parts_unusable_with_reason_and_mend(monkeypatch, module, parts):
    def pretend(name):
        if name == module:
            raise ImportError(f'No module named {name!r}')
        return sys.modules[__name__] if name != 'torch' else real(name)
    real = doctor.import_module
    monkeypatch.setattr(doctor, 'import_module', pretend)
    if module != 'mmcv.ops':
        monkeypatch.setattr(doctor, '_need_ops', lambda: None)
    findings = doctor.examine()
    unusable = {part for part, (usable, *_) in findings.items() if not usable} - {'GPU'}
    assert unusable == parts
    for part in parts:
        _, reason, mend = findings[part]
        assert module in reason or "mmcv's compiled ops" in reason
        assert 'tools/install.sh' in mend


def test_ops_that_compute_nonsense_are_not_usable(monkeypatch):
    class Ops:
        @staticmethod
        def nms(boxes, scores, iou_threshold):
            return boxes, [0, 1]
    real = doctor.import_module
    monkeypatch.setattr(doctor, 'import_module', lambda name: Ops if name == 'mmcv.ops' else real(name))
    with pytest.raises(doctor.Unusable, match='nms kept 2 of 2 boxes'):
        doctor._need_ops()


def test_on_a_bare_machine_the_report_says_what_is_missing_and_fails():
    done = subprocess.run([sys.executable, '-c', BARE], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert 'NOT usable: torch cannot be imported: torch is not here' in done.stdout
    assert 'mend: tools/install.sh core' in done.stdout
    assert all(part in done.stdout for part in doctor.PARTS)


def test_report_lists_versions_devices_and_every_part(monkeypatch, capsys):
    def broken():
        raise doctor.Unusable('no compiler', 'apt install g++')
    monkeypatch.setattr(doctor, 'PARTS', {'pre-training': lambda: 'works', 'detection': broken})
    monkeypatch.setattr(doctor, 'versions', lambda: {'python': '3.11.7', 'torch': '1.0.0', 'numpy': None})
    assert doctor.main() == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ['torch', '1.0.0'] in lines and ['numpy', 'not', 'installed'] in lines
    assert ['pre-training', 'usable:', 'works'] in lines
    assert ['detection', 'NOT', 'usable:', 'no', 'compiler'] in lines
    assert ['mend:', 'apt', 'install', 'g++'] in lines
    assert any(line[:3] == ['warning:', 'torch', '1.0.0'] for line in lines)


def test_versions_outside_the_tested_matrix_are_warnings_only():
    prefix = TESTED['torch'][0]
    assert doctor.untested({'torch': f'{prefix}.3', 'numpy': None}) == []
    assert doctor.untested({'torch': f'{prefix}.0+cpu'}) == []
    warning, = doctor.untested({'torch': f'{prefix}9.0'})
    assert f'torch {prefix}9.0 is not among the tested versions' in warning and prefix in warning


def test_versions_are_those_of_the_installed_distributions():
    found = versions()
    assert found['scikit-learn'] == sklearn.__version__
    assert set(TESTED) <= set(found)
    assert num_usable_cores() >= 1
